import { nearest } from '../program/nearest.ts';
import type { Container, Target, TargetFilter, TargetPage, Visible } from '../trace/ports.ts';
import type { Cgroups } from './cgroups.ts';
import { containerSelector, podName, podSelector, workloadName } from './names.ts';
import type { Processes } from './processes.ts';
import { ownerOf, sandboxNote } from './resolve.ts';
import type { Row } from './row-ids.ts';
import { isOwnerKind, isUnitText } from './selector.ts';
import { isOver, type Pod, type Snapshot } from './snapshot.ts';

/** How many processes are looked at when processes are asked for. */
const MAX_PROCESSES = 5_000;

export interface ListDependencies {
  readonly cgroups: Cgroups;
  readonly processes: Processes;
  /** What the caller may know of. */
  readonly snapshot: Snapshot;
  readonly visible: Visible;
  readonly nodeName: string;
  readonly idOf: (row: Row) => string;
}

/** A row that is made when it is shown: counting processes costs more than finding it. */
interface Candidate {
  readonly selector: string;
  readonly namespace?: string;
  /** What the words of a query are looked for in, in lower case. */
  readonly text: string;
  readonly startTicks?: bigint;
  readonly row: () => Omit<Target, 'selector' | 'id' | 'node' | 'namespace'>;
}

/** The targets that a filter asks for: pods first, then containers outside of pods, then units of systemd. */
export function listTargets(filter: TargetFilter, deps: ListDependencies): TargetPage {
  const { snapshot, nodeName, idOf } = deps;
  const { sources } = snapshot;
  if (filter.node !== undefined && filter.node !== nodeName) {
    return { targets: [], total: 0, closest: [`node:${nodeName}`], sources };
  }
  const all = candidatesOf(filter, deps);
  const inNamespace = all.filter(({ namespace }) => filter.namespace === undefined || namespace === filter.namespace);
  const words = (filter.query ?? '').toLowerCase().split(/\s+/).filter(Boolean);
  const found = inNamespace.filter(({ text }) => words.every((word) => text.includes(word)));
  return {
    targets: found.slice(0, filter.limit).map(({ selector, namespace, startTicks, row }) => ({
      selector,
      id: idOf({ selector, ...(startTicks !== undefined && { startTicks }) }),
      node: nodeName,
      ...(namespace !== undefined && { namespace }),
      ...row(),
    })),
    total: found.length,
    closest: found.length > 0 ? [] : closestTo(filter, all, inNamespace),
    sources,
  };
}

function closestTo(
  filter: TargetFilter,
  all: readonly Candidate[],
  inNamespace: readonly Candidate[],
): readonly string[] {
  if (inNamespace.length === 0 && filter.namespace !== undefined) {
    const namespaces = new Set(all.flatMap(({ namespace }) => namespace ?? []));
    return nearest(filter.namespace, namespaces);
  }
  const selectors = (inNamespace.length > 0 ? inNamespace : all).map(({ selector }) => selector);
  return filter.query === undefined ? [] : nearest(filter.query, selectors);
}

function candidatesOf({ kind, query }: TargetFilter, deps: ListDependencies): readonly Candidate[] {
  const { snapshot } = deps;
  const pods = snapshot.pods.toSorted((a, b) => (podName(a) < podName(b) ? -1 : 1));
  const containers = snapshot.containers.filter((each) => !isOver(each)).toSorted(byName);
  const alone = containers.map((container) => containerRow(container, undefined, deps));
  switch (kind) {
    case 'pod':
      return pods.map((pod) => podRow(pod, deps));
    case 'container':
      return [
        ...pods.flatMap((pod) =>
          pod.containers.filter((each) => !isOver(each)).map((container) => containerRow(container, pod, deps)),
        ),
        ...alone,
      ];
    case 'workload':
      return workloadRows(pods, deps);
    case 'systemd':
      return unitRows(deps);
    case 'process':
      return processRows(query, deps);
    case 'cgroup':
      return cgroupRows(deps);
    case 'node':
      return [nodeRow(deps)];
    default:
      return [...pods.map((pod) => podRow(pod, deps)), ...alone, ...unitRows(deps)];
  }
}

