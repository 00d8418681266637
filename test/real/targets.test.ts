import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { createCgroupfs } from '../../src/targets/runtimes/cgroupfs.ts';
import { createTargets } from '../../src/targets/targets.ts';
import type { TargetFile } from '../../src/trace/ports.ts';
import { cgroupFolder, endCgroup } from '../helpers/containers/cgroups.ts';
import { cgroupMount } from '../helpers/containers/machine.ts';
import { bpftraceCommand, canTrace, isRoot, projectRoot } from '../helpers/machine.ts';
import { until } from '../helpers/until.ts';

const canGroup = isRoot && cgroupMount !== undefined;
const { signal } = new AbortController();
const UID = '8a1c3f52-0b6e-4d59-9a7e-1f2d3c4b5a60';
const ID = 'abc'.padEnd(64, '0');

const targets = createTargets({
  runtimes: [createCgroupfs({ hostRoot: '' })],
  pods: undefined,
  hostRoot: '',
  nodeName: 'node-1',
  log: silentLog,
});

let beds = 0;

/** A cgroup of this test with what is made in it. */
function createBed() {
  const top = `/kerntap-test-targets-${process.pid}-${++beds}`;
  mkdirSync(cgroupFolder(top));
  const children: ChildProcess[] = [];
  const make = (path: string) => {
    mkdirSync(cgroupFolder(top + path), { recursive: true });
    return top + path;
  };
  return {
    top,
    make,
    /** Starts a command in a cgroup of the bed, and resolves with its pid when it runs there. */
    async start(path: string, command: readonly string[], program = basename(command[0] ?? '')): Promise<number> {
      const cgroup = make(path);
      const script = 'echo $$ >"$0/cgroup.procs" && exec "$@"';
      const child = spawn('sh', ['-c', script, cgroupFolder(cgroup), ...command], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      children.push(child);
      const pid = child.pid ?? Number.NaN;
      const runs = () => basename(readlinkSync(`/proc/${pid}/exe`)) === program;
      await until(runs, `${program} runs`);
      return pid;
    },
    async end(pid: number) {
      const child = children.find((each) => each.pid === pid);
      const ended = child && child.exitCode === null ? once(child, 'exit') : undefined;
      child?.kill('SIGKILL');
      await ended;
    },
    async [Symbol.asyncDispose]() {
      // One that did not come as far as into its cgroup is not ended with that.
      for (const child of children) child.kill('SIGKILL');
      await endCgroup(cgroupFolder(top));
    },
  };
}

test.skipIf(!canGroup)(
  'a pod, its container and a unit are found in real cgroups by their inodes [needs root]',
  async () => {
    await using bed = createBed();
    const pod = `/kubepods.slice/kubepods-pod${UID.replaceAll('-', '_')}.slice`;
    const path = `${bed.top}${pod}/cri-containerd-${ID}.scope`;
    const pid = await bed.start(`${pod}/cri-containerd-${ID}.scope`, ['sleep', '1000']);
    await bed.start(`${pod}/cri-containerd-${ID}.scope/nested`, ['sleep', '1000']);
    const unit = await bed.start('/system.slice/kerntap test.service', ['sleep', '1000']);

    const found = await targets.resolve('container:abc000', signal);
    expect(found.scope?.groups).toEqual([{ id: statSync(cgroupFolder(path), { bigint: true }).ino, level: 4 }]);
    expect(found.containers).toMatchObject([{ id: ID, pid, runtime: 'containerd', pod: { uid: UID } }]);
    expect(await targets.look(found)).toMatchObject({ processes: 2, containers: [{ id: ID }] });

    const byPid = await targets.resolve(`pid:${pid}`, signal);
    expect(byPid.scope).toMatchObject({ groups: found.scope?.groups, pids: [pid] });
    expect(await targets.resolve(`cgroup:${bed.top}${pod}`, signal)).toMatchObject({
      kind: 'pod',
      follows: true,
      scope: { groups: [{ level: 3 }] },
    });
    const rows = await targets.list({ limit: 20, query: `${bed.top} kerntap test`, kind: 'systemd' }, signal);
    expect(rows.targets).toMatchObject([{ kind: 'systemd', name: 'kerntap test.service', processes: 1 }]);
    expect(await targets.resolve(rows.targets[0]?.id, signal)).toMatchObject({
      kind: 'systemd',
      scope: { groups: [{ level: 3 }] },
    });

    await bed.end(unit);
    expect(await targets.look(await targets.resolve(rows.targets[0]?.selector, signal))).toMatchObject({
      processes: 0,
    });
  },
);

test.skipIf(!canGroup || !canTrace)(
  'the kernel finds the inode of a cgroup with spaces and unicode at its level [needs root and BPF]',
  async () => {
    await using bed = createBed();
    await bed.start('/a b/ü\\ x', [
      process.execPath,
      '-e',
      'setInterval(() => process.getppid?.() ?? process.ppid, 20)',
    ]);
    const { scope } = await targets.resolve(`cgroup:${bed.top}/a b/ü\\ x`, signal);
    const [group] = scope?.groups ?? [];
    const program = `tracepoint:raw_syscalls:sys_enter /cgroup == ${group?.id}/ {
      print((curtask->cgroups->dfl_cgrp->level, curtask->cgroups->dfl_cgrp->ancestors[${group?.level}]->kn->id)); exit(); }`;
    const [file = '', ...args] = bpftraceCommand;
    const { stdout } = spawnSync(file, [...args, '-e', program], { cwd: '/', encoding: 'utf8', timeout: 50_000 });
    expect(stdout).toContain(`(${group?.level}, ${group?.id})`);
  },
);

test.skipIf(!canGroup)(
  'a server in a cgroup namespace of its own names cgroups as the host does [needs root]',
  async () => {
    await using bed = createBed();
    const pid = await bed.start('/pods/neighbour', ['sleep', '1000']);
    bed.make('/pods/us/inner');
    const inner = cgroupFolder(`${bed.top}/pods/us/inner`);
    const code = `
    import { createTargets } from '${projectRoot}/src/targets/targets.ts';
    import { createCgroupfs } from '${projectRoot}/src/targets/runtimes/cgroupfs.ts';
    import { silentLog as log } from '${projectRoot}/src/log.ts';
    const targets = createTargets({ runtimes: [createCgroupfs({ hostRoot: '' })], hostRoot: '', nodeName: 'n', log });
    for (const pid of [${pid}, process.pid]) {
      const { scope, containers } = await targets.resolve('pid:' + pid, AbortSignal.timeout(30_000));
      console.log(containers[0].cgroup, String(scope.groups[0].id), scope.groups[0].level);
    }`;
    const script =
      'echo $$ >"$0/../cgroup.procs"; exec unshare -C sh -c \'echo $$ >"$0/cgroup.procs"; exec "$@"\' "$0" "$@"';
    const command = [process.execPath, '--input-type=module-typescript', '-e', code];
    const output = execFileSync('sh', ['-c', script, inner, ...command], { encoding: 'utf8', cwd: projectRoot });
    const line = (path: string, level: number) =>
      `${bed.top}${path} ${statSync(cgroupFolder(bed.top + path), { bigint: true }).ino} ${level}`;
    expect(output.trim().split('\n')).toEqual([line('/pods/neighbour', 3), line('/pods/us/inner', 4)]);
  },
);

test.skipIf(!canGroup || spawnSync('ip', ['-V']).status !== 0)(
  'a container is found by an address in its network namespace [needs root]',
  async () => {
    await using bed = createBed();
    const script =
      'ip link set lo up && ip addr add 198.51.100.77/32 dev lo && ip addr add fd00:77::1/128 dev lo && exec sleep 1000';
    const pid = await bed.start(`/docker/${ID}`, ['unshare', '-n', 'sh', '-c', script], 'sleep');
    const netns = statSync(`/proc/${pid}/ns/net`, { bigint: true }).ino;
    for (const address of ['198.51.100.77', 'fd00:77:0::1']) {
      expect(await targets.resolve(`ip:${address}`, signal)).toMatchObject({ kind: 'container', scope: { netns } });
    }
    const host = await bed.start('/in-the-network-of-the-node', ['sleep', '1000']);
    expect((await targets.resolve(`pid:${host}`, signal)).scope).not.toHaveProperty('netns');
  },
);

test.skipIf(!canGroup)('a look tells that a target is alive by its switches and sockets [needs root]', async () => {
  await using bed = createBed();
  const code = "require('net').createServer().listen(0, '127.0.0.1'); setInterval(() => {}, 10)";
  const node = await bed.start('/busy', [process.execPath, '-e', code]);
  const found = await targets.resolve(`cgroup:${bed.top}/busy`, signal);
  // Two of its files may be one socket.
  const listed = `ls -l /proc/${node}/fd | grep -o 'socket:.*' | sort -u | wc -l`;
  const sockets = () => Number(spawnSync('sh', ['-c', listed], { encoding: 'utf8' }).stdout);
  await until(() => sockets() > 0, 'it listens');
  await expect.poll(async () => (await targets.look(found)).sockets === sockets(), { timeout: 15_000 }).toBe(true);
  const first = await targets.look(found);
  expect(first).toMatchObject({ processes: 1 });
  let later = first;
  await expect
    .poll(
      async () => {
        later = await targets.look(found);
        return later.contextSwitches;
      },
      { timeout: 15_000 },
    )
    .toBeGreaterThan(first.contextSwitches ?? Number.POSITIVE_INFINITY);

  const process_ = await targets.resolve(`pid:${node}`, signal);
  await bed.end(node);
  expect(await targets.look(process_)).toMatchObject({ processes: 0 });
  await expect(targets.resolve(`pid:${node}`, signal)).rejects.toMatchObject({ code: 'target.not_found' });
});

test.skipIf(!canGroup)('processes of a threaded cgroup are counted [needs root]', async () => {
  await using bed = createBed();
  await bed.start('/domain', ['sleep', '1000']);
  const threaded = bed.make('/domain/threaded');
  writeFileSync(join(cgroupFolder(threaded), 'cgroup.type'), 'threaded');
  const pid = await bed.start('/domain/threaded', ['sleep', '1000']).catch(() => undefined);
  // A process moves by its threads only within its domain.
  expect(pid).toBeDefined();
  const domain = await targets.resolve(`cgroup:${bed.top}/domain`, signal);
  expect((await targets.look(domain)).processes).toBe(2);
  const inside = await targets.resolve(`cgroup:${threaded}`, signal);
  expect((await targets.look(inside)).processes).toBe(1);
});

/** A folder with the shell and what it needs, in which a process can have its root. */
function createRoot() {
  const root = mkdtempSync(join(tmpdir(), 'kerntap-root-'));
  const needed = [...execFileSync('ldd', ['/bin/sh'], { encoding: 'utf8' }).matchAll(/(\/\S+)/g)].map(
    ([, path = '']) => path,
  );
  for (const path of ['/bin/sh', '/bin/sleep', ...needed]) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    copyFileSync(path, join(root, path));
  }
  return { root, [Symbol.dispose]: () => rmSync(root, { recursive: true }) };
}

