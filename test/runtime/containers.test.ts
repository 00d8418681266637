import { spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cgroupFolder, cgroupOf } from '../helpers/containers/cgroups.ts';
import type { Container } from '../helpers/containers/container.ts';
import { startContainerd } from '../helpers/containers/containerd.ts';
import { startDocker } from '../helpers/containers/docker.ts';
import { canContain, cgroupMount, runsFolder } from '../helpers/containers/machine.ts';
import { startRuncContainer } from '../helpers/containers/runc.ts';
import { canTrace } from '../helpers/machine.ts';
import { createTestTracer, isRunning, scalar } from '../helpers/tracer.ts';

// Not those of another run of these tests on this machine.
const UID = randomUUID();
const UID_ = UID.replaceAll('-', '_');
const ID = randomBytes(32).toString('hex');

/** Each path as a node has it: kubelet and runtime by systemd's driver, both by cgroupfs's, kubelet alone by systemd's. */
const LAYOUTS = [
  ['systemd', `/kubepods.slice/kubepods-pod${UID_}.slice/crio-${ID}.scope`],
  ['cgroupfs', `/kubepods/besteffort/pod${UID}/${ID}`],
  ['mixed', `/kubepods-burstable-pod${UID_}.slice:cri-containerd:${ID}`],
  ['outside of Kubernetes', `/machine.slice/libpod-${ID}.scope`],
] as const;

/** What this process has left on the machine, as long as it has. */
const leftOvers = () => [
  ...(existsSync(runsFolder) ? readdirSync(runsFolder) : []).filter((name) => name.startsWith(`${process.pid}-`)),
  ...readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes('.cache/containers')),
  ...readdirSync('/proc').filter(
    (pid) => /^\d+$/.test(pid) && commandOf(pid).includes(`${runsFolder}/${process.pid}-`),
  ),
  ...Object.keys(networkInterfaces()).filter((name) => name.startsWith(`kt${process.pid}-`)),
];

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // gone meanwhile
  }
}

const isGone = ({ pid, cgroupFolder }: Pick<Container, 'pid' | 'cgroupFolder'>) =>
  !isRunning(pid) && !existsSync(cgroupFolder);

