import { readdirSync, readlinkSync } from 'node:fs';
import type { Container, Coverage, ResolvedTarget } from '../trace/ports.ts';
import type { Cgroups } from './cgroups.ts';
import { type Processes, textOf } from './processes.ts';
import { isPause, recognise, SYSTEMD } from './runtimes/cgroupfs.ts';

// What is not looked at is not guessed: with more, the sum is absent.
const MAX_THREADS = 4_000;
const MAX_FILES = 8_000;

export interface LookDependencies {
  readonly cgroups: Cgroups;
  readonly processes: Processes;
  /** Names of containers by their ids, as runtimes have them; asked only for one that is new. */
  readonly names: () => Promise<ReadonlyMap<string, string>>;
}

/** What of a target is there now. */
export async function lookAt(target: ResolvedTarget, deps: LookDependencies): Promise<Coverage> {
  const { cgroups, processes } = deps;
  const paths = pathsOf(target, cgroups);
  const pids = target.kind === 'process' ? livingOf(target, processes) : pidsOf(target, paths, deps);
  const own = pids.filter((pid) => pid > 0);
  const contextSwitches = switchesOf(own, processes);
  const open = openOf(own, processes);
  return {
    atMs: Date.now(),
    containers: await containersOf(target, paths, deps),
    processes: pids.length,
    ...(contextSwitches !== undefined && { contextSwitches }),
    ...open,
  };
}

/** The cgroups of a target as they are now, without those that are gone. */
function pathsOf({ scope, cgroups: folders }: ResolvedTarget, cgroups: Cgroups): readonly string[] {
  const prefix = scope?.namePrefix;
  if (prefix !== undefined) return cgroups.children('/').filter((path) => path.startsWith(`/${prefix}`));
  return folders.map(cgroups.pathIn).filter(cgroups.exists);
}

function pidsOf({ kind }: ResolvedTarget, paths: readonly string[], { cgroups, processes }: LookDependencies) {
  return kind === 'node' ? processes.all() : paths.flatMap((path) => cgroups.processes(path));
}

function livingOf({ containers }: ResolvedTarget, processes: Processes): readonly number[] {
  return containers.flatMap(({ pid, startTicks }) =>
    pid !== undefined && processes.startTicks(pid) === startTicks ? [pid] : [],
  );
}

async function containersOf(target: ResolvedTarget, paths: readonly string[], deps: LookDependencies) {
  if (target.kind === 'process' || target.kind === 'node') return [];
  const { cgroups, processes } = deps;
  const ids = paths
    .flatMap((path) => [...cgroups.paths(path)])
    .flatMap((path) => {
      const found = recognise(path);
      if (found === undefined || found.runtime === SYSTEMD) return [];
      const pids = cgroups.processes(path);
      return pids.length > 0 && !isPause(pids, processes) ? [found.id] : [];
    });
  // A container in a cgroup that bears no id is known by what was found when the target was resolved.
  const unnamed = target.containers.filter(({ id, cgroup }) => !ids.includes(id) && paths.includes(cgroup ?? ''));
  const known = new Map([...target.containers, ...unnamed].map((each) => [each.id, labelOf(target, each)]));
  const all = [...new Set([...ids, ...unnamed.map(({ id }) => id)])];
  const names = all.every((id) => known.has(id)) ? known : new Map([...(await deps.names()), ...known]);
  return all.flatMap((id) => {
    const name = names.get(id);
    return name === undefined ? [] : [{ name, id }];
  });
}

/** In a workload, containers of several pods have the same names. */
const labelOf = ({ kind }: ResolvedTarget, { name, pod }: Container): string =>
  kind === 'workload' && pod?.name ? `${pod.name}/${name}` : name;

function switchesOf(pids: readonly number[], { folder }: Processes): number | undefined {
  let threads = 0;
  let sum: number | undefined;
  for (const pid of pids) {
    for (const tid of namesIn(`${folder}/${pid}/task`)) {
      if (++threads > MAX_THREADS) return undefined;
      const status = textOf(`${folder}/${pid}/task/${tid}/status`) ?? '';
      for (const [, count] of status.matchAll(/^(?:non)?voluntary_ctxt_switches:\s*(\d+)$/gm)) {
        sum = (sum ?? 0) + Number(count);
      }
    }
  }
  return sum;
}

/** How many sockets and rings the processes have open, each once though several share it. */
function openOf(pids: readonly number[], { folder }: Processes): Pick<Coverage, 'sockets' | 'ioUrings'> {
  const sockets = new Set<string>();
  let ioUrings = 0;
  let files = 0;
  for (const pid of pids) {
    const open = namesIn(`${folder}/${pid}/fd`);
    files += open.length;
    if (files > MAX_FILES) return {};
    for (const fd of open) {
      try {
        const link = readlinkSync(`${folder}/${pid}/fd/${fd}`);
        if (link.startsWith('socket:')) sockets.add(link);
        if (link === 'anon_inode:[io_uring]') ioUrings += 1;
      } catch {
        // Closed meanwhile.
      }
    }
  }
  if (pids.length === 0) return {};
  return { sockets: sockets.size, ...(ioUrings > 0 && { ioUrings }) };
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
