import type { CountedMessage } from '../trace/ports.ts';
import { isRecord } from '../trace/value.ts';
import { fieldOf, parseJson } from './json.ts';
import type { CallerPlace } from './places.ts';

/** More places than a program of 16 KiB reports in practice; what comes later shares one row. */
const MAX_ROWS = 200;
const OTHERS = 'more errors at other places of the program';

export interface Tally {
  /** Counts one message, the whole line with one character a byte. Throws a SyntaxError when it is none. */
  add(line: string): void;
  rows(): readonly CountedMessage[];
}

/** Counts equal error messages instead of keeping them: a full map makes 34,000 lines a second. Those of our own parts stay out. */
export function createTally(placeOf: CallerPlace): Tally {
  const byLine = new Map<string, { count: number }>();
  const byPlace = new Map<string, CountedMessage & { count: number }>();

  function rowOf(line: string): { count: number } {
    const read = readMessage(line, placeOf);
    if (read === 'ours') return { count: 0 };
    const place = JSON.stringify(read);
    const row = byPlace.get(place) ?? (byPlace.size < MAX_ROWS ? { ...read, count: 0 } : undefined);
    if (row) byPlace.set(place, row);
    return row ?? rowOfOthers();
  }

  function rowOfOthers(): { count: number } {
    const row = byPlace.get(OTHERS) ?? { message: OTHERS, count: 0 };
    byPlace.set(OTHERS, row);
    return row;
  }

  return {
    add(line) {
      const row = byLine.get(line) ?? rowOf(line);
      if (byLine.size < 2 * MAX_ROWS) byLine.set(line, row);
      row.count += 1;
    },
    rows: () => [...byPlace.values()],
  };
}

function readMessage(line: string, placeOf: CallerPlace): Omit<CountedMessage, 'count'> | 'ours' {
  const { value } = parseJson(line, { quotedIntegers: false });
  const message = isRecord(value) ? fieldOf(value, 'msg') : undefined;
  if (!isRecord(value) || typeof message !== 'string') throw new SyntaxError('no error message of bpftrace');
  const [helper, code, file, lineNumber, column] = ['helper', 'retcode', 'filename', 'line', 'col'].map((name) =>
    fieldOf(value, name),
  );
  const inProgram = file === 'stdin' && typeof lineNumber === 'number' && typeof column === 'number';
  const at = inProgram ? placeOf(lineNumber, column) : undefined;
  if (inProgram && at === undefined) return 'ours';
  return {
    message,
    ...(typeof helper === 'string' && { helper }),
    ...(typeof code === 'number' && { code }),
    ...(at && { at }),
  };
}
