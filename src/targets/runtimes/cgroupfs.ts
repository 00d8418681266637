import { setImmediate } from 'node:timers/promises';
import type { Container, Runtime } from '../../trace/ports.ts';
import { type CgroupOptions, type Cgroups, findCgroups } from '../cgroups.ts';
import { createProcesses, type Processes } from '../processes.ts';

/** Under this runtime's name stand units of systemd, whose id is their cgroup. */
export const SYSTEMD = 'systemd';

/** After so many, others get a turn: a node with hundreds of containers has more than a thousand. */
const FOLDERS_AT_ONCE = 64;

/** As containerd labels what holds a pod's namespaces; it is no container of the pod. */
const SANDBOX_LABELS = { 'io.cri-containerd.kind': 'sandbox' };

/**
 * Containers and units of systemd as /proc and cgroupfs alone show them: by the names that runtimes give their cgroups.
 * The uid of a pod is known by it, its name is not: it is empty.
 */
export function createCgroupfs(options: CgroupOptions): Runtime {
  const processes = createProcesses(options.hostRoot);
  return {
    name: 'cgroupfs',
    detect: async () => true,
    async list(signal) {
      const cgroups = await findCgroups(options);
      if (cgroups === undefined) return [];
      const found: Container[] = [];
      let looked = 0;
      for (const path of cgroups.paths()) {
        if (++looked % FOLDERS_AT_ONCE === 0) await setImmediate();
        signal.throwIfAborted();
        const container = containerAt(path, cgroups, processes);
        if (container !== undefined) found.push(container);
      }
      return found;
    },
  };
}

function containerAt(path: string, cgroups: Cgroups, processes: Processes): Container | undefined {
  const named = recognise(path);
  if (named === undefined) return undefined;
  const pids = cgroups.processes(path);
  if (named.runtime === SYSTEMD && pids.length === 0) return undefined;

  const pid = pids.find((candidate) => candidate > 0);
  const startTicks = pid === undefined ? undefined : processes.startTicks(pid);
  const startedMs = startTicks === undefined ? undefined : processes.startedMs(startTicks);
  const isPodSandbox = named.podUid !== undefined && isPause(pids, processes);
  return {
    runtime: named.runtime,
    id: named.id,
    name: named.name,
    state: pids.length > 0 ? 'running' : 'unknown',
    ...(named.podUid !== undefined && { pod: { namespace: '', name: '', uid: named.podUid } }),
    labels: { ...(named.qos && { qos: named.qos }), ...(isPodSandbox && SANDBOX_LABELS) },
    ...(pid !== undefined && startTicks !== undefined && { pid, startTicks }),
    ...(startedMs !== undefined && { startedMs }),
    ...(named.handler && { handler: named.handler }),
    cgroup: path,
  };
}

/** True for what holds a pod's namespaces: one process of the name that every pause image gives it. */
export const isPause = (pids: readonly number[], processes: Processes): boolean =>
  pids.length === 1 && pids[0] !== undefined && processes.comm(pids[0]) === 'pause';

/** True for the container that only holds a pod's namespaces, by the labels of containerd, CRI and the Docker shim. */
export const isSandbox = ({ labels }: Container): boolean =>
  labels['io.cri-containerd.kind'] === 'sandbox' ||
  labels['io.kubernetes.docker.type'] === 'podsandbox' ||
  labels['io.kubernetes.container.name'] === 'POD';

// --------------------------------------------------------------------------------------------------------------- names

/** What the name of a cgroup tells. */
export interface Recognised {
  readonly runtime: string;
  readonly id: string;
  readonly name: string;
  readonly podUid?: string;
  /** The pod's quality of service: `guaranteed`, `burstable`, `besteffort`. */
  readonly qos?: string;
  readonly handler?: string;
}

/** By the prefix that a runtime puts before the id, with the runtime's own name. */
const PREFIXES: Readonly<Record<string, string>> = {
  'cri-containerd': 'containerd',
  nerdctl: 'containerd',
  kata: 'containerd',
  crio: 'cri-o',
  docker: 'docker',
  libpod: 'podman',
};
// `crio-conmon-ID.scope` and `libpod-conmon-ID.scope` are of the process that watches over the container.
const PREFIXED = new RegExp(`(?:^|:)(${Object.keys(PREFIXES).join('|')})[-_:]([0-9a-f]{12,64})(?:\\.scope)?$`);

/** By the folder in which bare ids are. */
const PARENTS: Readonly<Record<string, string>> = { docker: 'docker', 'k8s.io': 'containerd', default: 'containerd' };
const BARE = /^[0-9a-f]{32,64}$/;

const UNIT = /\.(?:service|scope)$/;

/** Reads what runtimes, the kubelet and systemd write; undefined for any other cgroup. */
export function recognise(path: string): Recognised | undefined {
  const names = path.split('/');
  const last = names.pop() ?? '';
  const [, prefix = '', prefixed] = PREFIXED.exec(last) ?? [];
  const id = prefixed ?? (BARE.test(last) ? last : undefined);
  const runtime = prefixed === undefined ? runtimeOfParent(names.at(-1) ?? '') : PREFIXES[prefix];
  if (id !== undefined && runtime !== undefined) {
    // Where drivers disagree, the pod's slice is a part of the container's own name.
    const podUid = podUidIn(last.split(':')[0] ?? '') ?? names.map(podUidIn).findLast((uid) => uid !== undefined);
    return {
      runtime,
      id,
      name: id.slice(0, 12),
      ...(podUid !== undefined && { podUid, qos: qosIn(path) }),
      ...(prefix === 'kata' && { handler: 'kata' }),
    };
  }
  return UNIT.test(last) ? { runtime: SYSTEMD, id: path, name: last } : undefined;
}

const runtimeOfParent = (parent: string): string | undefined =>
  Object.hasOwn(PARENTS, parent) ? PARENTS[parent] : podUidIn(parent) && 'cgroupfs';

const qosIn = (path: string) => /(?:burstable|besteffort)(?=[-/])/.exec(path)?.[0] ?? 'guaranteed';

/** The uid in the name of a pod's cgroup: an API server's, or the hash of a static pod's file. systemd's slices have `_` for `-`. */
export function podUidIn(name: string): string | undefined {
  const [, uid] =
    /(?:^|-)pod([0-9a-f]{32}|[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})(?:\.slice)?$/.exec(name) ?? [];
  return uid?.replaceAll('_', '-');
}
