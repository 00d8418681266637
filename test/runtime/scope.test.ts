import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Container } from '../helpers/containers/container.ts';
import { startContainerd } from '../helpers/containers/containerd.ts';
import { startDocker } from '../helpers/containers/docker.ts';
import { canContain } from '../helpers/containers/machine.ts';
import { startRuncContainer } from '../helpers/containers/runc.ts';
import { canTrace } from '../helpers/machine.ts';
import { connect, type McpClient } from '../helpers/mcp-clients.ts';
import { runIdOf, runJson, type Server, startServer } from '../helpers/server.ts';

// The runtimes make calls of their own in a container before its program begins.
const CALLS = 'tracepoint:syscalls:sys_enter_getppid /comm == "calls"/ { @calls = count(); }';

const newId = () => randomBytes(32).toString('hex');

/** The paths of a pod's containers, each as a kubelet and a runtime on real nodes make them. */
const LAYOUTS: readonly (readonly [name: string, path: (uid: string, id: string) => string])[] = [
  [
    "systemd's driver",
    (uid, id) =>
      `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${uid.replaceAll('-', '_')}.slice/cri-containerd-${id}.scope`,
  ],
  [
    "systemd's driver and CRI-O, guaranteed",
    (uid, id) => `/kubepods.slice/kubepods-pod${uid.replaceAll('-', '_')}.slice/crio-${id}.scope`,
  ],
  ["cgroupfs's driver", (uid, id) => `/kubepods/burstable/pod${uid}/${id}`],
  [
    'drivers that disagree',
    (uid, id) => `/kubepods-burstable-pod${uid.replaceAll('-', '_')}.slice:cri-containerd:${id}`,
  ],
];

interface Subject {
  /** Of the target, in the order in which they call: 1000 and 500. */
  readonly containers: readonly [Container, Container];
  readonly neighbour: Container;
  /** Starts a third of the target, which calls 250 times. */
  startThird(): Promise<Container>;
}

