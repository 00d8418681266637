import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { silentLog } from '../../src/log.ts';
import { createCgroupfs } from '../../src/targets/runtimes/cgroupfs.ts';
import { createTargets, type TargetOptions } from '../../src/targets/targets.ts';
import type { Container, PodFacts, PodSource, Runtime } from '../../src/trace/ports.ts';

export interface FakeProcess {
  readonly pid: number;
  readonly comm?: string;
  readonly startTicks?: number;
  /** Inode; that of the node when absent. */
  readonly netns?: number;
}

export const NODE_NETNS = 4026531840;

/** The root folder of a host with /proc and cgroups, made of ordinary folders and files. */
export function createFakeHost({ layout = 'v2' as 'v2' | 'hybrid' | 'v1', folder = 'host' } = {}) {
  const parent = mkdtempSync(join(tmpdir(), 'kerntap-host-'));
  const root = join(parent, folder);
  const proc = join(root, 'proc');
  const write = (path: string, text: string) => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  };
  const link = (path: string, to: string) => {
    mkdirSync(dirname(path), { recursive: true });
    rmSync(path, { force: true });
    symlinkSync(to, path);
  };
  const point = (name: string) => join(root, 'sys/fs/cgroup', name);
  const mounts: readonly (readonly [point: string, type: string, options: string])[] = {
    v2: [[point(''), 'cgroup2', 'rw']] as const,
    hybrid: [
      [point('memory'), 'cgroup', 'rw,memory'],
      [point('blkio'), 'cgroup', 'rw,blkio'],
      [point('unified'), 'cgroup2', 'rw'],
    ] as const,
    v1: [
      [point('blkio'), 'cgroup', 'rw,blkio'],
      [point('memory'), 'cgroup', 'rw,memory'],
    ] as const,
  }[layout];
  const mangled = (path: string) => path.replace(/[\s\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
  write(
    join(proc, 'self/mountinfo'),
    mounts
      .map(
        ([at, type, options], index) =>
          `${30 + index} 23 0:${30 + index} / ${mangled(at)} rw - ${type} ${type} ${options}\n`,
      )
      .join(''),
  );
  link(join(proc, 'self/ns/cgroup'), 'cgroup:[4026531835]');
  link(join(proc, '1/ns/net'), `net:[${NODE_NETNS}]`);
  link(join(proc, '1/ns/pid'), 'pid:[4026531836]');
  write(join(proc, 'stat'), 'cpu 0\nbtime 1700000000\n');
  for (const [at] of mounts) write(join(at, 'cgroup.procs'), '');

  return {
    root,
    proc,
    folderOf: (path: string, mount = mounts.at(-1)?.[0] ?? '') => join(mount, path),
    write: (path: string, text: string) => write(join(root, path), text),
    relink: (path: string, to: string) => link(join(root, path), to),
    /** Makes a cgroup in every hierarchy, with these processes in it. */
    cgroup(path: string, processes: readonly FakeProcess[] = [], controllers = 'cpu io memory') {
      for (const [at] of mounts) {
        write(join(at, path, 'cgroup.procs'), processes.map(({ pid }) => `${pid}\n`).join(''));
        write(join(at, path, 'cgroup.controllers'), `${controllers}\n`);
      }
      for (const { pid, comm = 'app', startTicks = 1_000 + pid, netns = NODE_NETNS } of processes) {
        write(join(proc, `${pid}/comm`), `${comm}\n`);
        write(join(proc, `${pid}/stat`), statOf(pid, comm, startTicks));
        const shown = path || '/';
        const lines = layout === 'v1' ? `4:memory:${shown}\n3:blkio:${shown}\n` : `4:memory:${shown}\n0::${shown}\n`;
        write(join(proc, `${pid}/cgroup`), lines);
        link(join(proc, `${pid}/ns/net`), `net:[${netns}]`);
      }
    },
    end(pid: number) {
      const lines = readFileSync(join(proc, `${pid}/cgroup`), 'utf8');
      const path = /^(?:0:|4:memory):(.*)$/m.exec(lines)?.[1] ?? '/';
      rmSync(join(proc, String(pid)), { recursive: true });
      for (const [at] of mounts) {
        const procs = join(at, path, 'cgroup.procs');
        writeFileSync(procs, readFileSync(procs, 'utf8').replace(new RegExp(`^${pid}\\n`, 'm'), ''));
      }
    },
    remove(path: string) {
      for (const [at] of mounts) rmSync(join(at, path), { recursive: true });
    },
    /** The product's resolver over this host. */
    targets: (options: Partial<TargetOptions> = {}) =>
      createTargets({
        pods: undefined,
        hostRoot: root,
        nodeName: 'node-1',
        log: silentLog,
        ...options,
        runtimes: [...(options.runtimes ?? []), createCgroupfs({ hostRoot: root })],
      }),
    [Symbol.dispose]: () => rmSync(parent, { recursive: true, force: true }),
  };
}

export type FakeHost = ReturnType<typeof createFakeHost>;

const statOf = (pid: number, comm: string, startTicks: number): string =>
  `${pid} (${comm}) S ${Array.from({ length: 18 }, () => 0).join(' ')} ${startTicks} 0 0\n`;

/** A runtime that knows these containers. */
export const knows = (name: string, list: () => readonly Container[] | Promise<readonly Container[]>): Runtime => ({
  name,
  detect: async () => true,
  list: async () => list(),
});

/** An API server that knows these pods, and others elsewhere. */
export const api = (pods: readonly PodFacts[], elsewhere: Readonly<Record<string, string>> = {}): PodSource => ({
  pods: () => ({ pods, asOfMs: Date.now() }),
  nodeOf: async (namespace, name) => elsewhere[`${namespace}/${name}`],
  close() {},
});

export const facts = (given: Pick<PodFacts, 'namespace' | 'name' | 'uid'> & Partial<PodFacts>): PodFacts => ({
  node: 'node-1',
  labels: {},
  phase: 'Running',
  hostNetwork: false,
  podIps: [],
  containers: [],
  ...given,
});

export const container = (given: Pick<Container, 'id'> & Partial<Container>): Container => ({
  runtime: 'containerd',
  name: 'app',
  state: 'running',
  labels: {},
  ...given,
});

/** An id of 64 digits that begins with `head`. */
export const idOf = (head: string): string => head.padEnd(64, '0');

export const UID = '8a1c3f52-0b6e-4d59-9a7e-1f2d3c4b5a60';
export const UID_ = UID.replaceAll('-', '_');
