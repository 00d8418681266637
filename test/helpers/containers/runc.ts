import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createBed } from './bed.ts';
import { cgroupOf } from './cgroups.ts';
import type { Container } from './container.ts';
import { testImage } from './image.ts';

export interface RuncOptions {
  /** Any path from the root of the hierarchy, whose last folder is not there yet. */
  readonly cgroup: string;
  readonly command?: readonly string[];
  /** `own` has a loopback device alone. */
  readonly network?: 'host' | 'own';
}

/** Starts a container by runc alone, in exactly the cgroup that is named, whatever wrote such names on a real node. */
export async function startRuncContainer(options: RuncOptions): Promise<Container> {
  await using stack = new AsyncDisposableStack();
  const bed = stack.use(await createBed('runc'));
  bed.claimCgroup(options.cgroup);
  const { rootfs } = await testImage();
  const bundle = join(bed.path, 'bundle');
  mkdirSync(bundle);
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(specOf(options, rootfs)));

  const id = 'container';
  const runc = ['runc', '--root', join(bed.path, 'state')];
  const pidFile = join(bed.path, 'pid');
  // A file, since the first process keeps what it is given, and a pipe would not end before it.
  const log = openSync(join(bed.path, 'log'), 'w');
  try {
    const command = [...runc, 'run', '--detach', '--bundle', bundle, '--pid-file', pidFile, id];
    await bed.run(command, { stdio: ['ignore', log, log] });
  } catch (error) {
    throw new Error(`${String(error)} ${readFileSync(join(bed.path, 'log'), 'utf8')}`);
  } finally {
    closeSync(log);
  }
  const pid = Number(readFileSync(pidFile, 'utf8'));
  const kept = stack.move();
  return {
    id,
    pid,
    ...cgroupOf(pid),
    exec: (command) => bed.run([...runc, 'exec', id, ...command]),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

const CAPABILITIES = ['CAP_KILL', 'CAP_NET_BIND_SERVICE', 'CAP_NET_RAW', 'CAP_SETUID', 'CAP_SETGID'];

/** As `runc spec` writes it, without what the tests do not need (https://github.com/opencontainers/runtime-spec). */
const specOf = ({ cgroup, command = ['idle'], network = 'host' }: RuncOptions, rootfs: string) => ({
  ociVersion: '1.0.2',
  process: {
    user: { uid: 0, gid: 0 },
    args: command,
    env: ['PATH=/bin'],
    cwd: '/',
    capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
  },
  root: { path: rootfs, readonly: true },
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
    { destination: '/sys', type: 'none', source: '/sys', options: ['rbind', 'nosuid', 'noexec', 'nodev', 'ro'] },
    { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid'] },
  ],
  linux: {
    cgroupsPath: cgroup,
    namespaces: ['pid', 'mount', 'ipc', 'uts', 'cgroup', ...(network === 'own' ? ['network'] : [])].map((type) => ({
      type,
    })),
  },
});
