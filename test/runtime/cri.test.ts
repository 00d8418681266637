import { afterAll, beforeAll, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { startTimeOf } from '../../src/process-start.ts';
import { createPodSource } from '../../src/targets/kubernetes.ts';
import { createCriRuntime } from '../../src/targets/runtimes/cri.ts';
import { type Containerd, startContainerd } from '../helpers/containers/containerd.ts';
import { canContain } from '../helpers/containers/machine.ts';
import type { Driver } from '../helpers/containers/pod-cgroup.ts';
import { startFakeApiServer } from '../helpers/fake-api-server.ts';
import { until } from '../helpers/until.ts';

const never = new AbortController().signal;
let containerd: Containerd;

beforeAll(async () => {
  if (canContain) containerd = await startContainerd();
}, 120_000);
afterAll(() => containerd?.[Symbol.asyncDispose](), 120_000);

test.skipIf(!canContain).each<Driver>(['systemd', 'cgroupfs', 'mixed'])(
  'containers of a pod have names, pid and the cgroup that the driver %s gives them [needs root]',
  async (driver) => {
    const labels = { part: 'server' };
    await using pod = await containerd.pod({
      name: 'web-0',
      namespace: 'shop',
      driver,
      hostNetwork: true,
      labels: { app: 'web' },
      containers: { main: { labels }, side: {} },
    });
    const runtime = createCriRuntime({ socket: containerd.socket, log: silentLog });
    expect(await runtime.detect()).toBe(true);
    expect(runtime.name).toBe('containerd');
    const listed = await runtime.list(never);
    expect(listed.toSorted((a, b) => a.name.localeCompare(b.name))).toEqual(
      [pod.containers.main, pod.containers.side].map(({ id, name, pid, cgroupPath }) => ({
        runtime: 'containerd',
        id,
        name,
        state: 'running',
        pod: { namespace: 'shop', name: 'web-0', uid: pod.uid },
        labels: expect.objectContaining({
          'io.kubernetes.pod.uid': pod.uid,
          app: 'web',
          ...(name === 'main' && labels),
        }),
        image: expect.any(String),
        pid,
        startTicks: BigInt(startTimeOf(pid) ?? 0),
        cgroup: cgroupPath,
        handler: 'runc',
        startedMs: expect.any(Number),
      })),
    );
  },
);

test.skipIf(!canContain)(
  'a container that ended has no pid any more, and the one that follows it has its own [needs root]',
  async () => {
    await using pod = await containerd.pod({ name: 'job', hostNetwork: true, containers: { main: {} } });
    const runtime = createCriRuntime({ socket: containerd.socket, log: silentLog });
    await runtime.detect();
    expect(await runtime.list(never)).toMatchObject([{ state: 'running', pid: pod.containers.main.pid }]);
    await pod.containers.main.stop();
    const next = await pod.addContainer('main', { attempt: 1 });
    const listed = await runtime.list(never);
    expect(listed.find(({ id }) => id === pod.containers.main.id)).not.toHaveProperty('pid');
    expect(listed.find(({ id }) => id === pod.containers.main.id)?.state).toBe('exited');
    expect(listed.find(({ id }) => id === next.id)).toMatchObject({
      state: 'running',
      pid: next.pid,
      cgroup: next.cgroupPath,
    });
  },
);

test.skipIf(!canContain)(
  'pods of containerd are found again in an API server that mirrors them, by container id [needs root]',
  async () => {
    await using pod = await containerd.pod({
      name: 'web-0',
      namespace: 'shop',
      hostNetwork: true,
      containers: { main: {} },
    });
    await using file = await containerd.pod({
      name: 'proxy',
      namespace: 'kube-system',
      hostNetwork: true,
      containers: { proxy: {} },
    });
    const runtime = createCriRuntime({ socket: containerd.socket, log: silentLog });
    await runtime.detect();
    await using api = await startFakeApiServer();
    const mirror = async () => api.mirror(await runtime.list(never), { node: 'n1', staticPods: ['proxy'] });
    await mirror();
    const source = createPodSource({ server: api.server, node: 'n1', log: silentLog });
    try {
      await until(() => source.pods() !== undefined, 'the first list');
      const byName = () => Object.fromEntries(source.pods()?.pods.map((each) => [each.name, each]) ?? []);
      expect(byName()).toMatchObject({
        'web-0': { uid: pod.uid, containers: [{ name: 'main', id: pod.containers.main.id, state: 'Running' }] },
        proxy: {
          uid: `api-${file.uid}`,
          containers: [{ id: file.containers.proxy.id }],
        },
      });
      await pod.containers.main.stop();
      const next = await pod.addContainer('main', { attempt: 1 });
      await mirror();
      await until(() => byName()['web-0']?.containers[0]?.id === next.id, 'the new container');
      expect(byName()['web-0']?.containers[0]?.restarts).toBe(1);
    } finally {
      source.close();
    }
  },
);
