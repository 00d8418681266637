import type { Column, RunHeader } from '../trace/ports.ts';
import { shorten } from './escape.ts';
import { counted, verdict } from './sentences.ts';
import { renderRows } from './table.ts';

const COLUMNS: readonly Column[] = ['run_id', 'state', 'asked', 'program'].map((name) => ({ name, type: 'text' }));

/** The most runs that one list reads, and the most that it shows. */
export const READ_RUNS = 200;
const SHOWN_RUNS = 20;

/** The runs that a caller may read, newest first, a line each; of programs that were refused only how many there are. */
export function renderRuns(runs: readonly RunHeader[], nowMs: number): string {
  if (runs.length === 0) return 'no runs yet; exec_program starts one';
  const started = runs.filter((run) => !isRefused(run));
  const shown = started.slice(0, SHOWN_RUNS);
  const refused = runs.length - started.length;
  return [
    shown.length < started.length
      ? `the newest ${shown.length} of ${countOf(started, runs)}`
      : counted(started.length, 'run'),
    ...(shown.length > 0 ? [renderRows({ columns: COLUMNS, rows: shown.map((run) => rowOf(run, nowMs)) })] : []),
    ...(refused > 0 ? [`${counted(refused, 'refused program')} ${refused === 1 ? 'is' : 'are'} not shown`] : []),
    ...(shown.length > 0 ? ['next: get_result(run_id="…")'] : []),
  ].join('\n');
}

const isRefused = ({ reason }: RunHeader): boolean => reason === 'invalid' || reason === 'unloadable';

const countOf = (started: readonly RunHeader[], runs: readonly RunHeader[]): string =>
  runs.length < READ_RUNS ? counted(started.length, 'run') : `${counted(started.length, 'run')} or more`;

function rowOf(run: RunHeader, nowMs: number): readonly string[] {
  const { state, reason, kept, name, source } = run;
  const words = state === 'complete' ? state : state === 'running' ? verdict(run, nowMs) : `${state} (${reason})`;
  const program = shorten(source.trim().replace(/\s+/g, ' '), 60);
  return [
    run.id,
    kept ? `${words}, kept` : words,
    age(nowMs - run.timing.askedMs),
    name === undefined ? program : `${JSON.stringify(name)} ${program}`,
  ];
}

const age = (ms: number): string => {
  const [unitMs, unit] = AGES.find(([least]) => ms >= least) ?? [1_000, 's'];
  return `${Math.max(0, Math.floor(ms / unitMs))} ${unit} ago`;
};

const AGES = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
] as const;

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
