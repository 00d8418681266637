import { toText, type Value } from '../trace/value.ts';
import type { RunAnswer } from './answer.ts';
import { escapeLines } from './escape.ts';

/** The first section as RFC 4180: CRLF, a header, quotes doubled. What is left out is not said here but beside it. */
export function renderCsv({ sections: [section] }: RunAnswer): string {
  if (section === undefined) return '';
  const lines: readonly (readonly Value[])[] = [section.columns.map(({ name }) => name), ...section.rows];
  return lines.map((row) => `${row.map(field).join(',')}\r\n`).join('');
}

function field(value: Value): string {
  if (value === null) return '';
  const text = typeof value === 'string' ? inert(escapeLines(value)) : toText(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// A spreadsheet runs a cell that begins so as a formula (OWASP, CSV injection); an apostrophe makes it text. A carriage
// return is escaped already, and a minus before numbers alone harms nobody.
const inert = (text: string): string => (/^(?:[=+@\t]|-(?![-\d.,]*$))/.test(text) ? `'${text}` : text);
