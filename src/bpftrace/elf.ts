import { fstatSync, readSync } from 'node:fs';

/** A USDT probe: a place that a program's author marked. */
export interface UsdtProbe {
  readonly provider: string;
  readonly name: string;
}

/** What probes can be in, of a program or a library. */
export interface ElfFile {
  /** The functions that its symbol tables name, each once, in their order. */
  readonly functions: readonly string[];
  readonly usdt: readonly UsdtProbe[];
}

/** More than real files have; what is beyond is not read. */
const MAX_SECTIONS = 16_384;
const MAX_NOTES = 64;
const MAX_SYMBOLS = 500_000;
const MAX_STRINGS_BYTES = 64 << 20;
const MAX_NOTES_BYTES = 1 << 20;
const MAX_NAME_BYTES = 512;

/** Types of sections, symbols and notes (elf.h; sys/sdt.h of systemtap). */
const SYMBOL_TABLE = 2;
const DYNAMIC_SYMBOL_TABLE = 11;
const NOTES = 7;
const FUNCTIONS = [2, 10];
const STAPSDT = 3;

const SECTION_BYTES = 64;
const SYMBOL_BYTES = 24;

/** Names that an attach point can hold, in quotes if need be; compilers make no others. */
const WRITABLE = /^[!#-~]+$/;
const PLAIN = /^[\w.$-]+$/;

interface Section {
  readonly type: number;
  readonly at: number;
  readonly bytes: number;
  readonly link: number;
}

type Read = (at: number, bytes: number) => Buffer;

/**
 * Reads the symbols and USDT probes of the 64-bit little-endian ELF file that is open as `fd`; undefined when it is none.
 * What is wrong in the file only leaves out what it concerns. Throws what the system says when the file cannot be read.
 */
export function readElf(fd: number): ElfFile | undefined {
  const read = readerOf(fd);
  const header = read(0, 64);
  if (header.length < 64 || header.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') return undefined;
  const sections = sectionsOf(header, read);
  // The whole table has the dynamic symbols, too; it is gone from what is stripped.
  const table = [SYMBOL_TABLE, DYNAMIC_SYMBOL_TABLE]
    .map((wanted) => sections.find(({ type }) => type === wanted))
    .find((section) => section !== undefined);
  const notes = sections.filter(({ type }) => type === NOTES).slice(0, MAX_NOTES);
  return {
    functions: table === undefined ? [] : [...new Set(functionsOf(table, sections[table.link], read))],
    usdt: notes.flatMap((section) => [...usdtOf(read(section.at, Math.min(section.bytes, MAX_NOTES_BYTES)))]),
  };
}

/** Reads so many bytes from a place on; fewer where the file ends. */
function readerOf(fd: number): Read {
  const { size } = fstatSync(fd);
  return (at, bytes) => {
    const buffer = Buffer.alloc(Math.max(0, Math.min(bytes, size - at)));
    let length = 0;
    while (length < buffer.length) {
      const more = readSync(fd, buffer, length, buffer.length - length, at + length);
      if (more === 0) break; // it was made shorter
      length += more;
    }
    return buffer.subarray(0, length);
  };
}

function sectionsOf(header: Buffer, read: Read): readonly Section[] {
  if (header.readUInt16LE(58) !== SECTION_BYTES) return [];
  const first = Number(header.readBigUInt64LE(40));
  const upTo = (count: number) => {
    const table = read(first, Math.min(count, MAX_SECTIONS) * SECTION_BYTES);
    return Array.from({ length: Math.floor(table.length / SECTION_BYTES) }, (_, i): Section => {
      const entry = table.subarray(i * SECTION_BYTES);
      return {
        type: entry.readUInt32LE(4),
        at: Number(entry.readBigUInt64LE(24)),
        bytes: Number(entry.readBigUInt64LE(32)),
        link: entry.readUInt32LE(40),
      };
    });
  };
  // Where there are too many for the header's field, the first section has their number.
  return upTo(header.readUInt16LE(60) || (upTo(1)[0]?.bytes ?? 0));
}

function* functionsOf(table: Section, names: Section | undefined, read: Read): Generator<string> {
  if (names === undefined) return;
  const symbols = read(table.at, Math.min(table.bytes, MAX_SYMBOLS * SYMBOL_BYTES));
  const strings = read(names.at, Math.min(names.bytes, MAX_STRINGS_BYTES));
  for (let at = 0; at + SYMBOL_BYTES <= symbols.length; at += SYMBOL_BYTES) {
    if (!FUNCTIONS.includes(symbols.readUInt8(at + 4) & 15)) continue;
    const isDefined = symbols.readUInt16LE(at + 6) !== 0 && symbols.readBigUInt64LE(at + 8) !== 0n;
    const name = isDefined ? textAt(strings, symbols.readUInt32LE(at)) : '';
    if (WRITABLE.test(name)) yield name;
  }
}

function* usdtOf(notes: Buffer): Generator<UsdtProbe> {
  const padded = (bytes: number) => Math.ceil(bytes / 4) * 4;
  for (let at = 0; at + 12 <= notes.length; ) {
    const owner = at + 12;
    const start = owner + padded(notes.readUInt32LE(at));
    const type = notes.readUInt32LE(at + 8);
    at = start + padded(notes.readUInt32LE(at + 4));
    if (type !== STAPSDT || textAt(notes, owner) !== 'stapsdt') continue;
    const provider = textAt(notes, start + 24); // behind three addresses
    const name = textAt(notes, start + 24 + provider.length + 1);
    if (PLAIN.test(provider) && PLAIN.test(name)) yield { provider, name };
  }
}

/** The text at a place, up to its NUL; empty where that is further away than a name is long. */
function textAt(strings: Buffer, at: number): string {
  const end = strings.subarray(0, at + MAX_NAME_BYTES).indexOf(0, at);
  return end === -1 ? '' : strings.toString('latin1', at, end);
}