const byName = (a: Container, b: Container) => (a.name < b.name ? -1 : 1);

function podRow(pod: Pod, deps: ListDependencies): Candidate {
  const { facts, containers, owner, labels, place } = pod;
  const name = podName(pod);
  const live = containers.filter((each) => !isOver(each));
  return {
    selector: podSelector(pod),
    ...(pod.namespace !== '' && { namespace: pod.namespace }),
    text: textOf(
      name,
      pod.uid,
      owner && `${owner.kind}:${owner.name}`,
      ...(facts?.podIps ?? []),
      ...Object.entries(labels).map(([key, value]) => `${key}=${value}`),
      ...containers.flatMap((each) => [each.name, each.id, each.image]),
    ),
    row: () => ({
      kind: 'pod',
      name: pod.name || name,
      containers: live.map(({ name, id, state }) => ({ name, id, state })),
      ...(owner && { owner: `${owner.kind}/${owner.name}` }),
      processes: place && 'path' in place ? deps.cgroups.processes(place.path).length : processesOf(live, deps.cgroups),
      ...startOf(live),
      ...historyOf(pod),
      notes: [
        ...sandboxNote(containers, name),
        ...(facts && facts.phase !== 'Running' ? [`phase ${facts.phase}`] : []),
        ...(facts?.containers ?? [])
          .filter(({ state }) => state !== 'Running' && state !== 'Completed' && state !== '')
          .map((each) => `${each.name}: ${each.state}`),
        ...(pod.name === '' ? ['its name is not known here: no runtime or API tells it'] : []),
      ],
    }),
  };
}

function containerRow(container: Container, pod: Pod | undefined, { cgroups }: ListDependencies): Candidate {
  const { name, id, state, image, labels, runtime } = container;
  const known = pod?.facts?.containers.find((each) => each.id === id);
  return {
    selector: containerSelector(container, pod),
    ...(pod !== undefined && pod.namespace !== '' && { namespace: pod.namespace }),
    text: textOf(
      pod && podName(pod),
      name,
      id,
      image,
      runtime,
      ...Object.entries(labels).map(([key, value]) => `${key}=${value}`),
    ),
    row: () => ({
      kind: 'container',
      name,
      containers: [{ name, id, state }],
      processes: processesOf([container], cgroups),
      ...startOf([container]),
      ...(known && { restarts: known.restarts }),
      ...(known?.lastState !== undefined && { lastState: known.lastState }),
      notes: sandboxNote([container], name),
    }),
  };
}

function workloadRows(pods: readonly Pod[], deps: ListDependencies): readonly Candidate[] {
  const owned = pods.flatMap((pod) =>
    pod.owner && pod.name !== '' && isOwnerKind(pod.owner.kind) ? [{ pod, owner: pod.owner }] : [],
  );
  const groups = Map.groupBy(owned, ({ pod, owner }) => workloadName(pod.namespace, owner));
  return [...groups].flatMap(([selector, members]) => {
    const [first] = members;
    if (first === undefined) return [];
    const { pod, owner } = first;
    const rows = members.map((member) => podRow(member.pod, deps));
    return [
      {
        selector,
        namespace: pod.namespace,
        text: textOf(selector, ...rows.map(({ text }) => text)),
        row: () => {
          const made = rows.map(({ row }) => row());
          return {
            kind: 'workload' as const,
            name: owner.name,
            containers: made.flatMap(({ containers }) => containers),
            owner: `${owner.kind}/${owner.name}`,
            processes: made.reduce((sum, { processes }) => sum + processes, 0),
            notes: [`${members.length} of its pods on this node: ${members.map((each) => each.pod.name).join(', ')}`],
          };
        },
      },
    ];
  });
}

