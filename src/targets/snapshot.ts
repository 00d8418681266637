import type { Log } from '../log.ts';
import type { Container, PodFacts, PodSource, Runtime, Visible } from '../trace/ports.ts';
import type { Cgroups } from './cgroups.ts';
import type { Processes } from './processes.ts';
import { isSandbox, podUidIn, SYSTEMD } from './runtimes/cgroupfs.ts';
import { RuntimeError } from './runtimes/runtime-error.ts';

/** A pod of this node, from all that know of it. `namespace` and `name` are empty where only its cgroup is known. */
export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly facts?: PodFacts;
  readonly labels: Readonly<Record<string, string>>;
  readonly owner?: { readonly kind: string; readonly name: string };
  readonly containers: readonly Container[];
  /** What only holds its namespaces. */
  readonly sandboxes: readonly Container[];
  readonly place?: Place;
}

/** Where the containers of a pod are: below a cgroup of its own, or children of the root whose names begin alike. */
export type Place = { readonly path: string } | { readonly prefix: string };

/** What runs on this node at one moment. */
export interface Snapshot {
  readonly pods: readonly Pod[];
  /** Containers of no pod. */
  readonly containers: readonly Container[];
  readonly units: readonly Container[];
  /** Where this is from, and what did not answer. */
  readonly sources: readonly string[];
  /** Only the latter. */
  readonly silent: readonly string[];
}

export interface SnapshotSources {
  readonly runtimes: readonly Runtime[];
  readonly pods: PodSource | undefined;
  readonly processes: Processes;
  readonly log: Log;
  /** How long a runtime may take. */
  readonly runtimeMs: number;
}

/** How long one that took longer is not asked again, and how long one that was not there. */
const PAUSE_MS = 10_000;

/** Makes a function that asks all sources at once, and tells what those know that answer. */
export function createSnapshots({ runtimes, pods, processes, log, runtimeMs }: SnapshotSources) {
  const known = runtimes.map((runtime) => createAsker(runtime, runtimeMs, log));

  return async (cgroups: Cgroups, signal: AbortSignal): Promise<Snapshot> => {
    const answers = await Promise.all(known.map((ask) => ask(signal)));
    signal.throwIfAborted();
    const merged = mergeContainers(answers.flatMap(({ containers }) => containers)).map((container) =>
      verify(container, cgroups, processes),
    );
    const api = pods?.pods();
    return {
      pods: groupPods(merged, api?.pods ?? [], cgroups),
      containers: merged.filter((each) => each.pod === undefined && each.runtime !== SYSTEMD && !isSandbox(each)),
      units: merged.filter(({ runtime }) => runtime === SYSTEMD),
      sources: [
        ...answers.flatMap(({ source, silent }) => source ?? silent ?? []),
        api ? `Kubernetes API, ${ageOf(api.asOfMs)}` : 'no Kubernetes API',
      ],
      silent: answers.flatMap(({ silent }) => silent ?? []),
    };
  };
}

/** The part of a snapshot that a caller may know of. */
export function visibleOf(snapshot: Snapshot, visible: Visible): Snapshot {
  const outside = visible(undefined);
  return {
    pods: snapshot.pods.filter(({ namespace }) => visible(namespace || undefined)),
    containers: outside ? snapshot.containers : [],
    units: outside ? snapshot.units : [],
    sources: snapshot.sources,
    silent: snapshot.silent,
  };
}

/** True for a container that ended; all else is there or may come. */
export const isOver = ({ state }: Container): boolean => state === 'exited';

const ageOf = (asOfMs: number): string => {
  const seconds = Math.max(0, Math.round((Date.now() - asOfMs) / 1_000));
  return seconds < 60 ? 'up to date' : `as of ${Math.round(seconds / 60)} minutes ago`;
};

// ------------------------------------------------------------------------------------------------------------ runtimes

interface Answer {
  readonly containers: readonly Container[];
  readonly source?: string;
  /** Why there is none, of a runtime that is there. */
  readonly silent?: string;
}

