import type { Diagnostic, Position } from '../trace/ports.ts';
import { escapeText, shorten } from './escape.ts';
import { place } from './sentences.ts';

const LINE_CHARS = 400;
const SOURCE_CHARS = 100;

/** What bpftrace said, as one line in the caller's own positions. */
export const diagnosis = ({ at, message }: Diagnostic): string =>
  shorten(at ? `${place(at)}: ${message}` : message, LINE_CHARS);

/** Errors before warnings before hints, as many as are worth reading. */
export const mostSevere = (diagnostics: readonly Diagnostic[]): readonly Diagnostic[] =>
  diagnostics.toSorted((a, b) => RANK[a.severity] - RANK[b.severity]).slice(0, MOST);

const RANK = { error: 0, warning: 1, hint: 2 } as const;
const MOST = 5;

/** The caller's line, or as much of it as is around `at`, and a mark under the place; nothing for a place beyond it. */
export function renderPlace(source: string, at: Position | undefined): readonly string[] {
  const line = at && source.split('\n')[at.line - 1];
  if (at === undefined || line === undefined) return [];
  const characters = [...line.replaceAll('\t', ' ')];
  const start = Math.max(0, at.column - 1 - SOURCE_CHARS / 2);
  const before = escapeText(characters.slice(start, at.column - 1).join(''));
  const after = escapeText(characters.slice(Math.max(start, at.column - 1), start + SOURCE_CHARS).join(''));
  return [`  ${before}${after}`, `  ${' '.repeat([...before].length)}^`];
}

/** A diagnostic with the caller's line under it and what to do about it. */
export const renderDiagnostic = (source: string, diagnostic: Diagnostic): readonly string[] => [
  `${diagnostic.severity} ${diagnosis(diagnostic)}`,
  ...renderPlace(source, diagnostic.at),
  ...(diagnostic.remedy === undefined ? [] : [`  ${shorten(diagnostic.remedy, LINE_CHARS)}`]),
];

/** A diagnostic for programs. */
export const diagnosticJson = ({ severity, at, message, remedy }: Diagnostic) => ({
  severity,
  ...at,
  message: shorten(message, 200),
  ...(remedy !== undefined && { remedy: shorten(remedy, 200) }),
});
