import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseInteger, parseJson } from '../../src/bpftrace/json.ts';
import { forAll } from '../helpers/for-all.ts';
import { readLines } from './recordings.ts';

const read = (text: string, quotedIntegers = true) => parseJson(text, { quotedIntegers });

describe('bytes', () => {
  test('text of any language comes back as it was', () => {
    forAll(fc.string({ unit: 'binary' }), (text) => {
      expect(read(asBpftrace(Buffer.from(text)))).toEqual({ value: text, brokenStrings: 0 });
    });
  });

  test('so does text that arrives in raw bytes, as on machines where a char is unsigned', () => {
    expect(read(Buffer.from('"naïve"').toString('latin1')).value).toBe('naïve');
  });

  test('any bytes come back: what is no UTF-8 as \\xNN', () => {
    const bytes = fc.uint8Array().map((array) => Buffer.from(array.filter((byte) => byte !== 0x5c)));
    forAll(bytes, (original) => {
      const { value, brokenStrings } = read(asBpftrace(original));
      expect(unescaped(String(value))).toEqual(original);
      expect(brokenStrings).toBe(String(value).includes('\\x') ? 1 : 0);
    });
  });

  test.each([
    ['an escape that the program printed itself', String.raw`"\\uffffffc3"`, String.raw`\uffffffc3`],
    ['a backslash before a byte', String.raw`"\\\uffffffc3\uffffffa9"`, '\\é'],
    ['a byte that is cut off', String.raw`"caf\uffffffc3"`, String.raw`caf\xc3`],
    ['an overlong form', String.raw`"\uffffffc0\uffffff80"`, String.raw`\xc0\x80`],
    ['a byte order mark', String.raw`"\uffffffef\uffffffbb\uffffffbf"`, '\ufeff'],
    ['control characters', String.raw`"\u001b[31m\u0000"`, '\u001b[31m\u0000'],
  ])('%s is read', (_what, text, value) => {
    expect(read(text).value).toBe(value);
  });
});

describe('integers', () => {
  const integer = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n });

  test('of 64 bits are exact, quoted or not', () => {
    forAll(integer, (original) => {
      const { value } = read(quotedWhereNeeded(original));
      expect(BigInt(value as bigint)).toBe(original);
      expect(typeof value).toBe(Number.isSafeInteger(Number(original)) ? 'number' : 'bigint');
    });
  });

  test('of 64 bits are exact as keys of a map', () => {
    forAll(integer, (original) => {
      const [section] = readLines([`{"type": "map", "data": {"@": {"${original}": 1}}}`]).end.maps;
      expect(BigInt(section?.rows[0]?.[0] as bigint)).toBe(original);
    });
  });

  test.each([
    ['2^53, which a double holds, is never quoted by bpftrace', '"9007199254740992"'],
    ['a short number', '"42"'],
    ['more than 64 bits', '"18446744073709551616"'],
    ['a leading zero', '"018446744073709551615"'],
  ])('%s: the string stays a string', (_what, text) => {
    expect(read(text).value).toBe(JSON.parse(text));
  });

  test('printed text that is one stays text', () => {
    expect(readLines(['{"type": "printf", "data": "18446744073709551615"}']).events[0]?.data).toBe(
      '18446744073709551615',
    );
    expect(parseInteger('-0')).toBeUndefined();
  });
});

describe('objects', () => {
  test('keep members that occur twice, in order', () => {
    expect(read('{"ab": 1, "ab": 2, "": {"x": []}}').value).toEqual({
      record: [
        ['ab', 1],
        ['ab', 2],
        ['', { record: [['x', []]] }],
      ],
    });
  });

  test('are read like JSON in all that JSON has', () => {
    forAll(fc.json({ noUnicodeString: true, maxDepth: 5 }), (text) => {
      const latin1 = text.replace(/[^\x00-\x7f]/g, '?');
      expect(toPlain(read(latin1, false).value)).toEqual(toPlainJson(latin1));
    });
  });

  test.each([
    '',
    '{',
    '[1',
    '"a',
    '{"a" 1}',
    '[1,]',
    'tru',
    '1 2',
    '{1: 2}',
    String.raw`"\q"`,
    String.raw`"\uffff"`.slice(0, 6),
  ])('%s is refused', (text) => {
    expect(() => read(text)).toThrow(SyntaxError);
  });
});

/** As bpftrace escapes a string where a char is signed (its src/output/json.cpp). */
function asBpftrace(bytes: Buffer): string {
  const short = new Map(
    Object.entries({ '"': '\\"', '\\': '\\\\', '\b': '\\b', '\f': '\\f', '\n': '\\n', '\r': '\\r', '\t': '\\t' }),
  );
  const escaped = Array.from(bytes, (byte) => {
    const character = String.fromCharCode(byte);
    if (byte >= 0x80) return `\\uffffff${byte.toString(16)}`;
    return short.get(character) ?? (byte < 0x20 ? `\\u${byte.toString(16).padStart(4, '0')}` : character);
  });
  return `"${escaped.join('')}"`;
}

const unescaped = (text: string): Buffer =>
  Buffer.concat(
    text
      .split(/(\\x[0-9a-f]{2})/)
      .map((part, index) => (index % 2 === 1 ? Buffer.from(part.slice(2), 'hex') : Buffer.from(part))),
  );

const quotedWhereNeeded = (value: bigint): string => (BigInt(Number(value)) === value ? `${value}` : `"${value}"`);

/** Records as pairs, so that they can be compared with what JSON.parse makes. */
const toPlain = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(toPlain)
    : typeof value === 'bigint'
      ? Number(value)
      : typeof value === 'object' && value !== null && 'record' in value
        ? { pairs: new Map((value.record as [string, unknown][]).map(([name, item]) => [name, toPlain(item)])) }
        : value;

const toPlainJson = (text: string): unknown =>
  JSON.parse(text, (_key, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item) ? { pairs: new Map(Object.entries(item)) } : item,
  );
