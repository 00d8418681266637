import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createLog, silentLog } from '../../src/log.ts';
import { createCriRuntime } from '../../src/targets/runtimes/cri.ts';
import { RuntimeError } from '../../src/targets/runtimes/runtime-error.ts';
import { fakeId, HOSTILE_ANSWERS, hostileCri, startFakeCri } from '../helpers/fake-cri.ts';
import { HOSTILE, hostileSocket } from '../helpers/hostile-socket.ts';

const never = new AbortController().signal;

test('a container has its pod, image, state and labels from the two lists and its details from its status', async () => {
  await using cri = await startFakeCri([
    { id: fakeId(1), name: 'web', cgroupsPath: `/kubepods/burstable/pod1/${fakeId(1)}` },
    { id: fakeId(2), state: 'CONTAINER_EXITED' },
    { id: fakeId(3), state: 'CONTAINER_CREATED' },
    { id: fakeId(4), state: 7 },
  ]);
  const runtime = createCriRuntime({ socket: cri.socket, log: silentLog });
  expect(await runtime.detect()).toBe(true);
  expect(runtime.name).toBe('fake');
  const [web, ...others] = await runtime.list(never);
  expect(web).toEqual({
    runtime: 'fake',
    id: fakeId(1),
    name: 'web',
    state: 'running',
    pod: { namespace: 'shop', name: 'pod-1', uid: `uid-${fakeId(1)}` },
    labels: { app: 'shop', 'io.kubernetes.container.name': 'web' },
    image: 'localhost/fake:1',
    cgroup: `/kubepods/burstable/pod1/${fakeId(1)}`,
    handler: 'runc',
    startedMs: 1_700_000_000_000,
  });
  expect(others.map(({ state }) => state)).toEqual(['exited', 'created', 'unknown']);
  expect(cri.calls.ContainerStatus).toBe(1);
});

test.each([
  ['io.containerd.runsc.v1', 'gvisor', 'runsc'],
  ['io.containerd.kata-qemu.v2', 'secure', 'kata-qemu'],
  ['io.containerd.runc.v2', 'nvidia', 'runc'],
  ['', 'crun-vm', 'crun-vm'],
  ['', '', undefined],
])('the shim %j with the handler %j is %j', async (runtimeType, handler, expected) => {
  await using cri = await startFakeCri([{ id: fakeId(1), runtimeType, handler }]);
  const runtime = createCriRuntime({ socket: cri.socket, log: silentLog });
  await runtime.detect();
  expect((await runtime.list(never))[0]?.handler).toBe(expected);
});

test.each([
  ['/kubepods/pod1/abc', '/kubepods/pod1/abc'],
  [
    'kubepods-burstable-pod1_2.slice:cri-containerd:abc',
    '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-abc.scope',
  ],
  ['system.slice::abc', '/system.slice/abc.scope'],
  ['relative', undefined],
  ['', undefined],
])('without a process to look at, the notation %j means the cgroup %j', async (cgroupsPath, expected) => {
  await using cri = await startFakeCri([{ id: fakeId(1), cgroupsPath }]);
  const runtime = createCriRuntime({ socket: cri.socket, log: silentLog });
  await runtime.detect();
  expect((await runtime.list(never))[0]?.cgroup).toBe(expected);
});

/** A folder that looks like the host's root, whose /proc has these processes. */
function hostWith(
  processes: Readonly<Record<number, { ticks: number; cgroup: string }>>,
): Disposable & { root: string } {
  const root = mkdtempSync(join(tmpdir(), 'kerntap-host-'));
  for (const [pid, { ticks, cgroup }] of Object.entries(processes)) {
    mkdirSync(join(root, 'proc', pid), { recursive: true });
    writeFileSync(join(root, 'proc', pid, 'stat'), `${pid} (a (b) c) S ${'0 '.repeat(18)}${ticks} 0`);
    writeFileSync(join(root, 'proc', pid, 'cgroup'), cgroup);
  }
  return { root, [Symbol.dispose]: () => rmSync(root, { recursive: true }) };
}

const SCOPE = `/kubepods.slice/kubepods-pod1.slice/crio-${fakeId(1)}.scope`;

test.each([
  ['cgroup v2', `0::${SCOPE}\n`],
  ['cgroup v1', `12:pids:${SCOPE}\n4:memory:${SCOPE}\n0::/\n`],
  ['both', `4:memory:/elsewhere/${fakeId(1)}\n0::${SCOPE}\n`],
  ['a group of its own below', `0::${SCOPE}/container/init.scope\n`],
])("on %s the container's cgroup is the one that its id names", async (_, cgroup) => {
  using host = hostWith({ 77: { ticks: 4711, cgroup } });
  await using cri = await startFakeCri([{ id: fakeId(1), pid: 77, cgroupsPath: '/another' }]);
  const runtime = createCriRuntime({ socket: cri.socket, hostRoot: host.root, log: silentLog });
  await runtime.detect();
  expect(await runtime.list(never)).toMatchObject([{ pid: 77, startTicks: 4711n, cgroup: SCOPE }]);
});

test('the status of a container is asked for once for as long as its first process lives', async () => {
  using host = hostWith({ 77: { ticks: 4711, cgroup: `0::${SCOPE}` } });
  await using cri = await startFakeCri([{ id: fakeId(1), pid: 77 }]);
  const runtime = createCriRuntime({ socket: cri.socket, hostRoot: host.root, log: silentLog });
  await runtime.detect();
  await runtime.list(never);
  expect(await runtime.list(never)).toMatchObject([{ pid: 77, startTicks: 4711n }]);
  expect(cri.calls.ContainerStatus).toBe(1);
  using later = hostWith({ 77: { ticks: 9000, cgroup: '0::/system.slice/ssh.service' } });
  rmSync(host.root, { recursive: true });
  renameSync(later.root, host.root);
  mkdirSync(later.root);
  expect((await runtime.list(never))[0]).not.toHaveProperty('pid');
  expect(cri.calls.ContainerStatus).toBe(2);
});

