import { KerntapError } from '../errors.ts';
import { ownKernelOf } from '../trace/own-kernel.ts';
import type { Container, PodSource, ResolvedTarget, Tier, Visible } from '../trace/ports.ts';
import type { Cgroups } from './cgroups.ts';
import { ambiguous, gone, goneOf, listed, notFound, noWorkload, onlyInV1 } from './misses.ts';
import { containerSelector, podName, podSelector, uidSelector, workloadName } from './names.ts';
import type { Processes } from './processes.ts';
import { podUidIn } from './runtimes/cgroupfs.ts';
import { type NamedSelector, quoted } from './selector.ts';
import { isOver, type Pod, type Snapshot } from './snapshot.ts';
import { besideGroups, spotOf, sumOf } from './spot.ts';

/** How long the API server may take to tell on which node a pod runs. */
const NODE_OF_MS = 2_000;

export interface ResolveDependencies {
  readonly cgroups: Cgroups;
  readonly processes: Processes;
  readonly snapshot: Snapshot;
  /** The same with what the caller may not know of. */
  readonly whole: Snapshot;
  readonly visible: Visible;
  readonly pods: PodSource | undefined;
  readonly nodeName: string;
  readonly signal: AbortSignal;
}

/** Finds what a selector names, and its cgroups as they are now. Throws what `TargetResolver.resolve` throws. */
export async function resolveSelector(selector: NamedSelector, deps: ResolveDependencies): Promise<ResolvedTarget> {
  const { snapshot } = deps;
  switch (selector.kind) {
    case 'pod': {
      const pod = await findPod(selector.namespace, selector.pod, deps);
      return selector.container === undefined
        ? podTarget(pod, deps)
        : containerTarget(containerOf(pod, selector.container), pod, deps);
    }
    case 'uid': {
      const pod = snapshot.pods.find(({ uid }) => uid === selector.uid);
      if (pod !== undefined) return podTarget(pod, deps);
      const uids = snapshot.pods.map(({ uid }) => uid);
      throw notFound(`There is no pod with the uid ${quoted(selector.uid)} here`, selector.uid, uids, snapshot);
    }
    case 'label': {
      const { namespace, key, value } = selector;
      const named = `${namespace}/${key}=${value}`;
      const pods = snapshot.pods.filter((pod) => pod.namespace === namespace && pod.labels[key] === value);
      if (pods.length === 0) throw noWorkload(named, `with the label ${quoted(`${key}=${value}`)}`, namespace, deps);
      return workloadTarget(named, pods, deps);
    }
    case 'owner': {
      const { namespace, owner, name } = selector;
      const pods = snapshot.pods.filter(
        (pod) => pod.namespace === namespace && pod.owner?.kind === owner && pod.owner?.name === name,
      );
      const named = workloadName(namespace, { kind: owner, name });
      if (pods.length === 0) throw noWorkload(named, `of the ${owner} ${quoted(name)}`, namespace, deps);
      return workloadTarget(named, pods, deps);
    }
    case 'container': {
      const { container, pod } = findContainer(selector.text, deps);
      return containerTarget(container, pod, deps);
    }
    case 'pid':
      return processTarget(selector.pid, deps);
    case 'cgroup':
      return cgroupTarget(selector.path, deps);
    case 'systemd':
      return unitTarget(selector.unit, deps);
    case 'ip':
      return addressTarget(selector.address, deps);
  }
}

// ---------------------------------------------------------------------------------------------------------------- find

async function findPod(namespace: string, name: string, deps: ResolveDependencies): Promise<Pod> {
  const { snapshot, pods, nodeName, visible, signal } = deps;
  const wanted = `${namespace}/${name}`;
  const found = snapshot.pods.filter((pod) => pod.namespace === namespace && pod.name === name);
  // A pod that was made anew has the name of the one before it, whose containers are still known as ended.
  const live = found.filter((pod) => pod.place !== undefined || pod.containers.some((each) => !isOver(each)));
  const candidates = live.length > 0 ? live : found;
  if (candidates.length > 1) throw ambiguous(wanted, candidates.map(uidSelector));
  const [pod] = candidates;
  if (pod !== undefined) return pod;

  const limit = AbortSignal.any([signal, AbortSignal.timeout(NODE_OF_MS)]);
  const other = visible(namespace) ? await pods?.nodeOf(namespace, name, limit).catch(() => undefined) : undefined;
  if (other !== undefined && other !== nodeName) {
    throw new KerntapError('target.elsewhere', `The pod ${wanted} runs on the node ${other}, this is ${nodeName}.`, {
      remedy: `ask the kerntap of the node ${other}`,
    });
  }
  throw notFound(`There is no pod ${wanted} on the node ${nodeName}`, wanted, podNames(snapshot), snapshot);
}

