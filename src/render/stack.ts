import type { Value } from '../trace/value.ts';

// `vfs_read+12`, `0x7f51a2233829`, `7f51a2233829 syscall+25 (/usr/lib/libc.so.6)`, `operator new(unsigned long)+4`.
const FRAME = /\+\d+\s*$|\s\([^()]*\)\s*$|^\s*\S+\s*$/;

/**
 * The frames of a stack as bpftrace prints it, innermost first; undefined for other text. A stack starts with a newline
 * and has one frame a line; as a map's key its spaces may be missing.
 */
export function parseStack(value: Value | undefined): readonly string[] | undefined {
  if (typeof value !== 'string' || !value.startsWith('\n') || !value.endsWith('\n')) return undefined;
  const frames = value.slice(1, -1).split('\n');
  return frames.every((frame) => FRAME.test(frame)) ? frames.map(nameOf) : undefined;
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