describe.skipIf(!canContain || !canTrace)('a program about one pod [needs root, BPF and cgroup v2]', () => {
  /** What only this test run asks, so that it must not be on the machine for others. */
  async function serverWith(...args: string[]): Promise<{ server: Server; client: McpClient } & AsyncDisposable> {
    const server = await startServer({ args });
    const client = await connect(server.mcp);
    return {
      server,
      client,
      async [Symbol.asyncDispose]() {
        await client.close();
        await server[Symbol.asyncDispose]();
      },
    };
  }

  /** Runs `CALLS` on `target` while 1750 calls are made in it and 999 beside it. */
  async function countCalls(client: McpClient, target: string, subject: Subject) {
    const begun = await client.call('exec_program', {
      program: CALLS,
      target,
      timeout: 120,
      wait: false,
      control: true,
    });
    expect(begun.text).toMatch(/, running, /);
    const run_id = runIdOf(begun);
    const [first, second] = subject.containers;
    await first.exec(['calls', '1000']);
    await subject.neighbour.exec(['calls', '999']);
    await second.exec(['calls', '500']);
    const third = await subject.startThird();
    await third.exec(['calls', '250']);
    await client.call('manage_runs', { action: 'stop', run_id });
    const run = runJson(await client.call('get_result', { run_id, format: 'json' }));
    await third[Symbol.asyncDispose]();
    return run;
  }

  const selectorOf = async (client: McpClient, query: string): Promise<string> => {
    const { text } = await client.call('list_targets', { query });
    const selector = /^\s+(?:t\d+\s+)?(\S+)\s+pod\b/m.exec(text)?.[1];
    if (selector === undefined) throw new Error(`no pod in ${text}`);
    return selector;
  };

  describe('without a socket of a runtime', () => {
    let parts: Awaited<ReturnType<typeof serverWith>>;
    beforeAll(async () => {
      parts = await serverWith('--cri-sockets', '/nowhere/cri.sock', '--docker-socket', '/nowhere/docker.sock');
    });
    afterAll(() => parts[Symbol.asyncDispose]());

    test.each(LAYOUTS)('counts 1750 of 1750 and none of its neighbour: %s', async (_name, pathOf) => {
      const uid = randomUUID();
      const start = (podUid: string) => startRuncContainer({ cgroup: pathOf(podUid, newId()) });
      await using first = await start(uid);
      await using second = await start(uid);
      await using neighbour = await start(randomUUID());
      const target = await selectorOf(parts.client, uid);
      const run = await countCalls(parts.client, target, {
        containers: [first, second],
        neighbour,
        startThird: () => start(uid),
      });
      expect(run).toMatchObject({
        scope: { classes: ['T'], rules: [{ owner: "task's cgroup", fired: expect.any(Number) }] },
        sections: [{ name: '@calls', rows: [[1750]] }],
      });
    });
  });

  test('counts 1750 of 1750 of a containerd pod by its name, and of one container by its own', async () => {
    await using containerd = await startContainerd();
    await using pod = await containerd.pod({ name: 'web-0', namespace: 'shop', containers: { main: {}, side: {} } });
    await using other = await containerd.pod({ name: 'web-1', namespace: 'shop', containers: { main: {} } });
    await using parts = await serverWith('--cri-sockets', containerd.socket);
    const subject = {
      containers: [pod.containers.main, pod.containers.side] as const,
      neighbour: other.containers.main,
      startThird: () => pod.addContainer('late'),
    };
    const run = await countCalls(parts.client, 'shop/web-0', subject);
    expect(run).toMatchObject({
      target: 'shop/web-0',
      scope: { notes: [expect.stringMatching(/^container late was started during the trace: included$/)] },
      sections: [{ name: '@calls', rows: [[1750]] }],
    });
    const main = await countCalls(parts.client, 'shop/web-0/main', subject);
    expect(main.sections).toMatchObject([{ name: '@calls', rows: [[1000]] }]);
  });

  test('probes of a program in an image are found by name, and those of a neighbour with the same image are not counted', async () => {
    await using containerd = await startContainerd();
    await using pod = await containerd.pod({ name: 'web-0', namespace: 'shop', containers: { main: {} } });
    await using other = await containerd.pod({ name: 'web-1', namespace: 'shop', containers: { main: {} } });
    await using parts = await serverWith('--cri-sockets', containerd.socket);
    const listed = await parts.client.call('list_probes', { target: 'shop/web-0', filter: 'uprobe:calls:call_*' });
    const probe = /^uprobe:\S*calls:call_once$/m.exec(listed.text)?.[0] ?? listed.text;
    const program = `${probe} { @ = count(); }`;
    const begun = await parts.client.call('exec_program', { program, target: 'shop/web-0', timeout: 120, wait: false });
    expect(begun.text).toMatch(/, running, /);
    const run_id = runIdOf(begun);
    await other.containers.main.exec(['calls', '999']);
    await pod.containers.main.exec(['calls', '1000']);
    await parts.client.call('manage_runs', { action: 'stop', run_id });
    const run = runJson(await parts.client.call('get_result', { run_id, format: 'json' }));
    expect(run).toMatchObject({ sections: [{ name: '@', rows: [[1000]] }], account: { node_cost: { runs: 1999 } } });
  });

  test('counts a Docker container by its name, and a pod that Docker made by its cgroup', async () => {
    await using docker = await startDocker();
    const uid = randomUUID();
    const cgroupParent = `/kubepods/burstable/pod${uid}`;
    await using first = await docker.run({ name: 'first', cgroupParent });
    await using second = await docker.run({ name: 'second', cgroupParent });
    await using neighbour = await docker.run({ name: 'neighbour' });
    await using parts = await serverWith('--docker-socket', docker.socket);
    const subject = {
      containers: [first, second] as const,
      neighbour,
      startThird: () => docker.run({ name: 'third', cgroupParent }),
    };
    const pod = await countCalls(parts.client, await selectorOf(parts.client, uid), subject);
    expect(pod.sections).toMatchObject([{ name: '@calls', rows: [[1750]] }]);
    const one = await countCalls(parts.client, 'container:first', subject);
    expect(one.sections).toMatchObject([{ name: '@calls', rows: [[1000]] }]);
  });
});
