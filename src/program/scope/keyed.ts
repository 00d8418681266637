import { type AnyNode, childrenOf, type Expression, nodesOf, type Probe, probeNodes } from '../tree.ts';
import { fieldOfArgs } from './uses.ts';

/** Writes to a map's item: `@m[k] = v`, `@m[k] += v`, `@m[k]++`. */
function* storedIn(nodes: Iterable<AnyNode>): Generator<string> {
  for (const node of nodes) {
    const target = node.kind === 'assign' ? node.target : node.kind === 'update' ? node.operand : undefined;
    const map = target && mapOf(target);
    if (map) yield map.name;
  }
}

/** The map below `@m[k]`, `@m[k].field`, `@m[k][0]`. */
function mapOf(node: Expression): Extract<Expression, { kind: 'map' }> | undefined {
  if (node.kind === 'map') return node;
  return node.kind === 'field' || node.kind === 'index' ? mapOf(node.object) : undefined;
}

/** Maps that only scoped probes store to: a key that is found there came from the target. */
export function scopedMaps(
  probes: readonly { readonly probe: Probe; readonly isScoped: boolean }[],
): ReadonlySet<string> {
  const by = (scoped: boolean) =>
    new Set(probes.flatMap(({ probe, isScoped }) => (isScoped === scoped ? [...storedIn(probeNodes(probe))] : [])));
  const others = by(false);
  return new Set([...by(true)].filter((name) => !others.has(name)));
}

/**
 * M: `@m[KEY]` as the probe reads it, where `@m` is one of `maps` and KEY is made of the event's own arguments, such as a
 * pointer or a device with a sector. The current task says nothing where the probe runs, so it must not be in the key.
 */
export function keyOf(
  probe: Probe,
  maps: ReadonlySet<string>,
): { map: string; key: readonly Expression[] } | undefined {
  for (const node of probeNodes(probe)) {
    const read = lookUpOf(node);
    if (read === undefined || !maps.has(read.map)) continue;
    if (read.key.every(isOfEvent) && read.key.some(namesArgument)) return read;
  }
  return undefined;
}

/** `@m[KEY]`, `has_key(@m, KEY)`, `delete(@m, KEY)`. */
function lookUpOf(node: AnyNode): { map: string; key: readonly Expression[] } | undefined {
  if (node.kind === 'map') return node.key && { map: node.name, key: node.key };
  if (node.kind !== 'call' || (node.callee !== 'has_key' && node.callee !== 'delete')) return undefined;
  const [map, key] = node.arguments;
  return map?.kind === 'map' && map.key === undefined && key ? { map: map.name, key: [key] } : undefined;
}

const isArgument = (node: AnyNode): boolean =>
  fieldOfArgs(node) !== undefined || (node.kind === 'name' && /^arg\d$/.test(node.name));

const namesArgument = (key: Expression): boolean => [...nodesOf(key)].some(isArgument);

function isOfEvent(node: AnyNode): boolean {
  if (isArgument(node) || node.kind === 'number') return true;
  const isPure = ['cast', 'field', 'index', 'binary', 'tuple'].includes(node.kind);
  return isPure && childrenOf(node).every(isOfEvent);
}
