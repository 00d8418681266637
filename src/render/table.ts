import type { RunHeader } from '../trace/ports.ts';
import { isRecord, toText, type Value } from '../trace/value.ts';
import { type AnswerSection, isSummary, nextCalls, type RunAnswer } from './answer.ts';
import { coverageLines } from './coverage.ts';
import { diagnosis, renderPlace } from './diagnostics.ts';
import { escapeLines, shorten } from './escape.ts';
import { isMapType } from './raw.ts';
import { accountLine, counted, grouped, instant, lostInShort } from './sentences.ts';
import { type KeyPart, parseStacks } from './stack.ts';

// Lines of our own begin at the margin and what was traced does not: no traced text can pass for a finding.
const INDENT = '  ';

/** The form that people and models read: header, findings, one aligned table a section, account, next calls. */
export function renderTable(answer: RunAnswer): string {
  const { run, refusal, account, diagnostics } = answer;
  if (refusal !== undefined && answer.sections.length === 0) return refused(answer);
  const next = nextCalls(answer);
  return [
    header(answer),
    ...(refusal === undefined ? [] : [`${refusal.code}: ${clean(refusal.sentence)}`]),
    ...answer.findings.map((finding) => `finding: ${finding}`),
    ...diagnostics.map((diagnostic) => `${diagnostic.severity} ${diagnosis(diagnostic)}`),
    ...answer.sections.flatMap((section) => sectionLines(section)),
    ...noteLines(answer),
    ...elsewhereLine(answer),
    ...(account.coverage ? coverageLines(account.coverage) : []),
    ...(run.state === 'running' ? [] : [`account: ${accountLine(account)}`]),
    ...(next.length > 0 ? [`next: ${next.join(' | ')}`] : []),
  ].join('\n');
}

function header({ run, verdict, account, sections, elsewhere }: RunAnswer): string {
  const name = run.name === undefined ? 'program' : `program ${JSON.stringify(shorten(run.name, 64))}`;
  const rows = [...sections, ...elsewhere].reduce((sum, { total }) => sum + total, 0);
  const state = run.state === 'running' ? `${counted(rows, 'row')} so far` : lostInShort(account);
  const target = run.target === 'node' ? 'node' : shorten(run.target);
  return `${name} on ${target} (${run.node}), ${duration(run)}, run ${run.id}, ${verdict}, ${state}`;
}

function duration({ timing, timeoutMs, state }: RunHeader): string {
  if (timing.armedMs === undefined) return `asked for at ${instant(timing.askedMs)}`;
  if (state === 'running' || timing.endedMs === undefined)
    return `${timeoutMs / 1000} s from ${instant(timing.armedMs)}`;
  const lastedMs = timing.endedMs - timing.armedMs;
  const asked = lastedMs - timeoutMs > 1_000 ? `${timeoutMs / 1000} s asked, ` : '';
  return `${asked}${(lastedMs / 1000).toFixed(1)} s from ${instant(timing.armedMs)}`;
}

/** A program that could not run: the error, the caller's own line with a mark under it, what to do. */
function refused({ run, refusal, diagnostics, verdict }: RunAnswer): string {
  const errors = diagnostics.filter(({ severity }) => severity === 'error');
  const [first, ...others] = errors;
  return [
    `${refusal?.code}: ${clean(refusal?.sentence ?? verdict)}`,
    ...renderPlace(run.source, first?.at),
    ...others.map(diagnosis),
    clean(refusal?.remedy ?? ''),
    `run ${run.id}`,
  ].join('\n');
}

/** One section: its name and what of it is shown, then its rows. */
export function sectionLines(section: AnswerSection): readonly string[] {
  const title = `${clean(section.name)}: ${extent(section)}`;
  switch (section.type) {
    case 'program':
      return section.rows.flatMap(([part, text]) => [
        `${String(part)}:`,
        ...escapeLines(String(text).trimEnd())
          .split('\n')
          .map((line) => INDENT + line),
      ]);
    case 'events':
      return [title, ...section.rows.flatMap(([type, data]) => eventLines(type, data).map((line) => INDENT + line))];
    case 'map':
    case 'stats':
    case 'hist':
      return section.rows.length === 0 ? [title] : [title, renderRows(section)];
    case 'tseries':
      return section.rows.length === 0
        ? [title]
        : [title, renderRows({ ...section, rows: section.rows.map(toMillis) })];
  }
}

