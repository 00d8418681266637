import type { ScopeGroup, ScopeTarget } from '../program/scope/scope.ts';
import type { Cgroups } from './cgroups.ts';
import { isOver, type Pod } from './snapshot.ts';

/** Where a target is now, in the words of the scoper. */
export interface Spot {
  readonly scope: ScopeTarget;
  readonly folders: readonly string[];
  /** True when a container that starts later is in it. */
  readonly follows: boolean;
}

/** Where a pod is now; undefined when nothing of it runs. */
export function spotOf(pod: Pod, cgroups: Cgroups): Spot | undefined {
  const { place } = pod;
  if (place === undefined || 'path' in place) {
    const paths = place ? [place.path] : livePaths(pod);
    const groups = paths.flatMap((path) => cgroups.groupOf(path) ?? []);
    if (groups.length === 0) return undefined;
    const scope = { groups, ...besideGroups(paths, cgroups) };
    return { scope, folders: paths.map(cgroups.folderOf), follows: place !== undefined };
  }
  const paths = cgroups.children('/').filter((path) => path.startsWith(`/${place.prefix}`));
  if (paths.length === 0) return undefined;
  const { nested = [] } = besideGroups(paths, cgroups);
  return {
    scope: { groups: [], namePrefix: place.prefix, nested: [...idsOf(paths, cgroups), ...nested] },
    folders: paths.map(cgroups.folderOf),
    follows: true,
  };
}

/** The same for several pods at once, where no prefix can be told: those are their containers of now. */
function groupsOf(pod: Pod, { scope }: Spot, cgroups: Cgroups): readonly ScopeGroup[] {
  return scope.namePrefix === undefined ? scope.groups : livePaths(pod).flatMap((path) => cgroups.groupOf(path) ?? []);
}

const livePaths = ({ containers }: Pod): readonly string[] =>
  containers.flatMap((each) => (isOver(each) ? [] : (each.cgroup ?? [])));

/** Several pods as one. */
export function sumOf(placed: readonly { readonly pod: Pod; readonly spot: Spot }[], cgroups: Cgroups): ScopeTarget {
  const ioGroups = placed.flatMap(({ spot }) => spot.scope.ioGroups ?? []);
  const nested = placed.flatMap(({ spot }) => spot.scope.nested ?? []);
  const hasIo = placed.every(({ spot }) => spot.scope.ioGroups !== undefined);
  return {
    groups: placed.flatMap(({ pod, spot }) => groupsOf(pod, spot, cgroups)),
    ...(hasIo && { ioGroups }),
    ...(nested.length > 0 && { nested }),
  };
}

/** What goes with the groups of these cgroups: their ids in the hierarchy of the io controller, and all below them. */
export function besideGroups(paths: readonly string[], cgroups: Cgroups): Pick<ScopeTarget, 'ioGroups' | 'nested'> {
  const ioGroups = paths.flatMap((path) => cgroups.ioGroupOf(path) ?? []);
  const nested = paths.flatMap((path) => idsBelow(path, cgroups));
  return {
    ...(ioGroups.length > 0 && ioGroups.length === paths.length && { ioGroups }),
    ...(nested.length > 0 && { nested }),
  };
}

const idsOf = (paths: readonly string[], cgroups: Cgroups): readonly bigint[] =>
  paths.flatMap((path) => cgroups.groupOf(path)?.id ?? []);

/** None for the root: all of a node is more than a set of ids is for. */
const idsBelow = (path: string, cgroups: Cgroups): readonly bigint[] =>
  path === '/' ? [] : idsOf([...cgroups.paths(path)].slice(1), cgroups);
