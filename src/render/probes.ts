import type { Probe, ProbeField, ProbePage, ProbeQuery } from '../trace/ports.ts';
import { escapeText, shorten } from './escape.ts';
import { grouped } from './sentences.ts';

/** One page of probes or struct fields, a line each; as many as fit into `maxChars`, and how to read on. */
export function renderProbes(page: ProbePage, query: ProbeQuery, maxChars: number): string {
  const notes = page.notes.map((note) => `note: ${escapeText(note)}`);
  if (page.matches === 0) return [miss(page, query), ...notes].join('\n');

  const struct = page.struct && escapeText(page.struct.name);
  const items = page.struct
    ? page.struct.fields.map((field) => [`  ${fieldText(field)}`])
    : page.probes.map((probe) => probeLines(probe));
  const room = maxChars - 1_000 - notes.join('\n').length;
  const fitting = fits(items, room);
  const end = query.offset + fitting.length;
  const range = query.offset === 0 ? grouped(end) : `${grouped(query.offset + 1)}-${grouped(end)}`;
  const among = struct === undefined ? `among ${grouped(page.total)} ${kindOf(query)}probes` : `in ${struct}`;
  return [
    `${range} of ${grouped(page.matches)} matches ${among}`,
    ...fitting.flat(),
    ...notes,
    ...(end < page.matches ? [`next: the same call with offset=${end}, or a narrower filter`] : []),
  ].join('\n');
}

function miss(page: ProbePage, query: ProbeQuery): string {
  const closest = page.closest.map((name) => shorten(name));
  const filter = JSON.stringify(shorten(query.filter));
  if (query.offset > 0) return `no match of ${filter} at offset ${query.offset}`;
  const near = closest.length > 0 ? `closest names are ${closest.join(', ')}` : 'no name is near';
  return `0 of ${grouped(page.total)} ${kindOf(query)}probes match ${filter}, ${near}. Try fewer words or a glob such as 'tracepoint:*${wordOf(query.filter)}*'.`;
}

const kindOf = ({ kind }: ProbeQuery): string => (kind === undefined ? '' : `${shorten(kind, 40)} `);

/** The longest word of a filter: most likely the one that means something. */
const wordOf = (filter: string): string =>
  (filter.replace(/^[a-z]+:/, '').match(/[a-z0-9]{3,30}/gi) ?? ['open']).reduce((longest, word) =>
    word.length > longest.length ? word : longest,
  );

const probeLines = ({ name, demangled, fields }: Probe): readonly string[] => [
  demangled === undefined ? escapeText(name) : `${escapeText(name)}  ${shorten(demangled)}`,
  ...(fields === undefined
    ? []
    : [fields.length === 0 ? '  no arguments' : `  ${fields.map((field) => `args.${fieldText(field)}`).join(', ')}`]),
];

const fieldText = ({ name, type }: ProbeField): string => `${escapeText(name)} ${escapeText(type)}`;

/** The items whose lines fit, but always the first. */
function fits(items: readonly (readonly string[])[], maxChars: number): readonly (readonly string[])[] {
  let length = 0;
  const end = items.findIndex((lines) => {
    length += lines.join('\n').length + 1;
    return length > maxChars;
  });
  return end < 0 ? items : items.slice(0, Math.max(1, end));
}