const podNames = ({ pods }: Snapshot) => pods.filter(({ name }) => name !== '').map(podName);

function containerOf(pod: Pod, name: string): Container {
  const found = pod.containers.filter((each) => each.name === name);
  // A container that was restarted has ended predecessors of the same name.
  const [container] = [...found.filter((each) => !isOver(each)), ...found];
  if (container !== undefined) return container;
  const names = [...new Set(pod.containers.map((each) => each.name))];
  throw new KerntapError(
    'target.not_found',
    `The pod ${podName(pod)} has no container ${quoted(name)}; it has ${names.length > 0 ? listed(names) : 'none'}.`,
  );
}

/** By its whole id, its name, or the beginning of its id, in this order. */
function findContainer(text: string, deps: ResolveDependencies): { container: Container; pod: Pod | undefined } {
  const { snapshot } = deps;
  const all = [
    ...snapshot.pods.flatMap((pod) => pod.containers.map((container) => ({ container, pod }))),
    ...snapshot.containers.map((container) => ({ container, pod: undefined })),
  ];
  const ways = [
    all.filter(({ container }) => container.id === text),
    all.filter(({ container }) => container.name === text),
    /^[0-9a-f]{4,}$/.test(text) ? all.filter(({ container }) => container.id.startsWith(text)) : [],
  ];
  const found = ways.find((way) => way.length > 0) ?? [];
  const live = found.filter(({ container }) => !isOver(container));
  const candidates = live.length > 0 ? live : found.slice(0, 1);
  const [first, ...others] = candidates;
  if (first === undefined) {
    const names = all.map(({ container }) => container.name);
    throw notFound(`There is no container ${quoted(text)} on the node ${deps.nodeName}`, text, names, snapshot);
  }
  if (others.length > 0) {
    const byName = candidates.map(({ container, pod }) => containerSelector(container, pod));
    const areUnique = new Set(byName).size === byName.length;
    throw ambiguous(
      `container:${text}`,
      areUnique ? byName : candidates.map(({ container }) => `container:${container.id.slice(0, 16)}`),
    );
  }
  return first;
}

// ------------------------------------------------------------------------------------------------------------- targets

function podTarget(pod: Pod, deps: ResolveDependencies): ResolvedTarget {
  const name = podName(pod);
  const spot = spotOf(pod, deps.cgroups);
  if (spot === undefined) {
    if (pod.containers.some((each) => isOnlyInV1(each, deps))) throw onlyInV1(`The pod ${name}`);
    throw goneOf(pod);
  }
  const netns = netnsOf([...pod.containers, ...pod.sandboxes], pod.facts?.hostNetwork, deps);
  return {
    kind: 'pod',
    name,
    tier: 'pod',
    ...(pod.namespace !== '' && { namespace: pod.namespace }),
    scope: { ...spot.scope, ...(netns !== undefined && { netns }) },
    cgroups: spot.folders,
    containers: pod.containers.filter((each) => !isOver(each)),
    follows: spot.follows,
    notes: [
      ...(spot.follows ? [] : [`The pod ${name} has no cgroup of its own: a container that restarts is not covered.`]),
      ...notesOf(pod.containers, name, deps),
    ],
  };
}

