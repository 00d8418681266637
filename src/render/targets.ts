import type { Column, Target, TargetFilter, TargetPage } from '../trace/ports.ts';
import { escapeText, shorten } from './escape.ts';
import { counted, grouped } from './sentences.ts';
import { renderRows } from './table.ts';

/** What runs on a node, a row each; as many as fit into `maxChars`, what must be known of them, and from where it is known. */
export function renderTargets(page: TargetPage, filter: TargetFilter, maxChars: number, nowMs: number): string {
  const sources = `sources: ${page.sources.map((source) => shorten(source)).join(', ')}`;
  if (page.targets.length === 0) return `${miss(page, filter)}\n${sources}`;

  let shown = page.targets;
  let text = tableOf(shown, nowMs);
  // Widths follow from the rows, so what fits is found by trying.
  while (text.length > maxChars - sources.length - 300 && shown.length > 1) {
    shown = shown.slice(0, Math.floor(shown.length * 0.8));
    text = tableOf(shown, nowMs);
  }
  return [
    shown.length < page.total
      ? `${grouped(shown.length)} of ${counted(page.total, 'target')} on ${nodeOf(page)}`
      : `${counted(page.total, 'target')} on ${nodeOf(page)}`,
    text,
    sources,
    ...(shown.length < page.total
      ? ['next: words in query, a namespace or a kind narrow it; limit=200 shows more']
      : []),
  ].join('\n');
}

const nodeOf = ({ targets }: TargetPage): string => shorten(targets[0]?.node ?? 'this node', 100);

function miss({ closest }: TargetPage, { query, namespace, node, kind }: TargetFilter): string {
  const asked = [
    ...(query === undefined ? [] : [JSON.stringify(shorten(query))]),
    ...(kind === undefined ? [] : [`kind ${kind}`]),
    ...(namespace === undefined ? [] : [`namespace ${shorten(namespace, 80)}`]),
    ...(node === undefined ? [] : [`node ${shorten(node, 80)}`]),
  ];
  const what =
    asked.length > 0 ? `nothing matches ${asked.join(', ')}` : 'no pod, container or service is visible here';
  return closest.length > 0 ? `${what}; the closest are ${closest.map((name) => shorten(name)).join(', ')}` : what;
}

/** Columns in which no row says anything are left out. */
function tableOf(targets: readonly Target[], nowMs: number): string {
  const used = COLUMNS.filter(({ of }) => targets.some((target) => of(target, nowMs) !== ''));
  const rows = targets.map((target) => used.map(({ of }) => of(target, nowMs) || '-'));
  const notes = targets.flatMap(({ notes, selector, id }) =>
    notes.map((note) => `note: ${id ?? shorten(selector)}: ${escapeText(note)}`),
  );
  return [renderRows({ columns: used, rows }), ...notes].join('\n');
}

type Cell = (target: Target, nowMs: number) => string;

const COLUMNS: readonly (Column & { readonly of: Cell })[] = [
  { name: 'id', type: 'text', of: ({ id }) => id ?? '' },
  { name: 'selector', type: 'text', of: ({ selector }) => selector },
  { name: 'kind', type: 'text', of: ({ kind }) => kind },
  { name: 'owner', type: 'text', of: ({ owner }) => owner ?? '' },
  // What the selector has already is not said again.
  { name: 'name', type: 'text', of: ({ name, selector }) => (selector.endsWith(name) ? '' : name) },
  { name: 'containers', type: 'text', of: (target) => containersOf(target) },
  { name: 'processes', type: 'number', of: ({ processes }) => String(processes) },
  { name: 'up', type: 'text', of: ({ startedMs }, nowMs) => (startedMs === undefined ? '' : age(nowMs - startedMs)) },
  { name: 'restarts', type: 'number', of: ({ restarts }) => (restarts === undefined ? '' : String(restarts)) },
  { name: 'last_state', type: 'text', of: ({ lastState }) => lastState ?? '' },
];

function containersOf({ kind, containers }: Target): string {
  if (kind === 'container') return containers.map(({ id }) => id.slice(0, 12)).join('');
  const names = containers.map(({ name, state }) => (state === 'running' ? name : `${name} (${state})`));
  return names.length > 4 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ');
}

const AGES = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
] as const;

const age = (ms: number): string => {
  const [unitMs, unit] = AGES.find(([least]) => ms >= least) ?? [1_000, 's'];
  return `${Math.max(0, Math.floor(ms / unitMs))} ${unit}`;
};
