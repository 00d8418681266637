import { isRecord, toText, type Value } from '../trace/value.ts';
import type { AnswerSection, RunAnswer } from './answer.ts';
import { escapeLines, escapeText } from './escape.ts';
import { parseStacks } from './stack.ts';

/** What the program printed, in order, then its maps as bpftrace writes them: `@name[key]: value`. */
export function renderRaw({ sections }: RunAnswer): string {
  const events = sections.filter(({ type }) => type === 'events').map(eventsText);
  const maps = sections.filter(({ type }) => type !== 'events').map(mapText);
  return [...events, ...maps].join('');
}

function eventsText({ rows }: AnswerSection): string {
  const text = rows.map(([type, data]) => eventText(type, data)).join('');
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}

/** One event; printf writes its newlines itself, every other statement ends its line. */
function eventText(type: Value | undefined, data: Value | undefined): string {
  const map = data !== undefined && data !== null && isMapType(type) ? printedMap(data) : undefined;
  const text = map ?? textOf(data);
  return type === 'printf' || text.endsWith('\n') ? text : `${text}\n`;
}

/** True for a map that was printed while the program ran. */
export const isMapType = (type: Value | undefined): boolean =>
  type === 'map' || type === 'hist' || type === 'stats' || type === 'tseries';

/** A map that was printed while the program ran: its name with its value, or with a list of keys and values. */
function printedMap(data: Value): string | undefined {
  const field = isRecord(data) ? data.record[0] : undefined;
  if (field === undefined) return undefined;
  const [name, value] = field;
  if (!Array.isArray(value)) return `${escapeText(name)}: ${textOf(value)}\n`;
  return value.map(([key, item]) => `${escapeText(name)}[${keyText(key)}]: ${textOf(item)}\n`).join('');
}

function mapText({ name, type, columns, rows }: AnswerSection): string {
  if (type === 'program') return `${textOf(rows[0]?.[1])}\n`;
  const keys = columns[0]?.name === 'key' ? 1 : 0;
  return rows
    .map((row) => {
      const label = keys === 0 ? escapeText(name) : `${escapeText(name)}[${keyText(row[0])}]`;
      const figures = columns.slice(keys).map((column, at) => `${column.name} ${textOf(row[keys + at])}`);
      return `${label}: ${figures.length === 1 ? textOf(row[keys]) : figures.join(', ')}\n`;
    })
    .join('');
}

// A key begins a line, and only a stack has lines of its own.
const keyText = (key: Value | undefined): string => (parseStacks(key) ? textOf(key) : escapeText(toText(key ?? '-')));

const textOf = (value: Value | undefined): string =>
  value === undefined || value === null ? '-' : escapeLines(toText(value));