function containerTarget(container: Container, pod: Pod | undefined, deps: ResolveDependencies): ResolvedTarget {
  const name = pod === undefined ? containerSelector(container, pod) : `${podName(pod)}/${container.name}`;
  const where = pod === undefined ? '' : ` of the pod ${podName(pod)}`;
  if (isOver(container)) throw gone(`The container ${quoted(container.name)}${where} has finished.`);
  const group = container.cgroup === undefined ? undefined : deps.cgroups.groupOf(container.cgroup);
  if (group === undefined || container.cgroup === undefined) {
    if (isOnlyInV1(container, deps)) throw onlyInV1(`The container ${quoted(container.name)}${where}`);
    throw gone(`The container ${quoted(container.name)}${where} has no cgroup on this node now.`);
  }
  const netns = netnsOf([container], pod?.facts?.hostNetwork, deps);
  const isShared = netns !== undefined && (pod?.containers.filter((each) => !isOver(each)).length ?? 0) > 1;
  return {
    kind: 'container',
    name,
    tier: 'pod',
    ...(pod !== undefined && pod.namespace !== '' && { namespace: pod.namespace }),
    scope: {
      groups: [group],
      ...(netns !== undefined && { netns }),
      ...besideGroups([container.cgroup], deps.cgroups),
    },
    cgroups: [deps.cgroups.folderOf(container.cgroup)],
    containers: [container],
    follows: false,
    notes: [
      ...(isShared ? ['What is found by network namespace counts for the whole pod, which shares one.'] : []),
      ...notesOf([container], name, deps),
    ],
  };
}

function workloadTarget(name: string, pods: readonly Pod[], deps: ResolveDependencies): ResolvedTarget {
  const placed = pods.flatMap((pod) => {
    const spot = spotOf(pod, deps.cgroups);
    return spot === undefined ? [] : [{ pod, spot }];
  });
  const [first] = placed;
  if (first === undefined) throw gone(`No pod of ${name} has a running container on the node ${deps.nodeName}.`);
  const containers = placed.flatMap(({ pod }) => pod.containers.filter((each) => !isOver(each)));
  const isOne = placed.length === 1;
  const scope = isOne ? first.spot.scope : sumOf(placed, deps.cgroups);
  const netns = isOne ? netnsOf(containers, first.pod.facts?.hostNetwork, deps) : undefined;
  const follows = placed.every(({ spot }) => spot.follows && (isOne || spot.scope.namePrefix === undefined));
  const those = isOne ? 'one pod' : `${placed.length} pods`;
  return {
    kind: 'workload',
    name,
    tier: 'pod',
    ...(first.pod.namespace !== '' && { namespace: first.pod.namespace }),
    scope: { ...scope, ...(netns !== undefined && { netns }) },
    cgroups: placed.flatMap(({ spot }) => spot.folders),
    containers,
    follows,
    notes: [
      `Covered are the ${those} of ${name} that this node runs now; pods that start later are not.`,
      ...(follows ? [] : ['A container of them that restarts is not covered either.']),
      ...notesOf(containers, name, deps),
    ],
  };
}

function processTarget(pid: number, deps: ResolveDependencies): ResolvedTarget {
  const { cgroups, processes } = deps;
  const startTicks = processes.startTicks(pid);
  const path = startTicks === undefined ? undefined : cgroups.pathOf(pid);
  const owner = path === undefined ? {} : ownerOf(path, deps.whole);
  const leader = processes.leaderOf(pid);
  if (startTicks === undefined || path === undefined || !mayKnow(owner.pod, deps)) {
    throw new KerntapError('target.not_found', `There is no process ${pid} on the node ${deps.nodeName}.`);
  }
  if (leader !== undefined && leader !== pid) {
    throw new KerntapError('target.invalid', `${pid} is a thread of the process ${leader}.`, {
      remedy: `pass pid:${leader}, and keep to the thread by a predicate on tid`,
    });
  }
  const group = cgroups.groupOf(path);
  if (group === undefined) throw gone(`The process ${pid} has ended.`);
  const name = `pid:${pid}`;
  const isAlone = processes.initialPids;
  const process: Container = {
    runtime: 'process',
    id: name,
    name,
    state: 'running',
    labels: {},
    ...(owner.pod && { pod: { namespace: owner.pod.namespace, name: owner.pod.name, uid: owner.pod.uid } }),
    ...(owner.container?.handler && { handler: owner.container.handler }),
    pid,
    startTicks,
    cgroup: path,
  };
  const netns = netnsOf([process], owner.pod?.facts?.hostNetwork, deps);
  return {
    kind: 'process',
    name,
    tier: tierOf(owner),
    ...(owner.pod && owner.pod.namespace !== '' && { namespace: owner.pod.namespace }),
    scope: {
      groups: [group],
      ...(isAlone && { pids: [pid] }),
      ...(netns !== undefined && { netns }),
      ...besideGroups([path], cgroups),
    },
    cgroups: [cgroups.folderOf(path)],
    containers: [process],
    follows: false,
    notes: [
      isAlone
        ? `Its sockets, packets and block requests are counted with those of its cgroup: the kernel keeps no process for them.`
        : `Its whole cgroup is counted: this server's pid numbers are not the kernel's own, so that one process cannot be told.`,
      ...notesOf([process], name, deps),
    ],
  };
}

