import { readdirSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../until.ts';
import { cgroupMount } from './machine.ts';

/** The folder of a cgroup that is named as in /proc/PID/cgroup. */
export const cgroupFolder = (path: string): string => join(cgroupMount ?? '/absent', path);

/** Where a process is in the cgroup v2 hierarchy. */
export function cgroupOf(pid: number): { cgroupPath: string; cgroupFolder: string; inode: bigint } {
  const cgroupPath = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1];
  if (cgroupPath === undefined) throw new Error(`process ${pid} is in no cgroup v2`);
  const folder = cgroupFolder(cgroupPath);
  return { cgroupPath, cgroupFolder: folder, inode: statSync(folder, { bigint: true }).ino };
}

/** `/a/b/c` gives `/a` and `/a/b`. */
export const parentsOf = (path: string): string[] => {
  const parts = path.split('/').filter(Boolean);
  return parts.slice(1).map((_, index) => `/${parts.slice(0, index + 1).join('/')}`);
};

/** Ends every process in a cgroup and below it and removes the cgroups. One that is gone is fine. */
export async function endCgroup(folder: string): Promise<void> {
  const emptied = () => {
    const pids = groupsIn(folder).flatMap(processesIn);
    for (const pid of pids) kill(pid);
    return pids.length === 0 && groupsIn(folder).reverse().every(removeGroup);
  };
  await until(emptied, `the cgroup ${folder} is empty and gone`, 30_000);
}

/** Removes a cgroup that is empty; false when it is in use. */
export function removeGroup(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

/** A cgroup's folder and all below, parents first. */
function groupsIn(folder: string): string[] {
  try {
    const below = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [folder, ...below.flatMap(({ name }) => groupsIn(join(folder, name)))];
  } catch {
    return []; // gone meanwhile
  }
}

function processesIn(folder: string): number[] {
  try {
    return readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function kill(pid: number): void {
  // 0 stands for a process of a pid namespace that is not below ours; as an argument it would mean ourselves.
  if (pid <= 0) throw new Error('a process of another pid namespace is in a cgroup of the test');
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // ended by itself
  }
}
