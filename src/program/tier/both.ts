import { BUILTINS, nearestBuiltins } from '../builtins.ts';
import { numberOf } from '../literals.ts';
import {
  type AnyNode,
  type AttachPoint,
  type Block,
  type Expression,
  nodesOf,
  probeNodes,
  type Tree,
} from '../tree.ts';
import { type Rule, wordsOf } from './finding.ts';
import { constantOf, isRecursive } from './macros.ts';
import { CALL_REMEDIES, REMEDIES } from './remedies.ts';

const MAX_MAPS = 16;
const MAX_HERTZ = 999;
const MIN_INTERVAL_MS = 10;
/** bpftrace's own, 1,000 times a second. */
const MIN_CLOCK_NS = 1_000_000;
const MAX_UNROLL = 1_000;
/** 8,000,000 rounds took 1.2 s in the kernel for each event. */
const MAX_ROUNDS = 100_000;

function* allNodes({ probes, macros }: Tree): Generator<AnyNode> {
  for (const probe of probes) yield* probeNodes(probe);
  for (const { body } of macros) yield* nodesOf(body);
}

const FUNCTIONS = new Map(BUILTINS.filter(({ kind }) => kind !== 'statement').map((one) => [one.name, one]));

const calls: Rule = function* ({ source, tree }) {
  const macros = new Set(tree.macros.map(({ name }) => name));
  for (const node of allNodes(tree)) {
    if (node.kind !== 'call' || macros.has(node.callee)) continue;
    const known = FUNCTIONS.get(node.callee);
    const span = node.span && { start: node.span.start, end: node.span.start + node.callee.length };
    const found = { ...(span && { span }), construct: wordsOf(source, undefined, node.callee) };
    if (known === undefined) {
      const near = nearestBuiltins(node.callee);
      const meant = near.length === 0 ? '' : `; perhaps ${near.join(' or ')} is meant`;
      yield { ...found, reason: `bpftrace has no such function${meant}`, remedy: REMEDIES.unknown };
    } else if (known.refused !== undefined)
      yield { ...found, reason: known.refused, remedy: CALL_REMEDIES[node.callee] ?? REMEDIES.acts };
  }
};

/** Attach points that change what they watch, are for bpftrace's own tests, or end a run. */
const REFUSED_KINDS: Readonly<Record<string, string>> = {
  watchpoint: 'it stops the processes that it watches',
  asyncwatchpoint: 'it stops the processes that it watches',
  self: 'the signal probe is how kerntap ends a run',
  test: "it is for bpftrace's own tests",
  bench: "it is for bpftrace's own measurements",
};

const points = (tree: Tree): readonly AttachPoint[] => tree.probes.flatMap((probe) => probe.points);

const kinds: Rule = function* ({ tree }) {
  for (const { kind, text, span } of points(tree)) {
    const reason = Object.hasOwn(REFUSED_KINDS, kind) ? REFUSED_KINDS[kind] : undefined;
    if (reason !== undefined)
      yield {
        ...(span && { span }),
        construct: text,
        reason,
        remedy: kind.endsWith('watchpoint') ? REMEDIES.watch : REMEDIES.kind,
      };
  }
};

const NANOSECONDS: Readonly<Record<string, number>> = { s: 1e9, ms: 1e6, us: 1e3, ns: 1 };

/** How often a probe fires by the clock, in nanoseconds between two times: `hz:99`, `ms:10`, `10ms`. */
function periodNs(parts: readonly string[]): number | undefined {
  const [unit = '', count] = parts;
  if (count === undefined) return Number(numberOf(unit) ?? Number.NaN);
  const value = Number(numberOf(count) ?? Number.NaN);
  return unit === 'hz' ? 1e9 / value : value * (NANOSECONDS[unit] ?? Number.NaN);
}

/** A CPU that is never idle makes 3,000,000 cycles in a millisecond, and far fewer events of other kinds. */
const [MIN_CYCLES, MIN_HARDWARE_EVENTS] = [1_000_000, 10_000];

const rates: Rule = function* ({ tree }) {
  for (const { kind, parts, text, span } of points(tree)) {
    const [event = '', count] = parts;
    if (kind === 'software' && /^(?:cpu|cpu-clock|task-clock)$/.test(event) && count !== undefined) {
      if (Number(numberOf(count) ?? Number.NaN) >= MIN_CLOCK_NS) continue;
      yield {
        ...(span && { span }),
        construct: text,
        reason: `it counts nanoseconds, of which at least ${MIN_CLOCK_NS} must lie between two samples`,
        remedy: REMEDIES.hertz,
      };
    }
    const least = /^(?:cpu-cycles|cycles|instructions|bus-cycles|ref-cycles|cpu)$/.test(event)
      ? MIN_CYCLES
      : MIN_HARDWARE_EVENTS;
    if (kind === 'hardware' && !(Number(numberOf(count ?? '') ?? MIN_CYCLES) >= least))
      yield {
        ...(span && { span }),
        construct: text,
        reason: `it fires every ${count} events of the CPU, of which at least ${least} must lie between two samples`,
        remedy: REMEDIES.hertz,
      };
    if (kind !== 'profile' && kind !== 'interval') continue;
    const period = periodNs(parts) ?? Number.NaN;
    const min = kind === 'profile' ? 1e9 / MAX_HERTZ : MIN_INTERVAL_MS * 1e6;
    if (period >= Math.floor(min)) continue;
    yield {
      ...(span && { span }),
      construct: text,
      reason:
        kind === 'profile'
          ? `a profile samples at most ${MAX_HERTZ} times a second`
          : `an interval is at least ${MIN_INTERVAL_MS} ms`,
      remedy: kind === 'profile' ? REMEDIES.hertz : REMEDIES.interval,
    };
  }
};

