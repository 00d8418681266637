import { isUtf8 } from 'node:buffer';
import type { RecordValue, Value } from '../trace/value.ts';

/** Deeper nesting than any bpftrace value has; a bound for the recursion. */
const MAX_DEPTH = 200;

export interface ReadJson {
  readonly value: Value;
  /** Strings in which bytes were no UTF-8 and are shown as `\xNN`. */
  readonly brokenStrings: number;
}

interface Cursor {
  /** One character a byte, so that bpftrace's bytes are met before they are decoded. */
  readonly text: string;
  at: number;
  readonly quotedIntegers: boolean;
  brokenStrings: number;
}

/**
 * Reads JSON as bpftrace writes it: keys may occur twice, integers are exact, and each byte above 0x7f stands as eight hex
 * digits (`\uffffffc3`) or raw. `text` holds one character a byte. With `quotedIntegers` a string that can only be an
 * integer that no double holds becomes a bigint. Throws a SyntaxError for anything else.
 */
export function parseJson(text: string, options: { readonly quotedIntegers: boolean }): ReadJson {
  const cursor: Cursor = { text, at: 0, quotedIntegers: options.quotedIntegers, brokenStrings: 0 };
  const value = readValue(cursor, 0);
  skipBlanks(cursor);
  if (cursor.at !== text.length) throw unexpected(cursor);
  return { value, brokenStrings: cursor.brokenStrings };
}

/** The value of the first field of that name. */
export const fieldOf = (record: RecordValue, name: string): Value | undefined =>
  record.record.find(([field]) => field === name)?.[1];

/** A decimal integer of 64 bits in its shortest form, as a number where that is exact; undefined for any other text. */
export function parseInteger(text: string): number | bigint | undefined {
  if (!/^(?:0|-?[1-9]\d{0,19})$/.test(text)) return undefined;
  const short = Number(text);
  if (Number.isSafeInteger(short)) return short;
  const exact = BigInt(text);
  return exact >= -(2n ** 63n) && exact < 2n ** 64n ? exact : undefined;
}

function readValue(cursor: Cursor, depth: number): Value {
  if (depth > MAX_DEPTH) throw unexpected(cursor);
  skipBlanks(cursor);
  switch (cursor.text[cursor.at]) {
    case '"':
      return exactly(readString(cursor), cursor);
    case '{':
      return { record: readList(cursor, '}', () => readField(cursor, depth)) };
    case '[':
      return readList(cursor, ']', () => readValue(cursor, depth + 1));
    case 't':
      return readWord(cursor, 'true', true);
    case 'f':
      return readWord(cursor, 'false', false);
    case 'n':
      return readWord(cursor, 'null', null);
    default:
      return readNumber(cursor);
  }
}

function readField(cursor: Cursor, depth: number): readonly [string, Value] {
  skipBlanks(cursor);
  if (cursor.text[cursor.at] !== '"') throw unexpected(cursor);
  const name = readString(cursor);
  skipBlanks(cursor);
  if (cursor.text[cursor.at] !== ':') throw unexpected(cursor);
  cursor.at += 1;
  return [name, readValue(cursor, depth + 1)];
}

function readList<Item>(cursor: Cursor, close: string, readItem: () => Item): Item[] {
  const items: Item[] = [];
  cursor.at += 1;
  skipBlanks(cursor);
  if (cursor.text[cursor.at] === close) {
    cursor.at += 1;
    return items;
  }
  for (;;) {
    items.push(readItem());
    skipBlanks(cursor);
    const next = cursor.text[cursor.at];
    if (next !== ',' && next !== close) throw unexpected(cursor);
    cursor.at += 1;
    if (next === close) return items;
  }
}

function readWord<Word extends Value>(cursor: Cursor, word: string, value: Word): Word {
  if (!cursor.text.startsWith(word, cursor.at)) throw unexpected(cursor);
  cursor.at += word.length;
  return value;
}

const NUMBER = /-?\d+(\.\d+)?([eE][+-]?\d+)?/y;

function readNumber(cursor: Cursor): number | bigint {
  NUMBER.lastIndex = cursor.at;
  const match = NUMBER.exec(cursor.text);
  if (!match) throw unexpected(cursor);
  cursor.at = NUMBER.lastIndex;
  const value = Number(match[0]);
  const integer = match[1] === undefined && match[2] === undefined;
  return integer && !Number.isSafeInteger(value) ? BigInt(match[0]) : value;
}

/** bpftrace quotes an integer when a double would not hold it exactly, and only then. */
function exactly(text: string, cursor: Cursor): string | bigint {
  if (!cursor.quotedIntegers || text.length < 16) return text;
  const integer = parseInteger(text);
  return typeof integer === 'bigint' && BigInt(Number(text)) !== integer ? integer : text;
}

const PLAIN = /[^"\\\x80-\xff]*"/y;

function readString(cursor: Cursor): string {
  const start = cursor.at + 1;
  PLAIN.lastIndex = start;
  if (PLAIN.test(cursor.text)) {
    cursor.at = PLAIN.lastIndex;
    return cursor.text.slice(start, cursor.at - 1);
  }
  cursor.at = start;
  return readBytes(cursor);
}

const RUN = /[^"\\]*/y;
const ESCAPE = /\\(?:u(?:ffffff([89a-f][0-9a-f])|([0-9a-fA-F]{4}))|(["\\/bfnrt]))/y;
const SHORT: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

function readBytes(cursor: Cursor): string {
  const { text } = cursor;
  let bytes = '';
  for (;;) {
    RUN.lastIndex = cursor.at;
    bytes += RUN.exec(text)?.[0] ?? '';
    cursor.at = RUN.lastIndex;
    if (text[cursor.at] === '"') {
      cursor.at += 1;
      return decodeBytes(bytes, cursor);
    }
    ESCAPE.lastIndex = cursor.at;
    const match = ESCAPE.exec(text);
    if (!match) throw unexpected(cursor);
    cursor.at = ESCAPE.lastIndex;
    const [, byte, unit, short] = match;
    // A char is signed on x86, so that bpftrace prints its escape of 0xc3 as \uffffffc3 (src/output/json.cpp).
    if (byte !== undefined) bytes += String.fromCharCode(Number.parseInt(byte, 16));
    else if (unit !== undefined) bytes += utf8Of(Number.parseInt(unit, 16));
    else if (short !== undefined) bytes += SHORT[short] ?? short;
  }
}

const utf8Of = (unit: number): string => Buffer.from(String.fromCharCode(unit), 'utf8').toString('latin1');

/** Decodes UTF-8; a byte that belongs to no character is shown as `\xNN`. */
function decodeBytes(latin1: string, cursor: Cursor): string {
  const bytes = Buffer.from(latin1, 'latin1');
  if (isUtf8(bytes)) return bytes.toString('utf8');
  cursor.brokenStrings += 1;
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const lead = bytes[at] ?? 0;
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const character = bytes.subarray(at, at + length);
    const whole = isUtf8(character);
    text += whole ? character.toString('utf8') : `\\x${lead.toString(16).padStart(2, '0')}`;
    at += whole ? character.length : 1;
  }
  return text;
}

function skipBlanks(cursor: Cursor): void {
  while (cursor.text[cursor.at] === ' ') cursor.at += 1;
}

const unexpected = (cursor: Cursor): SyntaxError => new SyntaxError(`no JSON of bpftrace at character ${cursor.at}`);
