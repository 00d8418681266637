import { KerntapError } from '../errors.ts';
import { placeOf } from './lexer.ts';
import { parseTree } from './parse.ts';
import { refuseLineEnds } from './refusals.ts';
import type { Tree } from './tree.ts';

export const MAX_PROGRAM_BYTES = 16_384;

/** A program that was read and holds nothing that is refused to everyone. */
export interface Program {
  /** What the caller wrote. */
  readonly source: string;
  /** What was understood of it; what runs is printed from it. */
  readonly tree: Tree;
  /** Attach points as the caller wrote them, in order, such as `tracepoint:sched:*`. */
  readonly attachPoints: readonly string[];
}

/**
 * Reads a program of a caller. Throws `program.empty`, `program.too_long`, `program.encoding`, `program.invalid`,
 * `program.refused`, `program.unterminated`; types and most names are left to bpftrace. Never starts anything.
 */
export function parseProgram(text: string | Uint8Array): Program {
  const source = readText(text);
  refuseLineEnds(source);
  const tree = parseTree(source);
  const attachPoints = tree.probes.flatMap(({ points }) => points.map((point) => point.text));
  if (attachPoints.length === 0) throw new KerntapError('program.empty', 'The program has no probe.');
  return { source, tree, attachPoints };
}

function readText(text: string | Uint8Array): string {
  const bytes = typeof text === 'string' ? Buffer.byteLength(text) : text.byteLength;
  if (bytes > MAX_PROGRAM_BYTES) {
    // Not by toLocaleString: its first call loads tables that keep 6 MB of memory.
    const [has, may] = [bytes, MAX_PROGRAM_BYTES].map((count) => String(count).replace(/\B(?=(?:\d{3})+$)/g, ','));
    throw new KerntapError('program.too_long', `The program has ${has} bytes; at most ${may} are read.`);
  }
  const source = typeof text === 'string' ? text : decode(text);
  if (!source.isWellFormed()) throw new KerntapError('program.encoding', 'The program holds half of a surrogate pair.');
  if (source.startsWith('\ufeff'))
    throw new KerntapError('program.encoding', 'The program begins with a byte order mark.');
  const nul = source.indexOf('\0');
  if (nul !== -1) {
    throw new KerntapError('program.encoding', `The program holds a NUL byte at ${placeOf(source, nul)}.`);
  }
  if (source.trim() === '') throw new KerntapError('program.empty', 'The program is empty.');
  return source;
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new KerntapError('program.encoding', 'The program is no valid UTF-8.');
  }
}