/** Starts of intervals without the nanoseconds, where these are none. */
const toMillis = (row: readonly Value[]): readonly Value[] =>
  row.map((value) => (typeof value === 'string' ? value.replace(/^([-\d]+ [:\d]+\.\d{3})0{6}$/, '$1') : value));

/** What a reader must know of the sections, each thing once. */
function noteLines({ sections }: RunAnswer): readonly string[] {
  const noted = sections.flatMap(({ name, notes }) => notes.map((note) => ({ name, note })));
  return [...Map.groupBy(noted, ({ note }) => note)].map(
    ([note, group]) => `note: ${clean(note)} (${clean(group.map(({ name }) => name).join(', '))})`,
  );
}

/** `3 of 53 rows`, `rows 51-100 of 312`, `no row at offset 400 of 312`. */
export function extent(section: AnswerSection): string {
  const { rows, total, offset } = section;
  const noun = isSummary(section) ? 'key' : 'row';
  if (rows.length === 0) return offset > 0 ? `no row at offset ${offset} of ${total}` : `0 of ${counted(total, noun)}`;
  if (offset === 0) return `${rows.length} of ${counted(total, noun)}`;
  return `${noun}s ${offset + 1}-${offset + rows.length} of ${grouped(total)}`;
}

/** An aligned table, a header and a line a row, indented; numbers are right-aligned. */
export function renderRows({ columns, rows }: Pick<AnswerSection, 'columns' | 'rows'>): string {
  const texts = [columns.map(({ name }) => shorten(name)), ...rows.map((row) => columns.map((_, at) => cell(row[at])))];
  const widths = columns.map((_, at) => Math.max(...texts.map((row) => width(row[at] ?? ''))));
  return texts
    .map((row) => {
      const cells = columns.map(({ type }, at) => {
        const text = row[at] ?? '';
        const space = ' '.repeat((widths[at] ?? 0) - width(text));
        return type === 'number' ? space + text : text + space;
      });
      return INDENT + cells.join(INDENT);
    })
    .join('\n');
}

const width = (text: string): number => [...text].length;

function cell(value: Value | undefined): string {
  if (value === undefined || value === null) return '-';
  if (value === '') return '""';
  const parts = parseStacks(value);
  if (parts !== undefined) return shorten(parts.map((part) => (isStack(part) ? stackText(part) : part)).join(','));
  return shorten(toText(typeof value === 'string' ? value.replace(/\n$/, '') : value));
}

const PRINTED_KEYS = 10;

/** A printed event: one line, or a line a key for a map with keys, which bpftrace prints with the largest at the end. */
function eventLines(type: Value | undefined, data: Value | undefined): readonly string[] {
  const [name, items] = (isMapType(type) && data !== undefined && isRecord(data) && data.record[0]) || [];
  if (name === undefined || !Array.isArray(items) || items.length === 0) return [cell(data)];
  const left = items.length - PRINTED_KEYS;
  return [
    ...(left > 0 ? [`${cell(name)}: ${counted(left, 'key')} before these, format="raw" has all`] : []),
    ...items.slice(-PRINTED_KEYS).map((item) => {
      const [key, value] = Array.isArray(item) ? item : [undefined, item];
      return `${cell(name)}[${cell(key)}]: ${cell(value)}`;
    }),
  ];
}

const isStack = (part: KeyPart): part is readonly string[] => typeof part !== 'string';

const stackText = (frames: readonly string[]): string => (frames.length === 0 ? '(no stack)' : frames.join(' < '));

const NAMES = 10;

function elsewhereLine({ elsewhere }: RunAnswer): readonly string[] {
  if (elsewhere.length === 0) return [];
  const names = elsewhere.slice(0, NAMES).map(({ name, total }) => `${clean(name)} (${counted(total, 'row')})`);
  const rest = elsewhere.length - names.length;
  return [`not shown: ${names.join(', ')}${rest > 0 ? ` and ${counted(rest, 'more section', 'more sections')}` : ''}`];
}

/** Our own words around the caller's names. */
const clean = (text: string): string => shorten(text, 400);
