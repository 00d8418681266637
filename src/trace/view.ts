import { KerntapError } from '../errors.ts';
import type { RecordQuery, Section } from './ports.ts';
import { toText, type Value } from './value.ts';

/** What a section is without its rows: enough to choose it. */
export type Outline = Omit<Section, 'rows'>;

/**
 * What a caller sees of a result: the sections that `query` asks for, each filtered, sorted and cut to one page. `total`
 * counts the rows that pass the filter. Throws `run.no_section`, `run.no_column`.
 */
export const viewSections = (sections: readonly Section[], query: RecordQuery): Section[] =>
  chooseSections(sections, query).map((section) => viewSection(section, query));

/**
 * The sections that `query` asks for: the named one, a map also without its `@`, or all. Throws `run.no_section`, and
 * `run.no_column` when none of them has the column to sort by.
 */
export function chooseSections<T extends Outline>(sections: readonly T[], query: RecordQuery): readonly T[] {
  const chosen = query.section === undefined ? sections : [findSection(sections, query.section)];
  const { sort } = query;
  if (sort !== undefined && chosen.length > 0 && !chosen.some((section) => columnIndex(section, sort) >= 0)) {
    const columns = chosen.map(({ name, columns }) => `${name} (${columns.map((column) => column.name).join(', ')})`);
    throw new KerntapError(
      'run.no_column',
      `There is no column '${columnName(sort)}' to sort by; the columns are ${columns.join(', ')}.`,
    );
  }
  return chosen;
}

/** One section's rows that pass the filter, in the order asked for, cut to one page. */
export function viewSection(section: Section, query: RecordQuery): Section {
  const needle = query.filter?.toLowerCase() ?? '';
  const kept =
    needle === ''
      ? section.rows
      : section.rows.filter((row) => row.some((cell) => toText(cell).toLowerCase().includes(needle)));
  const order = orderOf(section, query);
  const sorted = order === undefined ? kept : kept.toSorted(order);
  return { ...section, rows: sorted.slice(query.offset, query.offset + query.limit), total: kept.length };
}

/** True when a page of this section is just that range of its rows, so that the others need not be read. */
export const isPlainPage = (section: Outline, query: RecordQuery): boolean =>
  (query.filter ?? '') === '' && orderOf(section, query) === undefined;

function findSection<T extends Outline>(sections: readonly T[], name: string): T {
  const found =
    sections.find((section) => section.name === name) ??
    (name === '' ? undefined : sections.find((section) => section.name === `@${name}`));
  if (found !== undefined) return found;
  const existing = sections.map((section) => `${section.name} (${section.total} rows)`);
  throw new KerntapError(
    'run.no_section',
    `The run has no section '${name}'; it has ${existing.length === 0 ? 'none' : existing.join(', ')}.`,
  );
}

type Row = Section['rows'][number];

/** Undefined where the rows stay as they came. */
function orderOf(section: Outline, { sort }: RecordQuery): ((a: Row, b: Row) => number) | undefined {
  const asked = sort === undefined ? -1 : columnIndex(section, sort);
  if (asked >= 0) return compareRows(section, asked, sort?.startsWith('-') ?? false);
  // Maps and stats come in the order of the kernel's hash; what is largest is what was asked for. The buckets of a
  // histogram and the intervals of a time series have an order of their own.
  if (section.type !== 'map' && section.type !== 'stats') return undefined;
  const largest = section.columns.findLastIndex((column) => column.type === 'number');
  return largest < 0 ? undefined : compareRows(section, largest, true);
}

const columnName = (sort: string) => (sort.startsWith('-') ? sort.slice(1) : sort);

const columnIndex = (section: Outline, sort: string) =>
  section.columns.findIndex((column) => column.name === columnName(sort));

function compareRows(section: Outline, column: number, descending: boolean): (a: Row, b: Row) => number {
  const compare = section.columns[column]?.type === 'number' ? compareNumbers : compareTexts;
  const sign = descending ? -1 : 1;
  return (a, b) => compare(a[column] ?? null, b[column] ?? null, sign);
}

const isNumeric = (value: Value) => typeof value === 'number' || typeof value === 'bigint';

/** Cells without a number stand last, whatever the direction. JavaScript compares number and bigint exactly. */
function compareNumbers(a: Value, b: Value, sign: number): number {
  if (!isNumeric(a) || !isNumeric(b)) return Number(isNumeric(b)) - Number(isNumeric(a));
  if (a === b) return 0;
  return a < b ? -sign : a > b ? sign : 0;
}

const compareTexts = (a: Value, b: Value, sign: number) => sign * compareCodePoints(toText(a), toText(b));

/** By code point; `<` compares UTF-16 units, where U+1F600 comes before U+FF21. */
function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) {
    if (a.charCodeAt(at) === b.charCodeAt(at)) continue;
    // The unit before is the same in both: as the first half of a pair it makes another code point of each.
    const difference = (i: number) => (a.codePointAt(i) ?? 0) - (b.codePointAt(i) ?? 0);
    return (at > 0 && difference(at - 1)) || difference(at);
  }
  return a.length - b.length;
}
