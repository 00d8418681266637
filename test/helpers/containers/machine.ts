import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { isRoot, projectRoot } from '../machine.ts';

/** Where the set-up unpacked the runtimes, and where their runs have their folders. */
export const unpackedRoot = join(projectRoot, '.cache/containers/root');
export const runsFolder = join(projectRoot, '.cache/containers/runs');

export const busybox = join(unpackedRoot, 'usr/bin/busybox');

/** The cgroup v2 hierarchy: /sys/fs/cgroup, on a hybrid machine a folder in it. Undefined where there is none. */
export const cgroupMount: string | undefined = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1];

// The overlay lays the packages over /usr: a runtime finds there what it looks for by name (its shim, its plugins), and runc
// executes itself anew, which by the unpacked loader it could not. The first tmpfs takes the sockets of shims and the names
// of network namespaces, the second what libcni notes in a folder that cannot be set. The bind mount makes a hybrid machine
// look like one with cgroup v2 alone.
const VIEW = `
set -e
root=$1 cgroups=$2 own=$3; shift 3
echo $$ >"$own/cgroup.procs"
box=$root/usr/bin/busybox
"$box" mount -t overlay overlay -o "lowerdir=$root/usr:/usr" /usr
"$box" mount -t tmpfs tmpfs /run
[ ! -d /var/lib/cni ] || "$box" mount -t tmpfs tmpfs /var/lib/cni
[ "$cgroups" = /sys/fs/cgroup ] || "$box" mount --bind "$cgroups" /sys/fs/cgroup
exec "$@"`;

/** The command that runs `command` in a cgroup and in mounts of its own, in which the unpacked packages are as installed. */
export const inView = (cgroupFolder: string, command: readonly string[]): [file: string, args: string[]] => [
  'unshare',
  ['-m', '--propagation', 'private', busybox, 'sh', '-c', VIEW, 'sh']
    .concat([unpackedRoot, cgroupMount ?? '', cgroupFolder])
    .concat(command),
];

/** True when this process can run containers: it was tried once in this test run. */
export const canContain = tried() === 'yes';

/** For `test.env` of the runner, so that its workers need not try again. */
export const containersEnv = { KERNTAP_TEST_CAN_CONTAIN: canContain ? 'yes' : 'no' };

function tried(): string {
  const known = process.env.KERNTAP_TEST_CAN_CONTAIN;
  if (known !== undefined) return known;
  if (!isRoot || cgroupMount === undefined || !existsSync(busybox)) return 'no';
  const cgroup = join(cgroupMount, `kerntap-test-try-${process.pid}`);
  try {
    mkdirSync(cgroup);
    const [file, args] = inView(cgroup, ['runc', '--version']);
    const { status } = spawnSync(file, args, { stdio: 'ignore' });
    rmdirSync(cgroup);
    return status === 0 ? 'yes' : 'no';
  } catch {
    return 'no';
  }
}
