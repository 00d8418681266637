import { startTimeOf } from '../../process-start.ts';
import { textOf } from '../processes.ts';

/** The first process of a container, with the container's own cgroup as /proc/PID/cgroup names it. */
export interface FirstProcess {
  readonly pid: number;
  readonly startTicks: bigint;
  readonly cgroup: string;
}

/**
 * Looks the first process of container `id` up in a /proc of the host. Undefined when `pid` is gone, hidden, or somebody
 * else's by now: in every layout the container's id is in the name of its cgroup.
 */
export function firstProcessOf(procFolder: string, pid: number, id: string): FirstProcess | undefined {
  const startTicks = startTimeOf(pid, procFolder);
  const cgroup = cgroupNamedBy(id, textOf(`${procFolder}/${pid}/cgroup`) ?? '');
  return startTicks !== undefined && cgroup !== undefined ? { pid, startTicks: BigInt(startTicks), cgroup } : undefined;
}

export const isAlive = (procFolder: string, { pid, startTicks }: FirstProcess): boolean =>
  startTimeOf(pid, procFolder) === String(startTicks);

/** Of the lines `0::/path` (cgroup v2) and `4:memory:/path` (v1), the first that names `id`; v2 before v1. */
function cgroupNamedBy(id: string, lines: string): string | undefined {
  const paths = lines.split('\n').map((line) => /^(\d+):[^:]*:(\/.*)$/.exec(line)?.slice(1) ?? []);
  for (const [, path = ''] of paths.toSorted(([a], [b]) => Number(b === '0') - Number(a === '0'))) {
    const names = path.split('/');
    const own = names.findIndex((name) => name.includes(id));
    // What is deeper is the container's own: systemd in it moves itself to init.scope, and crun to `container`.
    if (own > 0) return names.slice(0, own + 1).join('/');
  }
  return undefined;
}