test('a pid whose cgroup does not name the container is not taken for its process', async () => {
  const stranger = spawn('sleep', ['1000']);
  try {
    await using cri = await startFakeCri([{ id: fakeId(1), ...(stranger.pid && { pid: stranger.pid }) }]);
    const runtime = createCriRuntime({ socket: cri.socket, log: silentLog });
    await runtime.detect();
    const [container] = await runtime.list(never);
    expect(container).toMatchObject({ state: 'running' });
    expect(container).not.toHaveProperty('pid');
  } finally {
    stranger.kill();
  }
});

test.each([
  ['no JSON', '{'],
  ['another shape', '{"pid":"12","runtimeType":[],"runtimeSpec":{"linux":null}}'],
  ['nothing', ''],
])('a status whose additional information is %s leaves the container with what the lists told', async (_, info) => {
  await using cri = await startFakeCri([{ id: fakeId(1), info }]);
  const runtime = createCriRuntime({ socket: cri.socket, log: silentLog });
  await runtime.detect();
  expect(await runtime.list(never)).toMatchObject([{ id: fakeId(1), state: 'running' }]);
});

test('a container that goes between list and status is left out', async () => {
  await using cri = await startFakeCri([{ id: fakeId(1) }, { id: fakeId(2), gone: true }]);
  const runtime = createCriRuntime({ socket: cri.socket, log: silentLog });
  await runtime.detect();
  expect((await runtime.list(never)).map(({ id }) => id)).toEqual([fakeId(1)]);
});

test.concurrent('a container whose status is stuck is listed without details, and the log says so', async () => {
  const lines: string[] = [];
  await using cri = await startFakeCri([1, 2, 3].map((n) => ({ id: fakeId(n) })));
  cri.stuck.add(fakeId(2));
  const runtime = createCriRuntime({ socket: cri.socket, log: createLog((line) => lines.push(line)) });
  await runtime.detect();
  expect((await runtime.list(never)).map(({ handler }) => handler)).toEqual(['runc', undefined, 'runc']);
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ event: 'runtime.details', failed: 1, running: 3 }]);
  const { ContainerStatus } = cri.calls;
  await runtime.list(never);
  expect(cri.calls.ContainerStatus - ContainerStatus).toBe(2); // the stuck one has a pause
});

test.concurrent('300 containers of which all are stuck hold nobody up for a minute', async () => {
  const ids = Array.from({ length: 300 }, (_, n) => fakeId(n + 1));
  await using cri = await startFakeCri(ids.map((id) => ({ id })));
  for (const id of ids) cri.stuck.add(id);
  const runtime = createCriRuntime({ socket: cri.socket, log: silentLog });
  await runtime.detect();
  expect((await runtime.list(never)).map(({ id }) => id)).toEqual(ids);
  expect(cri.calls.ContainerStatus).toBeLessThan(40);
});

test('aborting a list ends it with the reason', async () => {
  await using cri = await startFakeCri([{ id: fakeId(1) }]);
  cri.stuck.add(fakeId(1));
  const runtime = createCriRuntime({ socket: cri.socket, log: silentLog });
  await runtime.detect();
  const caller = new AbortController();
  const listed = runtime.list(caller.signal);
  caller.abort(new Error('the caller is gone'));
  await expect(listed).rejects.toThrow('the caller is gone');
  cri.stuck.clear();
  expect(await runtime.list(never)).toMatchObject([{ handler: 'runc' }]);
});

test('where no socket is, or nobody listens any more, there is no such runtime', async () => {
  const cri = await startFakeCri();
  const runtime = createCriRuntime({ socket: cri.socket, log: silentLog });
  expect(await runtime.detect()).toBe(true);
  await cri[Symbol.asyncDispose]();
  await expect(runtime.list(never)).rejects.toThrow(`fake at ${cri.socket} closed the connection`);
  expect(await runtime.detect()).toBe(false);
});

test.concurrent.each(Object.keys(HOSTILE) as (keyof typeof HOSTILE)[])(
  'a socket that %s is named in the error',
  async (behaviour) => {
    await using socket = await hostileSocket(behaviour);
    const runtime = createCriRuntime({ socket: socket.path, log: silentLog });
    expect(await runtime.detect()).toBe(true);
    const error = await runtime.list(never).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(RuntimeError);
    expect(error.message).toMatch(`The runtime at ${socket.path} `);
  },
);

test.concurrent.each(Object.keys(HOSTILE_ANSWERS) as (keyof typeof HOSTILE_ANSWERS)[])(
  'a runtime that %s is named in the error',
  async (behaviour) => {
    await using socket = await hostileCri(behaviour);
    const runtime = createCriRuntime({ socket: socket.path, log: silentLog });
    const found = await runtime.detect();
    // 404 of a web server is, by gRPC's own table, UNIMPLEMENTED: what a runtime without CRI answers.
    expect(found).toBe(behaviour !== 'answers as a web server');
    if (!found) return;
    const error = await runtime.list(never).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(RuntimeError);
    expect(error.message).toMatch(`The runtime at ${socket.path} `);
  },
);