function numberIn(node: Expression, tree: Tree): number | undefined {
  const known = constantOf(node, tree);
  return known?.kind === 'number' ? Number(numberOf(known.text) ?? Number.NaN) : undefined;
}

const loops: Rule = function* ({ source, tree }) {
  function* inBlock(body: Block, unrolled: number, rounds: number): ReturnType<Rule> & Generator {
    for (const node of topNodes(body)) yield* inNode(node, unrolled, rounds);
  }
  function* inNode(node: AnyNode, unrolled: number, rounds: number): ReturnType<Rule> & Generator {
    const found = { ...(node.span && { span: node.span }), construct: wordsOf(source, node.span, node.kind) };
    if (node.kind === 'unroll') {
      const times = numberIn(node.count, tree);
      const product = unrolled * (times ?? 100);
      if (product > MAX_UNROLL)
        yield { ...found, reason: `it is written out more than ${MAX_UNROLL} times`, remedy: REMEDIES.rounds };
      else yield* inBlock(node.body, product, rounds);
    } else if (node.kind === 'for_range') {
      const [from, to] = [numberIn(node.from, tree), numberIn(node.to, tree)];
      const product = rounds * Math.max(1, (to ?? 0) - (from ?? 0));
      if (from === undefined || to === undefined)
        yield { ...found, reason: 'how often it repeats is not known before it runs', remedy: REMEDIES.range };
      else if (product * unrolled > MAX_ROUNDS)
        yield { ...found, reason: `it repeats more than ${MAX_ROUNDS} times for an event`, remedy: REMEDIES.rounds };
      else yield* inBlock(node.body, unrolled, product);
    }
  }
  for (const { body } of [...tree.probes, ...tree.macros]) yield* inBlock(body, 1, 1);
};

/** Nodes of a block, but not those in its loops. */
function* topNodes(root: Block | AnyNode): Generator<AnyNode> {
  const skipped = new Set<AnyNode>();
  for (const node of nodesOf(root)) {
    if (skipped.has(node)) continue;
    yield node;
    if (node.kind === 'unroll' || node.kind === 'for_range') for (const inner of nodesOf(node.body)) skipped.add(inner);
  }
}

const maps: Rule = function* ({ source, tree }) {
  const seen = new Set<string>();
  for (const node of allNodes(tree)) {
    if (node.kind !== 'map' || seen.has(node.name)) continue;
    seen.add(node.name);
    if (seen.size > MAX_MAPS) {
      yield {
        ...(node.span && { span: node.span }),
        construct: wordsOf(source, node.span, node.name),
        reason: `a program has at most ${MAX_MAPS} maps`,
        remedy: REMEDIES.maps,
      };
      return;
    }
  }
};

/** Types that the scope reads: redefined, it would match nothing or everything. */
const SCOPE_TYPES: ReadonlySet<string> = new Set(
  'task_struct css_set cgroup cgroup_subsys_state kernfs_node sock sock_common sock_cgroup_data sk_buff net_device net ns_common possible_net_t request bio blkcg_gq blkcg task_group'.split(
    ' ',
  ),
);

const definitions: Rule = function* ({ tree }) {
  for (const { keyword, name, members, span } of tree.definitions) {
    const inside = members.join(' ').match(/\b(?:struct|union|enum) \w+(?= \{)/g) ?? [];
    const taken = [name, ...inside.map((words) => words.split(' ')[1] ?? '')].find((one) => SCOPE_TYPES.has(one));
    if (taken !== undefined)
      yield {
        ...(span && { span }),
        construct: `${keyword} ${taken}`,
        reason: 'kerntap reads this type of the kernel to tell whose an event is',
        remedy: REMEDIES.redefined,
      };
  }
};

const macros: Rule = function* ({ tree }) {
  for (const macro of tree.macros) {
    const { name, span } = macro;
    const found = { ...(span && { span }), construct: `macro ${name}`, remedy: REMEDIES.shadow };
    if (FUNCTIONS.has(name) || /^s?arg\d+$/.test(name) || name.startsWith('__'))
      yield { ...found, reason: 'the name is that of a builtin, which it would replace' };
    else if (isRecursive(macro, tree)) yield { ...found, reason: 'it stands for itself', remedy: REMEDIES.recursive };
  }
};

/** What no tier takes. */
export const RULES_FOR_ALL: readonly Rule[] = [calls, kinds, rates, loops, maps, definitions, macros];