function createAsker(runtime: Runtime, runtimeMs: number, log: Log): (signal: AbortSignal) => Promise<Answer> {
  let isFound = false;
  let pauseUntilMs = 0;
  let silent: string | undefined;

  return async (signal) => {
    if (Date.now() < pauseUntilMs) return { containers: [], ...(silent !== undefined && { silent }) };
    const limit = AbortSignal.timeout(runtimeMs);
    const ask = async () => {
      isFound ||= await runtime.detect();
      return isFound ? runtime.list(AbortSignal.any([signal, limit])) : undefined;
    };
    try {
      const containers = await orAborted(ask(), AbortSignal.any([signal, limit]));
      silent = undefined;
      if (containers !== undefined) return { containers, source: `runtime ${runtime.name}` };
      pauseUntilMs = Date.now() + PAUSE_MS;
      return { containers: [] };
    } catch (error) {
      signal.throwIfAborted();
      log.warn('targets.runtime', { runtime: runtime.name, why: error instanceof Error ? error.message : 'unknown' });
      if (limit.aborted) pauseUntilMs = Date.now() + PAUSE_MS;
      silent = limit.aborted
        ? `runtime ${runtime.name} did not answer within ${runtimeMs / 1_000} s`
        : error instanceof RuntimeError
          ? error.message.replace(/\.$/, '')
          : `runtime ${runtime.name} did not answer`;
      return { containers: [], silent };
    }
  };
}

/** A promise that need not obey its signal. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
    if (signal.aborted) abort();
  });
}

// --------------------------------------------------------------------------------------------------------------- merge

/** One entry an id. What an earlier source says stands, but where it lies is what the file system shows. */
function mergeContainers(containers: readonly Container[]): readonly Container[] {
  const merged = new Map<string, Container>();
  for (const container of containers) {
    const first = merged.get(container.id);
    merged.set(container.id, first === undefined ? container : join(first, container));
  }
  return [...merged.values()];
}

function join(first: Container, later: Container): Container {
  // A pid and its start are those of one process, and taken together.
  const { pid, startTicks, ...rest } = later;
  const isWithout = first.pid === undefined && pid !== undefined && startTicks !== undefined;
  const pod = first.pod?.name ? first.pod : (later.pod ?? first.pod);
  return {
    ...rest,
    ...(isWithout && { pid, startTicks }),
    ...first,
    labels: { ...later.labels, ...first.labels },
    ...(pod && { pod }),
    ...(later.cgroup !== undefined && { cgroup: later.cgroup }),
  };
}

/** Drops what is not true any more: a pid that is another process by now, a cgroup that is gone. */
function verify(container: Container, cgroups: Cgroups, processes: Processes): Container {
  const { pid, startTicks, cgroup, ...rest } = container;
  const started = pid === undefined ? undefined : processes.startTicks(pid);
  const isSame = started !== undefined && (startTicks === undefined || startTicks === started);
  const path = isUsable(cgroup) ? cgroup : pid !== undefined && isSame ? cgroups.pathOf(pid) : undefined;
  const lives = isUsable(path) && cgroups.exists(path);
  return {
    ...rest,
    ...(isSame && pid !== undefined && { pid, startTicks: started }),
    ...(lives && { cgroup: path }),
  };
}

/** The root holds everything, and a path with `..` is not the host's. */
const isUsable = (path: string | undefined): path is string =>
  path !== undefined && path !== '/' && !path.startsWith('/..');

// ---------------------------------------------------------------------------------------------------------------- pods

function groupPods(containers: readonly Container[], facts: readonly PodFacts[], cgroups: Cgroups): readonly Pod[] {
  const factsByUid = new Map(facts.map((pod) => [pod.uid, pod]));
  // The uid of a static pod is another one in the API than on the node; its containers are the same.
  const factsById = new Map(
    facts.flatMap((pod) => pod.containers.flatMap(({ id }) => (id === undefined ? [] : [[id, pod] as const]))),
  );
  const groups = Map.groupBy(
    containers.filter(({ pod }) => pod !== undefined),
    ({ pod }) => pod?.uid || `${pod?.namespace}/${pod?.name}`,
  );
  const pods = [...groups].map(([uid, members]) => {
    const known = factsByUid.get(uid) ?? members.map(({ id }) => factsById.get(id)).find((pod) => pod !== undefined);
    return podOf(uid, members, known, cgroups);
  });
  const seen = new Set(pods.map((pod) => pod.facts));
  return [...pods, ...facts.filter((pod) => !seen.has(pod)).map((pod) => podOf(pod.uid, [], pod, cgroups))];
}

