import type { Column, RunHeader } from '../trace/ports.ts';
import { shorten } from './escape.ts';
import { byteCount, counted, instant, verdict } from './sentences.ts';
import { renderRows } from './table.ts';

const COLUMNS: readonly Column[] = [
  { name: 'run_id', type: 'text' },
  { name: 'state', type: 'text' },
  { name: 'asked', type: 'text' },
  { name: 'expires', type: 'text' },
  { name: 'size', type: 'number' },
  { name: 'name', type: 'text' },
  { name: 'program', type: 'text' },
];

/** The most runs that one list shows. */
export const LISTED_RUNS = 50;

/** The runs that a caller may read, newest first, a line each; of more than `LISTED_RUNS` it says that there are more. */
export function renderRuns(runs: readonly RunHeader[], nowMs: number): string {
  if (runs.length === 0) return 'no runs yet; exec_program starts one';
  const rows = runs
    .slice(0, LISTED_RUNS)
    .map((run) => [
      run.id,
      verdict(run, nowMs),
      instant(run.timing.askedMs),
      expiry(run),
      byteCount(run.bytes),
      run.name ?? null,
      shorten(run.source.trim().replace(/\s+/g, ' '), 60),
    ]);
  const title =
    runs.length > LISTED_RUNS ? `the newest ${LISTED_RUNS} runs, there are more` : counted(runs.length, 'run');
  return [title, renderRows({ columns: COLUMNS, rows }), 'next: get_result(run_id="…")'].join('\n');
}

const expiry = ({ kept, expiresMs }: RunHeader): string | null =>
  kept ? 'kept' : expiresMs === undefined ? null : instant(expiresMs);

/** What a change has made of a run, in a sentence. */
export function renderChange(run: RunHeader, action: 'keep' | 'rename' | 'delete'): string {
  switch (action) {
    case 'keep':
      return `run ${run.id} is kept: it does not expire and counts in the quota until it is deleted`;
    case 'rename':
      return `run ${run.id} is named ${JSON.stringify(shorten(run.name ?? '', 64))}`;
    case 'delete':
      return `run ${run.id} is deleted`;
  }
}