/** What is neither in a pod nor in a container is the node's own, such as its kubelet. */
const tierOf = ({ pod, container }: ReturnType<typeof ownerOf>): Tier => (pod || container ? 'pod' : 'node');

function cgroupTarget(path: string, deps: ResolveDependencies): ResolvedTarget {
  const { cgroups, snapshot } = deps;
  const owner = ownerOf(path, deps.whole);
  const group = mayKnow(owner.pod, deps) ? cgroups.groupOf(path) : undefined;
  if (group === undefined) {
    const known = [...snapshot.pods.flatMap((pod) => pod.containers), ...snapshot.containers, ...snapshot.units];
    const paths = known.flatMap((each) => each.cgroup ?? []);
    throw notFound(`There is no cgroup ${quoted(path)} on the node ${deps.nodeName}`, path, paths, snapshot);
  }
  // A path that names a pod or a container means that, and what is said of it holds.
  if (owner.pod?.place && 'path' in owner.pod.place && owner.pod.place.path === path) return podTarget(owner.pod, deps);
  if (owner.container?.cgroup === path && !isOver(owner.container)) {
    return containerTarget(owner.container, owner.pod, deps);
  }
  const unit = snapshot.units.find(({ cgroup }) => cgroup === path);
  const inside = path === '/' ? [] : containersBelow(path, deps.snapshot);
  const netns = netnsOf(owner.container ? [owner.container] : [], owner.pod?.facts?.hostNetwork, deps);
  return {
    kind: unit ? 'systemd' : 'cgroup',
    name: unit ? `systemd:${unit.name}` : `cgroup:${path}`,
    tier: tierOf(owner),
    ...(owner.pod && owner.pod.namespace !== '' && { namespace: owner.pod.namespace }),
    scope: { groups: [group], ...(netns !== undefined && { netns }), ...besideGroups([path], cgroups) },
    cgroups: [cgroups.folderOf(path)],
    containers: inside,
    follows: true,
    notes: notesOf(owner.container ? [owner.container, ...inside] : inside, `cgroup:${path}`, deps),
  };
}

function unitTarget(unit: string, deps: ResolveDependencies): ResolvedTarget {
  const { snapshot, cgroups } = deps;
  const names = /\.[a-z]+$/.test(unit) ? [unit] : [`${unit}.service`, `${unit}.scope`];
  const isSlice = unit.endsWith('.slice');
  const paths = !mayKnow(undefined, deps)
    ? []
    : isSlice
      ? [...cgroups.paths()].filter((path) => path.endsWith(`/${unit}`) && podUidIn(unit) === undefined)
      : snapshot.units.flatMap(({ name, cgroup }) => (names.includes(name) && cgroup !== undefined ? [cgroup] : []));
  // A systemd inside a container has units of the same names, deeper down.
  const [first, second] = paths.toSorted((a, b) => depthOf(a) - depthOf(b));
  if (first === undefined) {
    const known = snapshot.units.map(({ name }) => name.replace(/\.service$/, ''));
    throw notFound(`No unit ${quoted(unit)} runs on the node ${deps.nodeName}`, unit, known, snapshot);
  }
  if (second !== undefined && depthOf(second) === depthOf(first)) {
    throw ambiguous(
      `systemd:${unit}`,
      paths.map((path) => `cgroup:${path}`),
    );
  }
  return {
    ...cgroupTarget(first, deps),
    kind: 'systemd',
    name: `systemd:${isSlice ? unit : (first.split('/').at(-1) ?? unit)}`,
  };
}

const depthOf = (path: string): number => path.split('/').length;

