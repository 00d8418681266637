import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { createDockerRuntime } from '../../src/targets/runtimes/docker.ts';
import { RuntimeError } from '../../src/targets/runtimes/runtime-error.ts';
import { HOSTILE, hostileSocket, listenAtSocket } from '../helpers/hostile-socket.ts';

const never = new AbortController().signal;
const ID = 'd0'.repeat(32);

const daemon = (answer: RequestListener) => listenAtSocket(createServer(answer));

/** A daemon that knows these containers. */
const fakeDocker = (containers: readonly object[], inspected: (id: string) => object | undefined = () => undefined) =>
  daemon((request, response) => {
    const id = /^\/containers\/([^/?]+)\/json(?:\?|$)/.exec(request.url ?? '')?.[1];
    const value = id === undefined ? containers : inspected(id);
    response.statusCode = value === undefined ? 404 : 200;
    response.end(JSON.stringify(value ?? { message: 'No such container' }));
  });

const list = (socket: string) => createDockerRuntime({ socket, log: silentLog }).list(never);

test('names, labels and states come from the list, handler and start from the container itself', async () => {
  const State = { Pid: 0, StartedAt: '2026-01-02T03:04:05.678901234Z' };
  await using docker = await fakeDocker(
    [
      { Id: ID, Names: ['/other/alias', '/web'], Image: 'nginx', State: 'running', Labels: { tier: 'front' } },
      { Id: `1${ID.slice(1)}`, Names: null, State: 'exited', Labels: null },
      { Id: `2${ID.slice(1)}`, Names: ['/new'], State: 'restarting' },
    ],
    (Id) => ({ Id, State, HostConfig: { Runtime: 'io.containerd.runsc.v1' } }),
  );
  expect(await list(docker.path)).toEqual([
    {
      runtime: 'docker',
      id: ID,
      name: 'web',
      state: 'running',
      image: 'nginx',
      labels: { tier: 'front' },
      handler: 'runsc',
      startedMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    },
    { runtime: 'docker', id: `1${ID.slice(1)}`, name: `1${ID.slice(1, 12)}`, state: 'exited', labels: {} },
    { runtime: 'docker', id: `2${ID.slice(1)}`, name: 'new', state: 'exited', labels: {} },
  ]);
});

test('labels of cri-dockerd make a container one of a pod', async () => {
  const Labels = {
    'io.kubernetes.container.name': 'main',
    'io.kubernetes.pod.name': 'web-0',
    'io.kubernetes.pod.namespace': 'shop',
    'io.kubernetes.pod.uid': 'abc',
  };
  await using docker = await fakeDocker([{ Id: ID, Names: ['/k8s_main_web-0'], State: 'exited', Labels }]);
  expect(await list(docker.path)).toMatchObject([
    { name: 'main', pod: { namespace: 'shop', name: 'web-0', uid: 'abc' }, labels: Labels },
  ]);
});

test('a container that goes between the list and the question for it is left out', async () => {
  await using docker = await fakeDocker([{ Id: ID, State: 'running' }]);
  expect(await list(docker.path)).toEqual([]);
});

test('where nobody listens there is no Docker, whatever DOCKER_HOST says', async () => {
  process.env.DOCKER_HOST = 'tcp://127.0.0.1:1';
  try {
    expect(await createDockerRuntime({ socket: '/nowhere.sock', log: silentLog }).detect()).toBe(false);
    await using docker = await fakeDocker([]);
    expect(await list(docker.path)).toEqual([]);
  } finally {
    delete process.env.DOCKER_HOST;
  }
});

test('aborting a list ends it with the reason', async () => {
  await using docker = await daemon(() => {});
  const caller = new AbortController();
  const listed = createDockerRuntime({ socket: docker.path, log: silentLog }).list(caller.signal);
  caller.abort(new Error('the caller is gone'));
  await expect(listed).rejects.toThrow('the caller is gone');
});

test.concurrent.each(Object.keys(HOSTILE) as (keyof typeof HOSTILE)[])(
  'a socket that %s is named in the error',
  async (behaviour) => {
    await using socket = await hostileSocket(behaviour);
    const runtime = createDockerRuntime({ socket: socket.path, log: silentLog });
    expect(await runtime.detect()).toBe(true);
    const error = await runtime.list(never).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(RuntimeError);
    expect(error.message).toMatch(`docker at ${socket.path} `);
  },
);

const json = (response: ServerResponse) => response.setHeader('content-type', 'application/json');

test.concurrent.each<[string, string, RequestListener]>([
  ['is ill', 'with HTTP status 500', (_, response) => json(response).writeHead(500).end('{"message":"ill"}')],
  ['answers another shape', 'with something else', (_, response) => json(response).end('[{"Id":5}]')],
  ['answers no JSON', 'with something else', (_, response) => response.end('<html>')],
  ['never ends its answer', 'did not answer', (_, response) => drip(json(response))],
  [
    'closes within its answer',
    'did not answer',
    (_, response) => json(response).write('[{"Id":', () => response.socket?.destroy()),
  ],
])('a daemon that %s is named in the error', async (_, said, answer) => {
  await using docker = await daemon(answer);
  const error = await list(docker.path).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(RuntimeError);
  expect(error.message).toContain(`docker at ${docker.path} `);
  expect(error.message).toContain(said);
});

function drip(response: ServerResponse): void {
  response.write('[');
  const timer = setInterval(() => response.write(' '), 100);
  response.on('close', () => clearInterval(timer));
}
