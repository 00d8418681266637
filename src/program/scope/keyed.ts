import { printExpression } from '../print.ts';
import { type AnyNode, childrenOf, type Expression, mapExpressions, nodesOf, type Probe, probeNodes } from '../tree.ts';
import { OWNERS } from './operand.ts';
import type { Point } from './scope.ts';
import { fieldOfArgs } from './uses.ts';

/** An item of a map, with what its key is made of. */
interface Item {
  readonly map: string;
  readonly key: readonly Expression[];
}

/** Functions that change nothing in the map that they are given, or only remove from it. */
const HARMLESS = ['has_key', 'delete', 'print', 'clear', 'zero', 'len'];

/**
 * Maps that only scoped probes store to, with the keys under which they do, as text: what is found there came from the
 * target. A key must hold what no other event has, or a program could make up those of others.
 */
export function scopedKeys(
  probes: readonly { readonly probe: Probe; readonly points: readonly Point[]; readonly isScoped: boolean }[],
): ReadonlyMap<string, ReadonlySet<string>> {
  const keys = new Map<string, Set<string>>();
  const others = new Set<string>();
  for (const { probe, points, isScoped } of probes) {
    for (const node of probeNodes(probe)) {
      for (const map of givenAway(node)) others.add(map);
      const stored = storedBy(node);
      if (stored === undefined) continue;
      const key = resolved(stored, probe);
      // As tools do in their begin, so that the map is there; nothing has such a key.
      if (key.length > 0 && key.every((part) => part.kind === 'number' && Number(part.text) === 0)) continue;
      if (isScoped && isOfOneEvent(key, points))
        keys.set(stored.map, (keys.get(stored.map) ?? new Set()).add(textOf(key)));
      else others.add(stored.map);
    }
  }
  for (const map of others) keys.delete(map);
  return keys;
}

/** M: an item that the probe reads under a key under which scoped probes store; its key holds no variables. */
export function keyOf(probe: Probe, keys: ReadonlyMap<string, ReadonlySet<string>>): Item | undefined {
  for (const node of probeNodes(probe)) {
    const item = lookedUpBy(node);
    if (item === undefined) continue;
    const key = resolved(item, probe);
    if (keys.get(item.map)?.has(textOf(key))) return { map: item.map, key };
  }
  return undefined;
}

/** `@m[KEY] = v`, `@m[KEY]++`, `@m[KEY].field = v`. */
function storedBy(node: AnyNode): Item | undefined {
  const target = node.kind === 'assign' ? node.target : node.kind === 'update' ? node.operand : undefined;
  const map = target && mapOf(target);
  return map && { map: map.name, key: map.key ?? [] };
}

function mapOf(node: Expression): Extract<Expression, { kind: 'map' }> | undefined {
  if (node.kind === 'map') return node;
  return node.kind === 'field' || node.kind === 'index' ? mapOf(node.object) : undefined;
}

/** `@m[KEY]`, `has_key(@m, KEY)`, `delete(@m, KEY)`. */
function lookedUpBy(node: AnyNode): Item | undefined {
  if (node.kind === 'map') return node.key && { map: node.name, key: node.key };
  if (node.kind !== 'call' || !HARMLESS.includes(node.callee)) return undefined;
  const [map, key] = node.arguments;
  return map?.kind === 'map' && map.key === undefined && key ? { map: map.name, key: [key] } : undefined;
}

/** Maps that are given as a whole to a macro, which may store to them. */
const givenAway = (node: AnyNode): readonly string[] =>
  node.kind === 'call' && !HARMLESS.includes(node.callee)
    ? node.arguments.flatMap((one) => (one.kind === 'map' && one.key === undefined ? [one.name] : []))
    : [];

/** A key with what its variables stand for, as far as each is set once, and a tuple as its parts. */
function resolved({ key }: Item, probe: Probe): readonly Expression[] {
  const values = new Map<string, Expression | undefined>();
  for (const node of probeNodes(probe)) {
    const set = settingOf(node);
    if (set) values.set(set.name, values.has(set.name) ? undefined : set.value);
  }
  const replace = (node: Expression) => (node.kind === 'variable' ? (values.get(node.name) ?? node) : node);
  const whole = key.map((part) => mapExpressions({ statements: [], value: part }, replace).value ?? part);
  const [first] = whole;
  return whole.length === 1 && first?.kind === 'tuple' ? first.items : whole;
}

function settingOf(node: AnyNode): { name: string; value: Expression | undefined } | undefined {
  if (node.kind === 'let') return { name: node.name, value: node.value };
  if (node.kind === 'for_each' || node.kind === 'for_range') return { name: node.variable, value: undefined };
  if (node.kind !== 'assign' || node.target.kind !== 'variable') return undefined;
  return { name: node.target.name, value: node.operator === '=' ? node.value : undefined };
}

const textOf = (key: readonly Expression[]): string => key.map(printExpression).join(', ');

/**
 * Whether the key tells one object of the kernel from all others: a place on a disk, or the address of what the probe is
 * about. Numbers would not do, not even those of a system call, which the target chooses, and neither would sums of them.
 */
function isOfOneEvent(key: readonly Expression[], points: readonly Point[]): boolean {
  const has = (name: string) => key.some((part) => fieldOfArgs(part) === name);
  const isOne = (has('dev') && has('sector')) || key.some((part) => isAddress(part, points));
  return isOne && key.every((part) => isMadeOfArguments(part) && [...nodesOf(part)].some(isArgument));
}

/** What a tracepoint calls the address of a socket or packet. */
const ADDRESSES = ['skaddr', 'skbaddr'];

function isAddress(node: Expression, points: readonly Point[]): boolean {
  if (node.kind === 'cast') {
    const { pointers, name, dimensions } = node.type;
    const isWhole = dimensions.length === 0 && (pointers > 0 || /^u?int64$/.test(name));
    return isWhole && isAddress(node.operand, points);
  }
  const field = fieldOfArgs(node);
  const at = node.kind === 'name' ? /^arg(\d)$/.exec(node.name)?.[1] : undefined;
  if (field === undefined && at === undefined) return false;
  return points.every(({ fields, parameters }) => {
    if (field !== undefined && ADDRESSES.includes(field)) return fields.some(({ name }) => name === field);
    const type = at === undefined ? fields.find(({ name }) => name === field)?.type : parameters[Number(at)]?.type;
    return OWNERS.some((owner) => type?.replaceAll(' ', '').endsWith(`${owner}*`.replaceAll(' ', '')));
  });
}

const isArgument = (node: AnyNode): boolean =>
  fieldOfArgs(node) !== undefined || (node.kind === 'name' && /^arg\d$/.test(node.name));

function isMadeOfArguments(node: AnyNode): boolean {
  if (isArgument(node) || node.kind === 'number') return true;
  const isPure = ['cast', 'field', 'index', 'binary', 'tuple'].includes(node.kind);
  return isPure && childrenOf(node).every(isMadeOfArguments);
}