describe.skipIf(!canContain)('[needs root and cgroup v2]', () => {
  test.each(LAYOUTS)('runc makes a container in the very cgroup that is named: %s', async (_layout, cgroup) => {
    const top = cgroupFolder(cgroup.split('/')[1] ?? '');
    const topWasThere = existsSync(top);
    const container = await startRuncContainer({ cgroup });
    expect(container.cgroupPath).toBe(cgroup);
    expect(container.cgroupFolder).toBe(join(cgroupMount ?? '', cgroup));
    expect(await container.exec(['cat', '/proc/self/cgroup'])).toMatch(/^0::\/$/m);
    expect(await container.exec(['ps', '-o', 'pid,comm'])).toMatch(/^ +1 idle$/m);
    await container[Symbol.asyncDispose]();
    expect(isGone(container)).toBe(true);
    expect(existsSync(top)).toBe(topWasThere);
    expect(leftOvers()).toEqual([]);
  });

  test.each([
    [
      'systemd',
      'burstable',
      /^\/kubepods\.slice\/kubepods-burstable\.slice\/kubepods-burstable-pod[0-9a-f_]{36}\.slice$/,
    ],
    ['systemd', 'guaranteed', /^\/kubepods\.slice\/kubepods-pod[0-9a-f_]{36}\.slice$/],
    ['cgroupfs', 'besteffort', /^\/kubepods\/besteffort\/pod[0-9a-f-]{36}$/],
  ] as const)('a pod with the driver %s and the class %s', async (driver, qos, path) => {
    await using containerd = await startContainerd();
    const containers = { main: {}, side: { command: ['sleep', '1000'] } };
    const pod = await containerd.pod({ name: 'web-0', namespace: 'shop', driver, qos, containers });
    const { main, side } = pod.containers;
    expect(pod.cgroupPath).toMatch(path);
    const leaf = driver === 'systemd' ? `cri-containerd-${main.id}.scope` : main.id;
    expect(main.cgroupPath).toBe(`${pod.cgroupPath}/${leaf}`);
    expect([side, cgroupOf(pod.pid)].map(({ cgroupPath }) => dirname(cgroupPath))).toEqual(
      Array(2).fill(pod.cgroupPath),
    );

    const late = await pod.addContainer('late');
    expect(await late.exec(['hostname'])).toBe('web-0\n');
    await expect(late.exec(['ls', '/absent'])).rejects.toThrow('No such file');
    await late[Symbol.asyncDispose]();
    expect(isGone(late)).toBe(true);

    await pod[Symbol.asyncDispose]();
    expect([main, side].every(isGone)).toBe(true);
  });

  test('a pod where kubelet and runtime disagree has no cgroup of its own: its containers lie at the root', async () => {
    await using containerd = await startContainerd();
    await using pod = await containerd.pod({ name: 'web-0', uid: UID, driver: 'mixed', containers: { main: {} } });
    const { main } = pod.containers;
    expect(main.cgroupPath).toBe(`/kubepods-burstable-pod${UID_}.slice:cri-containerd:${main.id}`);
    expect(existsSync(cgroupFolder(pod.cgroupPath))).toBe(false);
  });

  test('pods of one containerd reach each other', async () => {
    await using containerd = await startContainerd();
    const serve = { command: ['nc', '-ll', '-p', '80', '-e', 'hostname'] };
    await using server = await containerd.pod({ name: 'server', containers: { main: serve } });
    await using client = await containerd.pod({ name: 'client', containers: { main: {} } });
    const [, address] = /inet (10\.213\.0\.\d+)/.exec(await server.containers.main.exec(['ip', 'address'])) ?? [];
    expect(await client.containers.main.exec(['nc', address ?? '', '80'])).toBe('server\n');
  });

  test.each([
    ['none', undefined, '/docker'],
    ['as kubelet has it', `/kubepods/burstable/pod${UID}`, `/kubepods/burstable/pod${UID}`],
  ])('Docker with a cgroup parent: %s', async (_what, cgroupParent, parent) => {
    const docker = await startDocker();
    const options = cgroupParent === undefined ? {} : { cgroupParent };
    const container = await docker.run({ name: 'web', ...options });
    expect(container.cgroupPath).toBe(`${parent}/${container.id}`);
    expect(await container.exec(['echo', 'hello'])).toBe('hello\n');
    await expect(container.exec(['ls', '/absent'])).rejects.toThrow('No such file');
    await docker[Symbol.asyncDispose]();
    expect(isGone(container)).toBe(true);
    expect(leftOvers()).toEqual([]);
  });

  test('nothing is left of a containerd with pods', async () => {
    const containerd = await startContainerd();
    const pod = await containerd.pod({ name: 'web-0', containers: { main: {} } });
    await containerd[Symbol.asyncDispose]();
    expect(isGone(pod.containers.main)).toBe(true);
    expect(existsSync(cgroupFolder(pod.cgroupPath))).toBe(false);
    expect(leftOvers()).toEqual([]);
  });

  test('a cgroup that was there before stays', async () => {
    mkdirSync(cgroupFolder('/kerntap-before'));
    await (await startRuncContainer({ cgroup: '/kerntap-before/below/container' }))[Symbol.asyncDispose]();
    expect(existsSync(cgroupFolder('/kerntap-before/below'))).toBe(false);
    await expect(startRuncContainer({ cgroup: '/kerntap-before' })).rejects.toThrow('is there already');
    rmdirSync(cgroupFolder('/kerntap-before'));
  });

  test('a cgroup that two runtimes share goes with the last', async () => {
    const [first, second] = [
      await startRuncContainer({ cgroup: '/kerntap-shared/first' }),
      await startRuncContainer({ cgroup: '/kerntap-shared/second' }),
    ];
    await first[Symbol.asyncDispose]();
    expect(isRunning(second.pid)).toBe(true);
    await second[Symbol.asyncDispose]();
    expect(existsSync(cgroupFolder('/kerntap-shared'))).toBe(false);
  });

  test('what a dead test process left is taken away by the next', async () => {
    const script = join(import.meta.dirname, 'leaves-behind.ts');
    const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(child.stdout.setEncoding('utf8'), 'data');
    const left: Container[] = JSON.parse(line);
    child.kill('SIGKILL');
    await once(child, 'close');
    expect(left.map(isGone)).toEqual([false, false, false]);
    await (await startRuncContainer({ cgroup: '/kerntap-next' }))[Symbol.asyncDispose]();
    expect(left.map(isGone)).toEqual([true, true, true]);
    expect(readdirSync(runsFolder).filter((name) => name.startsWith(`${child.pid}-`))).toEqual([]);
  });
});

describe.skipIf(!canContain || !canTrace)('known answers [needs root and BPF]', () => {
  test('a command in a container counts in its cgroup, call by call', async () => {
    await using containerd = await startContainerd();
    await using docker = await startDocker();
    await using pod = await containerd.pod({ name: 'web-0', containers: { main: {} } });
    const cgroup = `/kubepods.slice/kubepods-pod${UID_}.slice/cri-containerd-${ID}.scope`;
    await using bare = await startRuncContainer({ cgroup });
    const all = [await docker.run(), pod.containers.main, bare];
    await using tracer = await createTestTracer();
    const probe = 'tracepoint:syscalls:sys_enter_getppid';
    const run = tracer.run(
      all.map(({ inode }, index) => `${probe} /cgroup == ${inode}/ { @c${index} = count(); }`).join(' '),
    );
    await run.armed;
    for (const [index, { exec }] of all.entries()) await exec(['calls', String(1000 + index)]);
    run.stop('stopped');
    const end = await run.end;
    expect(all.map((_, index) => scalar(end, `@c${index}`))).toEqual([1000, 1001, 1002]);
  });
});