function addressTarget(address: string, deps: ResolveDependencies): ResolvedTarget {
  const { snapshot, processes } = deps;
  const byFacts = snapshot.pods.filter((pod) => pod.facts?.podIps.includes(address));
  const own = byFacts.filter((pod) => pod.facts?.hostNetwork !== true);
  const named = own.length > 0 ? own : byFacts;
  if (named.length > 1) throw ambiguous(`ip:${address}`, named.map(podSelector));
  if (named[0] !== undefined) return podTarget(named[0], deps);

  const namespaces = new Map<bigint, boolean>();
  const has = ({ pid }: Container) => {
    const netns = pid === undefined ? undefined : processes.namespace(pid, 'net');
    if (pid === undefined || netns === undefined || processes.isNodeNetwork(netns)) return false;
    const known = namespaces.get(netns) ?? processes.addresses(pid).includes(address);
    namespaces.set(netns, known);
    return known;
  };
  const found = [
    ...snapshot.pods.flatMap((pod) => (pod.containers.some(has) ? [{ pod, container: undefined }] : [])),
    ...snapshot.containers.flatMap((container) => (has(container) ? [{ pod: undefined, container }] : [])),
  ];
  const [first, ...others] = found;
  if (others.length > 0) {
    const names = found.map(({ pod, container }) => (pod ? podSelector(pod) : containerSelector(container, undefined)));
    throw ambiguous(`ip:${address}`, names);
  }
  if (first?.pod !== undefined) return podTarget(first.pod, deps);
  if (first?.container !== undefined) return containerTarget(first.container, undefined, deps);
  throw new KerntapError(
    'target.not_found',
    `No pod or container of the node ${deps.nodeName} has the address ${address}.`,
  );
}

// --------------------------------------------------------------------------------------------------------------- parts

/** The network namespace that all of them have, unless it is the node's. */
function netnsOf(
  containers: readonly Container[],
  hostNetwork: boolean | undefined,
  { processes }: ResolveDependencies,
): bigint | undefined {
  if (hostNetwork === true) return undefined;
  const pids = containers.flatMap(({ pid }) => pid ?? []);
  const found = new Set(pids.flatMap((pid) => processes.namespace(pid, 'net') ?? []));
  const [netns] = found;
  return found.size === 1 && netns !== undefined && !processes.isNodeNetwork(netns) ? netns : undefined;
}

/** The pod and the container in which a cgroup lies. */
export function ownerOf(path: string, { pods, containers }: Snapshot): { pod?: Pod; container?: Container } {
  const isIn = (outer: string | undefined) => outer !== undefined && (path === outer || path.startsWith(`${outer}/`));
  for (const pod of pods) {
    const container = pod.containers.find(({ cgroup }) => isIn(cgroup));
    const { place } = pod;
    const isInPlace = place && ('path' in place ? isIn(place.path) : path.startsWith(`/${place.prefix}`));
    if (container || isInPlace) return { pod, ...(container && { container }) };
  }
  const container = containers.find(({ cgroup }) => isIn(cgroup));
  return container ? { container } : {};
}

const containersBelow = (path: string, { pods, containers }: Snapshot): readonly Container[] =>
  [...pods.flatMap((pod) => pod.containers), ...containers].filter(
    (each) => !isOver(each) && each.cgroup?.startsWith(`${path}/`),
  );

/** Whether a caller may know of what is in `pod`, or of what is in none. */
const mayKnow = (pod: Pod | undefined, { visible }: ResolveDependencies): boolean =>
  visible(pod?.namespace || undefined);

export const sandboxNote = (containers: readonly Container[], name: string): readonly string[] => {
  const kernel = containers.map(ownKernelOf).find((found) => found !== undefined);
  if (kernel === undefined) return [];
  return [
    `${name} runs under ${kernel}, whose own kernel takes its system calls: this node sees its cgroup counters, its network device and its block requests only, and a count of anything else says nothing.`,
  ];
};

function notesOf(containers: readonly Container[], name: string, { cgroups }: ResolveDependencies): readonly string[] {
  return [
    ...sandboxNote(containers, name),
    ...(cgroups.hierarchy === 'v1_memory'
      ? [
          "This node has cgroup v1 only: sockets are found by network namespace, and not at all where that is the node's.",
        ]
      : []),
  ];
}

/** True where a runtime makes cgroups in the hierarchies of v1 alone, and its containers are in the root of v2. */
const isOnlyInV1 = ({ pid, cgroup }: Container, { cgroups }: ResolveDependencies): boolean =>
  cgroup === undefined && pid !== undefined && cgroups.hierarchy === 'v2' && cgroups.pathOf(pid) === '/';