test.skipIf(!canGroup)('files are those of the target, and no link of its leads to the node [needs root]', async () => {
  using image = createRoot();
  await using bed = createBed();
  symlinkSync('/etc/passwd', join(image.root, 'bin/leak'));
  symlinkSync('../../../../../../../../bin/sh', join(image.root, 'bin/up'));
  await bed.start(`/docker/${ID}`, ['chroot', image.root, '/bin/sh', '-c', '/bin/sleep 1000; true'], 'sh');
  const found = await targets.resolve(`container:${ID}`, signal);
  await until(
    () =>
      readFileSync(join(cgroupFolder(bed.top), `docker/${ID}/cgroup.procs`), 'utf8')
        .trim()
        .split('\n').length === 2,
    'both run',
  );
  const inodeAt = (path: string) => statSync(path, { bigint: true }).ino;
  const inode = ({ path }: TargetFile) => inodeAt(path);
  const shell = inodeAt(join(image.root, 'bin/sh'));

  const libc = await targets.files(found, 'libc');
  expect(libc).toHaveLength(1);
  const needed = execFileSync('sh', ['-c', `find ${image.root} -name 'libc[.-]*' -type f`], {
    encoding: 'utf8',
  }).trim();
  expect(libc.map(inode)).toEqual([inodeAt(needed)]);
  expect(libc[0]?.shown).toMatch(/^\/.*libc/);
  expect((await targets.files(found, undefined)).map(inode)).toEqual(expect.arrayContaining([shell, inodeAt(needed)]));
  expect((await targets.files(found, '/bin/sh')).map(inode)).toEqual([shell]);
  expect((await targets.files(found, '/bin/up')).map(inode)).toEqual([shell]);
  for (const path of ['/bin/leak', '/etc/passwd', 'nosuch', 'bin/sh', '', '/bin', '/bin/\0']) {
    await expect(targets.files(found, path), path).rejects.toMatchObject({ code: 'target.no_file' });
  }
  await expect(targets.files(found, 'nosuch')).rejects.toThrow(/its processes have .*libc/);
});

test.skipIf(!canGroup)('a program that was replaced while it runs is found by its mapping [needs root]', async () => {
  using image = createRoot();
  await using bed = createBed();
  const program = join(image.root, 'worker');
  copyFileSync('/bin/sleep', program);
  const inode = statSync(program, { bigint: true }).ino;
  await bed.start('/one', [program, '1000']);
  const found = await targets.resolve(`cgroup:${bed.top}/one`, signal);
  rmSync(program);
  const files = await targets.files(found, 'worker');
  expect(files).toMatchObject([{ shown: expect.stringMatching(/\/worker$/) }]);
  const [{ path } = { path: '' }] = files;
  expect(path).toMatch(/^\/proc\/\d+\/map_files\//);
  expect(statSync(path, { bigint: true }).ino).toBe(inode);
});
