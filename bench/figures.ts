/** What a figure should be: a bound on its ratio to plain bpftrace, or on its own median. */
export interface Goal {
  readonly of: 'ratio' | 'median';
  readonly is: 'at most' | 'at least';
  readonly value: number;
}

/** One row of the table: the same thing done several times by kerntap and, in turn with it, by plain bpftrace. */
export interface Figure {
  readonly what: string;
  readonly unit: string;
  readonly kerntap: readonly number[];
  readonly plain?: readonly number[];
  readonly goal?: Goal;
}

/** Says how far a measurement has come. */
export type Say = (text: string) => void;

/** One file of this folder: something that is measured by `npm run bench NAME`. */
export interface Measurement {
  readonly name: string;
  readonly title: string;
  measure(say: Say): Promise<readonly Figure[]>;
}

export interface Summary {
  readonly n: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly all: readonly number[];
}

/** A figure with its samples counted together, as it is written to the results. */
export interface SummedFigure extends Omit<Figure, 'kerntap' | 'plain' | 'goal'> {
  readonly kerntap: Summary;
  readonly plain?: Summary;
  /** kerntap / plain bpftrace, of the medians and of the minima. */
  readonly ratio?: { readonly median: number; readonly min: number };
  readonly goal?: Goal & { readonly met: boolean };
}

export function summarise({ kerntap, plain, goal, ...rest }: Figure): SummedFigure {
  const ours = summaryOf(kerntap);
  const theirs = plain && summaryOf(plain);
  const ratio =
    theirs && theirs.min > 0
      ? { median: round(ours.median / theirs.median), min: round(ours.min / theirs.min) }
      : undefined;
  const reached = goal?.of === 'ratio' ? ratio?.median : ours.median;
  return {
    ...rest,
    kerntap: ours,
    ...(theirs && { plain: theirs }),
    ...(ratio && { ratio }),
    ...(goal && reached !== undefined && { goal: { ...goal, met: isMet(goal, reached) } }),
  };
}

const isMet = ({ is, value }: Goal, reached: number) => (is === 'at most' ? reached <= value : reached >= value);

function summaryOf(samples: readonly number[]): Summary {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const at = (index: number) => sorted[index] ?? Number.NaN;
  const median = Number.isInteger(middle) ? (at(middle - 1) + at(middle)) / 2 : at(Math.floor(middle));
  return {
    n: sorted.length,
    median: round(median),
    min: round(at(0)),
    max: round(at(-1 + sorted.length)),
    all: samples.map(round),
  };
}

const round = (value: number): number => Number(value.toPrecision(4));

/** The figures as an aligned table: median and minimum of each side, their ratio, the goal. */
export function renderTable(figures: readonly SummedFigure[]): string {
  const head = ['', 'unit', 'n', 'kerntap', '(min)', 'plain', '(min)', 'ratio', 'goal', ''];
  const rows = figures.map(({ what, unit, kerntap, plain, ratio, goal }) => [
    what,
    unit,
    String(kerntap.n),
    show(kerntap.median),
    `(${show(kerntap.min)})`,
    plain ? show(plain.median) : '',
    plain ? `(${show(plain.min)})` : '',
    ratio ? ratio.median.toFixed(2) : '',
    goal
      ? `${goal.is === 'at most' ? '<=' : '>='} ${goal.of === 'ratio' ? goal.value.toFixed(2) : show(goal.value)}`
      : '',
    goal ? (goal.met ? 'met' : 'MISSED') : '',
  ]);
  const used = head.flatMap((_title, column) => (rows.some((row) => row[column]) ? column : []));
  const lines = [head, ...rows].map((cells) => used.map((column) => cells[column] ?? ''));
  const widths = used.map((_column, at) => Math.max(...lines.map((cells) => cells[at]?.length ?? 0)));
  const aligned = (text: string, at: number) =>
    at < 2 ? text.padEnd(widths[at] ?? 0) : text.padStart(widths[at] ?? 0);
  return lines.map((cells) => cells.map(aligned).join('  ').trimEnd()).join('\n');
}

function show(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
