import type { Value } from '../trace/value.ts';

// `vfs_read+12`, `0x7f51a2233829`, `7f51a2233829 syscall+25 (/usr/lib/libc.so.6)`, `operator new(unsigned long)+4`.
const FRAME = /\+\d+\s*$|\s\([^()]*\)\s*$|^\s*\S+\s*$/;

// A part of a key that begins and ends with a newline and has one frame a line; a stack without frames is one newline. A
// line that begins with a comma is the next part.
const STACK = /(?<=^|,)\n((?:(?!,)[^\n]+\n)*)(?=,|$)/g;

/** A part of a key: text, or the frames of a stack, innermost first. */
export type KeyPart = string | readonly string[];

/**
 * The parts of a value that holds stacks as bpftrace prints them: the text between them and the frames of each;
 * undefined when it holds none. In a map's key commas join the parts, and the spaces are missing.
 */
export function parseStacks(value: Value | undefined): readonly KeyPart[] | undefined {
  if (typeof value !== 'string') return undefined;
  const parts: KeyPart[] = [];
  let end = 0;
  for (const { 0: whole, 1: lines = '', index } of value.matchAll(STACK)) {
    const frames = lines.split('\n').slice(0, -1);
    if (!frames.every((frame) => FRAME.test(frame))) continue;
    parts.push(value.slice(end, index), frames.map(nameOf));
    end = index + whole.length;
  }
  if (parts.length === 0) return undefined;
  return [...parts, value.slice(end)]
    .map((part) => (typeof part === 'string' ? part.replace(/^,|,$/g, '') : part))
    .filter((part) => part !== '');
}

// `perf` mode puts the address before the name and the file behind it. In a key without its spaces the address cannot
// be told from the name, so it stays.
const nameOf = (frame: string): string =>
  frame
    .trim()
    .replace(/^[0-9a-f]{8,16} (?=\S)/, '')
    .replace(/ ?\([/[][^()]*\)$/, '');

/** A frame without its offset, so that two addresses in one function are one. */
export const functionOf = (frame: string): string => frame.replace(/\+\d+$/, '');

// Hexadecimal with or without `0x`; `perf` mode has it twice, and a key has no space between them.
const ADDRESS = /^(?:[0-9a-f]{1,16})?(?:0x)?[0-9a-f]{1,16}$/;

/** True for a stack of a process, not of the kernel, whose frames are all without names. */
export const isNamelessStack = (part: KeyPart): boolean =>
  typeof part !== 'string' && !/^(?:0x)?ffff/.test(part[0] ?? 'ffff') && part.every((frame) => ADDRESS.test(frame));
