import type { ErrorCode } from '../errors.ts';
import { ERRORS, remedySentence } from '../errors.ts';
import type { Account, Column, Diagnostic, RunHeader, RunRecord, Section } from '../trace/ports.ts';
import type { Value } from '../trace/value.ts';
import { silence } from './coverage.ts';
import { diagnosis, mostSevere } from './diagnostics.ts';
import { escapeText } from './escape.ts';
import { summariseHistogram } from './histogram.ts';
import { counted, REASONS, verdict } from './sentences.ts';
import { isNamelessStack, parseStacks } from './stack.ts';

/** One part of an answer: a page of rows that is ready to be shown. */
export interface AnswerSection {
  readonly name: string;
  /** `program` is the text of the run's program. */
  readonly type: Section['type'] | 'program';
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Value[])[];
  /** How many rows there are altogether, and how many of them come before `rows`. */
  readonly total: number;
  readonly offset: number;
  readonly notes: readonly string[];
}

export interface Refusal {
  readonly code: ErrorCode;
  readonly sentence: string;
  readonly remedy: string;
}

/** What one call says of one run. Every form is made from it alone, so that no two forms tell different things. */
export interface RunAnswer {
  readonly run: RunHeader;
  /** The state in words. */
  readonly verdict: string;
  /** Why the run failed, as an error that the caller can mend. */
  readonly refusal?: Refusal;
  readonly findings: readonly string[];
  readonly sections: readonly AnswerSection[];
  /** Sections that are not shown, with their number of rows. */
  readonly elsewhere: readonly {
    readonly name: string;
    readonly type: AnswerSection['type'];
    readonly total: number;
  }[];
  readonly account: Account;
  readonly diagnostics: readonly Diagnostic[];
  /** Arguments of this call without which its next page would be of other rows, or look otherwise. */
  readonly again?: Readonly<Record<string, string | number>>;
}

/** The rows of every section that an overview must be given: percentiles can be told only of whole histograms. */
export const OVERVIEW_ROWS = 10_000;

/** What a run has altogether: each section with its `rows` largest rows, histograms as percentiles. */
export function overviewOf(record: RunRecord, { rows, nowMs }: { rows: number; nowMs: number }): RunAnswer {
  const sections = filledSections(record.sections).map((section) => ({ ...summary(section), offset: 0 }));
  return {
    ...base(record, nowMs),
    findings: findingsOf(record),
    sections: sections.map((section) => withStackNote({ ...section, rows: section.rows.slice(0, rows) })),
    elsewhere: [],
  };
}

/** The sections that have rows, what was counted before what was printed. */
export const filledSections = (sections: readonly Section[]): readonly Section[] =>
  [...sections.filter(({ type }) => type !== 'events'), ...sections.filter(({ type }) => type === 'events')].filter(
    ({ total }) => total > 0,
  );

export interface Page {
  readonly offset: number;
  /** All sections of the run. */
  readonly others: readonly Section[];
  readonly again?: RunAnswer['again'];
  readonly nowMs: number;
}

/** One page of one section, as `record` has it. What bpftrace warned of was said when the run was started. */
export function pageOf(record: RunRecord, { offset, others, again = {}, nowMs }: Page): RunAnswer {
  const { filter } = again;
  const shown = new Set(record.sections.map(({ name }) => name));
  return {
    ...base(record, nowMs),
    ...(record.state !== 'failed' && { diagnostics: [] }),
    again,
    findings: findingsOf({ ...record, sections: others }),
    sections: record.sections.map((section) =>
      withStackNote({
        ...section,
        offset,
        notes: filter === undefined ? section.notes : [`rows that contain ${JSON.stringify(filter)}`, ...section.notes],
      }),
    ),
    elsewhere: filledSections(others).filter(({ name }) => !shown.has(name)),
  };
}

/** The program of a run: what the caller wrote and what was run. */
export function programOf(record: RunRecord, nowMs: number): RunAnswer {
  return {
    ...base(record, nowMs),
    findings: [],
    sections: [
      {
        name: 'program',
        type: 'program',
        columns: [
          { name: 'part', type: 'text' },
          { name: 'text', type: 'text' },
        ],
        rows: [
          ['source', record.source],
          ['printed', record.printed],
        ],
        total: 2,
        offset: 0,
        notes: [],
      },
    ],
    elsewhere: [],
  };
}

/** Calls that are worth making next, ready to be sent, at most two. */
export function nextCalls({ run, sections, elsewhere, refusal, again = {} }: RunAnswer): readonly string[] {
  const id = `run_id="${run.id}"`;
  if (run.state === 'running') {
    const waitS = Math.min(25, Math.ceil(run.timeoutMs / 1000));
    return [`get_result(${id}, wait=${waitS})`, `manage_runs(action="stop", ${id})`];
  }
  if (refusal !== undefined) return [];
  if (sections.length === 0 && elsewhere.length === 0) return probeCalls(run);

  const more = sections.find(({ offset, rows, total }) => offset + rows.length < total);
  // A cell of a table has no room for a stack; folded stacks are whole.
  const stacked = again.format === undefined ? sections.find(holdsStacks) : undefined;
  const read = (name: string, more: Readonly<Record<string, string | number>> = {}) =>
    `get_result(${[id, ...Object.entries({ section: name, ...more }).map(([key, value]) => `${key}=${escapeText(JSON.stringify(value))}`)].join(', ')})`;
  const calls: string[] = [];
  if (stacked !== undefined) calls.push(read(stacked.name, { format: 'folded' }));
  if (more !== undefined && more !== stacked) {
    const from = more.offset + more.rows.length;
    // Percentiles are no rows of the run: the next page of a histogram starts with its first bucket.
    calls.push(read(more.name, { ...again, ...(from > 0 && !isSummary(more) && { offset: from }) }));
  }
  const hidden = sections.find(isSummary) ?? elsewhere[0];
  if (hidden !== undefined && hidden !== more) calls.push(read(hidden.name));
  return calls.slice(0, 2);
}

