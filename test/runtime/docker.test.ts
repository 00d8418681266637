import { afterAll, beforeAll, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { startTimeOf } from '../../src/process-start.ts';
import { createDockerRuntime } from '../../src/targets/runtimes/docker.ts';
import { type Docker, startDocker } from '../helpers/containers/docker.ts';
import { canContain } from '../helpers/containers/machine.ts';

const never = new AbortController().signal;
let docker: Docker;

beforeAll(async () => {
  if (canContain) docker = await startDocker();
}, 120_000);
afterAll(() => docker?.[Symbol.asyncDispose](), 120_000);

test.skipIf(!canContain).each([
  ['/docker', undefined],
  ['a pod of the kubelet', '/kubepods/burstable/pod11111111-2222-3333-4444-555555555555'],
])('a container below %s has name, labels, pid and cgroup [needs root]', async (_, cgroupParent) => {
  await using web = await docker.run({ name: 'web', labels: { tier: 'front' }, ...(cgroupParent && { cgroupParent }) });
  const runtime = createDockerRuntime({ socket: docker.socket, log: silentLog });
  expect(await runtime.detect()).toBe(true);
  expect(await runtime.list(never)).toEqual([
    {
      runtime: 'docker',
      id: web.id,
      name: 'web',
      state: 'running',
      labels: { tier: 'front' },
      image: expect.any(String),
      pid: web.pid,
      startTicks: BigInt(startTimeOf(web.pid) ?? 0),
      cgroup: web.cgroupPath,
      handler: 'runc',
      startedMs: expect.any(Number),
    },
  ]);
});

test.skipIf(!canContain)('a container that is started again has its new process [needs root]', async () => {
  await using web = await docker.run({ name: 'again' });
  const runtime = createDockerRuntime({ socket: docker.socket, log: silentLog });
  expect(await runtime.list(never)).toMatchObject([{ pid: web.pid }]);
  await web.stop();
  // Docker's list comes a little after its containers.
  const stopped = expect.poll(() => runtime.list(never), { timeout: 15_000 });
  await stopped.toMatchObject([{ state: 'exited' }]);
  expect((await runtime.list(never))[0]).not.toHaveProperty('pid');
  const container = docker.api.getContainer(web.id);
  await container.start();
  const { State } = await container.inspect();
  expect(State.Pid).not.toBe(web.pid);
  const again = expect.poll(() => runtime.list(never), { timeout: 15_000 });
  await again.toMatchObject([{ state: 'running', pid: State.Pid, cgroup: web.cgroupPath }]);
});