function unitRows({ snapshot, cgroups }: ListDependencies): readonly Candidate[] {
  const seen = new Set<string>();
  return snapshot.units
    .toSorted((a, b) => a.id.split('/').length - b.id.split('/').length || byName(a, b))
    .map((unit) => {
      const isFirst = !seen.has(unit.name);
      seen.add(unit.name);
      return {
        selector: isFirst && isUnitText(unit.name) ? `systemd:${unit.name}` : `cgroup:${unit.id}`,
        text: textOf(unit.name, unit.id),
        row: () => ({
          kind: 'systemd' as const,
          name: unit.name,
          containers: [],
          processes: cgroups.processes(unit.id).length,
          ...startOf([unit]),
          notes: [],
        }),
      };
    });
}

function processRows(query: string | undefined, deps: ListDependencies): readonly Candidate[] {
  const { processes, cgroups, snapshot, visible } = deps;
  const isPid = /^\d+$/.test(query ?? '');
  const pids = isPid ? [Number(query)] : processes.all().slice(0, MAX_PROCESSES);
  return pids.flatMap((pid) => {
    const comm = processes.comm(pid);
    const startTicks = processes.startTicks(pid);
    const path = cgroups.pathOf(pid);
    if (comm === undefined || startTicks === undefined || path === undefined) return [];
    const { pod, container } = ownerOf(path, snapshot);
    if (pod === undefined && !visible(undefined)) return [];
    const startedMs = processes.startedMs(startTicks);
    return [
      {
        selector: `pid:${pid}`,
        ...(pod !== undefined && pod.namespace !== '' && { namespace: pod.namespace }),
        text: textOf(comm, String(pid), pod && podName(pod), container?.name),
        startTicks,
        row: () => ({
          kind: 'process' as const,
          name: comm,
          containers: container ? [{ name: container.name, id: container.id, state: container.state }] : [],
          processes: 1,
          ...(startedMs !== undefined && { startedMs }),
          notes: container ? sandboxNote([container], container.name) : [],
        }),
      },
    ];
  });
}

function cgroupRows({ cgroups, snapshot, visible }: ListDependencies): readonly Candidate[] {
  return [...cgroups.paths()].flatMap((path) => {
    const { pod } = ownerOf(path, snapshot);
    if (path === '/' || (pod === undefined && !visible(undefined))) return [];
    return [
      {
        selector: `cgroup:${path}`,
        ...(pod !== undefined && pod.namespace !== '' && { namespace: pod.namespace }),
        text: textOf(path),
        row: () => ({
          kind: 'cgroup' as const,
          name: path,
          containers: [],
          processes: cgroups.processes(path).length,
          notes: [],
        }),
      },
    ];
  });
}

function nodeRow({ nodeName, processes }: ListDependencies): Candidate {
  return {
    selector: 'node',
    text: textOf('node', nodeName),
    row: () => ({
      kind: 'node',
      name: nodeName,
      containers: [],
      processes: processes.all().length,
      notes: ['needs node rights'],
    }),
  };
}

const textOf = (...parts: readonly (string | undefined)[]): string => parts.filter(Boolean).join(' ').toLowerCase();

const processesOf = (containers: readonly Container[], cgroups: Cgroups): number =>
  containers.reduce((sum, { cgroup }) => sum + (cgroup === undefined ? 0 : cgroups.processes(cgroup).length), 0);

function startOf(containers: readonly Container[]): { startedMs?: number } {
  const starts = containers.flatMap(({ startedMs }) => startedMs ?? []);
  return starts.length > 0 ? { startedMs: Math.min(...starts) } : {};
}

function historyOf({ facts }: Pod): { restarts?: number; lastState?: string } {
  if (facts === undefined) return {};
  const last = facts.containers.find(({ lastState }) => lastState !== undefined);
  return {
    restarts: facts.containers.reduce((sum, { restarts }) => sum + restarts, 0),
    ...(last?.lastState !== undefined && { lastState: last.lastState }),
  };
}