const holdsStacks = ({ rows }: AnswerSection): boolean =>
  rows[0]?.some((cell) => parseStacks(cell) !== undefined) ?? false;

const NAMELESS = "user stacks are addresses: the sandbox keeps bpftrace from the programs' files";

const withStackNote = (section: AnswerSection): AnswerSection =>
  section.rows.some((row) => row.some((cell) => parseStacks(cell)?.some(isNamelessStack)))
    ? { ...section, notes: [...section.notes, NAMELESS] }
    : section;

/** True for a histogram that is shown by its percentiles. */
export const isSummary = ({ type, columns }: Pick<AnswerSection, 'type' | 'columns'>): boolean =>
  type === 'hist' && columns.some(({ name }) => name === 'p50');

/** Names where the text in an answer comes from. */
export const untrusted = (run: RunHeader): string => `text from processes on node ${run.node}`;

function base(record: RunRecord, nowMs: number): Omit<RunAnswer, 'findings' | 'sections' | 'elsewhere'> {
  const { sections: _sections, account, diagnostics, ...run } = record;
  const refusal = refusalOf(record);
  return {
    run,
    verdict: verdict(record, nowMs),
    ...(refusal && { refusal }),
    account,
    diagnostics: mostSevere(diagnostics),
  };
}

/** A histogram whose buckets are all here by its percentiles, the key with the most values first. */
function summary(section: Section): Section {
  if (section.type !== 'hist' || section.rows.length < section.total) return section;
  const figures = summariseHistogram(section);
  const n = figures.columns.findIndex(({ name }) => name === 'n');
  return { ...figures, rows: figures.rows.toSorted((a, b) => Number(b[n]) - Number(a[n])) };
}

function refusalOf({ state, reason, diagnostics, probes }: RunRecord): Refusal | undefined {
  if (state !== 'failed') return undefined;
  const first = diagnostics.find(({ severity }) => severity === 'error') ?? diagnostics[0];
  const code = reason === 'invalid' ? 'program.invalid' : first === undefined ? 'trace.launch' : 'program.unloadable'; // it came to read the program
  const attached = probes.attached ?? 0;
  return {
    code,
    sentence: first === undefined ? `${capital(REASONS[reason])}.` : diagnosis(first),
    remedy: `${attached === 0 ? 'Nothing was attached' : `${counted(attached, 'probe')} had been attached`}. ${remedySentence(
      first?.remedy ?? (reason === 'not_armed' ? 'use fewer probes, or try again' : ERRORS[code].remedy),
    )}`,
  };
}

/** Zero events are an answer: what was attached, for how long, and what to try. So is a flood. */
function findingsOf(record: RunRecord): readonly string[] {
  const { state, timing, probes, account, sections } = record;
  if (state === 'running' || state === 'failed') return [];
  const filled = filledSections(sections);
  const lost = timing.armedMs === undefined ? [] : lostOf(record, filled);
  if (account.droppedByLimit.events > 0) return [TOO_MANY, ...lost];
  if (lost.length > 0 || filled.length > 0 || account.droppedMaps > 0) return lost;
  if (timing.armedMs === undefined) return ['The run ended before its probes were attached.'];
  const seconds = (((timing.endedMs ?? timing.armedMs) - timing.armedMs) / 1000).toFixed(1);
  const attached = `${counted(probes.attached ?? probes.asked, 'probe')} ${probes.attached === 1 ? 'was' : 'were'} attached for ${seconds} s and`;
  const runs = account.nodeCost?.runs;
  if (account.coverage)
    return [`${attached} nothing was counted or printed for the target.`, silence(account.coverage, runs)];
  if (runs === undefined) return [`${attached} nothing was counted or printed. ${TRY}`];
  if (runs === 0) return [`${attached} none fired. ${TRY}`];
  return [
    `${attached} ran ${counted(runs, 'time')}, but nothing was counted or printed: no event passed the predicates.`,
  ];
}

/** Maps come at the end of a run, so one whose end is missing has lost them. */
function lostOf({ state, reason, source, account }: RunRecord, filled: readonly Section[]): readonly string[] {
  if (state !== 'interrupted' || account.nodeCost?.runs === 0) return [];
  if (filled.some(({ type }) => type !== 'events')) return [];
  if (filled.length > 0 && !source.includes('@')) return [];
  return [`What was ${filled.length > 0 ? 'counted in maps' : 'collected'} is lost: ${REASONS[reason]}.`];
}

const TOO_MANY = 'More was printed than is kept. Count in a map instead, such as @[comm] = count().';

const TRY = 'Reproduce the load while it runs, trace longer, or check the probe and its predicate.';

/** The call that shows what a run that found nothing was attached to; none for one whose end is not known. */
function probeCalls({ state, source }: RunHeader): readonly string[] {
  const point = state === 'interrupted' ? undefined : LISTED_POINT.exec(source.replace(COMMENT, ' '))?.[1];
  return point === undefined ? [] : [`list_probes(filter="${point}", fields=true)`];
}

const COMMENT = /\/\*[\s\S]{0,2000}?\*\/|\/\/.*/g;

// The first attach point of a kind that list_probes lists; a slash belongs to the path of a program, elsewhere it
// begins the predicate.
const LISTED_POINT =
  /(?<![\w@$.:])((?:tracepoint|rawtracepoint|rt|t|fentry|fexit|kfunc|kretfunc|fr?|kprobe|kretprobe|kr?):[\w:*?.]{1,150}|(?:uprobe|uretprobe|ur?|usdt|U):[\w:*?./+-]{1,150})/;

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