function podOf(uid: string, members: readonly Container[], facts: PodFacts | undefined, cgroups: Cgroups): Pod {
  const named = members.find(({ pod }) => pod?.name)?.pod;
  const namespace = named?.namespace ?? facts?.namespace ?? '';
  const name = named?.name ?? facts?.name ?? '';
  const labels = Object.assign({}, ...members.map((member) => member.labels), facts?.labels);
  const owner = facts?.owner ?? ownerByLabels(name, labels);
  const place = placeOf(uid, members, cgroups);
  // Where a runtime names what is in the pod, that which it does not name is no container of the pod.
  const holds = (member: Container) => isSandbox(member) || (named !== undefined && !member.pod?.name);
  return {
    namespace,
    name,
    uid,
    labels,
    ...(facts && { facts }),
    ...(owner && { owner }),
    ...(place && { place }),
    sandboxes: members.filter(holds),
    containers: members
      .filter((member) => !holds(member))
      .map((member) => {
        const known = facts?.containers.find(({ id }) => id === member.id);
        const isUnnamed = member.name === member.id.slice(0, 12);
        return { ...member, pod: { namespace, name, uid }, ...(isUnnamed && known && { name: known.name }) };
      }),
  };
}

/** The pod's own cgroup: the parent of a container of its, if it is named after the pod. */
function placeOf(uid: string, members: readonly Container[], cgroups: Cgroups): Place | undefined {
  for (const { cgroup } of members) {
    if (cgroup === undefined) continue;
    const at = cgroup.lastIndexOf('/');
    const [parent, name] = [cgroup.slice(0, at), cgroup.slice(at + 1)];
    // `PREFIX:RUNTIME:ID`, where the prefix is the slice that the runtime took for a name.
    const [, prefix = ''] = /^(.+?:.+?:)./.exec(name) ?? [];
    if (parent === '' && isNamedAfter(prefix.split(':')[0] ?? '', uid)) return { prefix };
    const above = ancestorNamedAfter(parent, uid);
    if (above !== undefined && cgroups.exists(above)) return { path: above };
  }
  return undefined;
}

/** The nearest: some runtimes put folders of their own between a pod and its containers. */
function ancestorNamedAfter(path: string, uid: string): string | undefined {
  for (let at = path; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
    if (isNamedAfter(at.slice(at.lastIndexOf('/') + 1), uid)) return at;
  }
  return undefined;
}

const isNamedAfter = (name: string, uid: string): boolean =>
  podUidIn(name) === uid ||
  name
    .replace(/\.slice$/, '')
    .replaceAll('_', '-')
    .endsWith(`pod${uid}`);

/** As controllers label what they make, for where no API tells the owner. */
function ownerByLabels(name: string, labels: Readonly<Record<string, string>>): Pod['owner'] {
  const hash = labels['pod-template-hash'];
  if (hash !== undefined && name.includes(`-${hash}-`)) {
    return { kind: 'Deployment', name: name.slice(0, name.lastIndexOf(`-${hash}-`)) };
  }
  const job = labels['batch.kubernetes.io/job-name'] ?? labels['job-name'];
  if (job !== undefined) return { kind: 'Job', name: job };
  const base = name.slice(0, name.lastIndexOf('-'));
  if (labels['statefulset.kubernetes.io/pod-name'] !== undefined) return { kind: 'StatefulSet', name: base };
  if (labels['controller-revision-hash'] !== undefined) return { kind: 'DaemonSet', name: base };
  return undefined;
}
