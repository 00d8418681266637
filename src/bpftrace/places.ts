import type { Position, PrintedProgram } from '../trace/ports.ts';

/** The caller's place for one that bpftrace names, whose columns count bytes; undefined for what is ours. */
export type CallerPlace = (line: number, byteColumn: number) => Position | undefined;

export function callerPlaces({ text, placeOf }: Pick<PrintedProgram, 'text' | 'placeOf'>): CallerPlace {
  const lines = text.split('\n');
  return (line, byteColumn) => {
    const before = Buffer.from(lines[line - 1] ?? '').subarray(0, byteColumn - 1);
    return placeOf({ line, column: [...before.toString()].length + 1 });
  };
}
