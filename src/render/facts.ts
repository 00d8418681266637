import type { NodeFacts } from '../trace/ports.ts';
import { escapeText } from './escape.ts';
import { byteCount, counted, grouped, instant } from './sentences.ts';

/** What a node can trace, in a few lines: a no always has its reason. */
export function renderFacts(facts: NodeFacts): string {
  const { kernel, bpftrace, cgroups, probeKinds, features, sandbox, limits, slots, store } = facts;
  const available = probeKinds.filter((kind) => kind.available).map(({ kind }) => kind);
  const missing = probeKinds
    .filter((kind) => !kind.available)
    .map(({ kind, why }) => (why === undefined ? kind : `${kind} (${why})`));
  return [
    `node ${facts.node}: kerntap ${facts.kerntap}, kernel ${kernel.release} ${kernel.arch}, ${counted(kernel.cpus, 'CPU')}, bpftrace ${bpftrace.version}${bpftrace.bundled ? ' (brought by kerntap)' : ''}`,
    `BTF ${yes(facts.btf)}, tracefs ${yes(facts.tracefs)}, lockdown ${facts.lockdown}, Landlock ${yes(facts.landlock)}, cgroups ${cgroups.layout}${cgroups.path === undefined ? '' : ` (${cgroups.path})`}`,
    `probe kinds that attach: ${listed(available)}`,
    `probe kinds that do not: ${listed(missing)}`,
    `helpers: ${grouped(features.helpers.length)} (list_helpers says which functions need one)`,
    `sandbox: ${[sandbox.state, ...sandbox.missing.map((part) => `missing ${part}`), ...sandbox.notes].join('; ')}`,
    `limits: ${listed(Object.entries(limits).map(([name, value]) => `${name} ${grouped(value)}`))}`,
    `slots: ${slots.taken} of ${slots.total} taken; store: ${counted(store.runs, 'run')}, ${byteCount(store.bytes)} of ${byteCount(store.maxBytes)}`,
    `found by trying at ${instant(facts.checkedMs)}; refresh=true tries again`,
  ]
    .map(escapeText)
    .join('\n');
}

const yes = (is: boolean): string => (is ? 'yes' : 'no');

const listed = (names: readonly string[]): string => (names.length === 0 ? 'none' : names.join(', '));
