import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createLog } from '../../src/log.ts';
import { createPodSource } from '../../src/targets/kubernetes.ts';
import { type ApiServer, inClusterServer } from '../../src/targets/kubernetes-api.ts';
import { type FakeApiServer, type Fault, type PodObject, startFakeApiServer } from '../helpers/fake-api-server.ts';
import { until } from '../helpers/until.ts';

const never = new AbortController().signal;

/** An API server, and a source of the pods that it has on node n1. */
async function start(options: { server?: Partial<ApiServer>; prepare?: (api: FakeApiServer) => void } = {}) {
  const api = await startFakeApiServer();
  options.prepare?.(api);
  const lines: string[] = [];
  const source = createPodSource({
    server: { ...api.server, ...options.server },
    node: 'n1',
    log: createLog((line) => lines.push(line)),
  });
  const names = () =>
    source
      .pods()
      ?.pods.map(({ name }) => name)
      .sort()
      .join(' ');
  return {
    api,
    source,
    /** Why it said that the API is away. */
    reasons: () =>
      lines
        .map((line) => JSON.parse(line))
        .filter(({ event }) => event === 'kubernetes.away')
        .map(({ why }) => why),
    shows: (expected: string) => until(() => names() === expected, `pods "${expected}"`),
    watches: () => until(() => api.watches() === 1, 'a watch'),
    async [Symbol.asyncDispose]() {
      source.close();
      await api[Symbol.asyncDispose]();
    },
  };
}

const pod = (name: string, more: { node?: string; phase?: string } = {}): PodObject => ({
  metadata: { namespace: 'shop', name, uid: `uid-${name}` },
  spec: { nodeName: more.node ?? 'n1', containers: [] },
  status: { phase: more.phase ?? 'Running' },
});
const with0 = { prepare: (api: FakeApiServer) => api.put(pod('web-0')) };

test.concurrent('the pods of this node are listed and then followed: added, changed, removed', async () => {
  await using world = await start(with0);
  const { api, source, shows } = world;
  api.put(pod('elsewhere', { node: 'n2' }));
  expect(source.pods()).toBeUndefined();
  await shows('web-0');
  api.put(pod('web-1'));
  api.put(pod('elsewhere-1', { node: 'n2' }));
  await shows('web-0 web-1');
  api.put(pod('web-1', { phase: 'Succeeded' }));
  await until(() => source.pods()?.pods.find(({ name }) => name === 'web-1')?.phase === 'Succeeded', 'the new phase');
  api.remove('shop', 'web-0');
  await shows('web-1');
  expect(api.requests).toEqual({ list: 1, watch: 1, get: 0, other: 0 });
});

test.concurrent('a watch that was cut goes on from where it was, without another list', async () => {
  await using world = await start(with0);
  const { api, shows, watches } = world;
  await watches();
  api.cut();
  api.put(pod('web-1'));
  api.remove('shop', 'web-0');
  await shows('web-1');
  expect(api.requests.list).toBe(1);
});

test.concurrent('a bookmark says up to where all was seen', async () => {
  await using world = await start(with0);
  const { api, source, shows, watches } = world;
  await watches();
  api.forget();
  const before = source.pods()?.asOfMs ?? 0;
  api.bookmark();
  await until(() => (source.pods()?.asOfMs ?? 0) > before, 'the bookmark');
  api.cut();
  await until(() => api.requests.watch === 2, 'the second watch');
  api.put(pod('web-1'));
  await shows('web-0 web-1');
  expect(api.requests.list).toBe(1);
});

test.concurrent('a version that the API server has forgotten is followed by a new list', async () => {
  await using world = await start(with0);
  const { api, shows, watches } = world;
  await watches();
  api.cut();
  api.put(pod('web-1'));
  api.remove('shop', 'web-0');
  api.forget();
  await shows('web-1');
  expect(api.requests.list).toBe(2);
  await watches();
});

test.concurrent('a list of more than one page is whole', async () => {
  await using world = await start(with0);
  const { api, source, watches } = world;
  await watches();
  api.cut();
  for (let n = 0; n < 1201; n++) api.put(pod(`p${n}`));
  api.remove('shop', 'web-0');
  api.forget();
  await until(() => source.pods()?.pods.length === 1201, '1,201 pods');
  expect(api.requests.list).toBe(4);
});

test.concurrent('the token is read anew for every request, since the kubelet replaces it', async () => {
  await using world = await start({ prepare: (api) => api.useToken('second', 'not yet') });
  const { api, source, shows } = world;
  await until(() => api.requests.list >= 2, 'refused lists');
  expect(source.pods()).toBeUndefined();
  api.put(pod('web-0'));
  api.useToken('second');
  await shows('web-0');
});

const FAULTS: readonly [string, Fault, RegExp][] = [
  ['refuses the token', { status: 401 }, /^status 401$/],
  ['denies the right', { status: 403 }, /^status 403$/],
  ['is ill', { status: 500 }, /^status 500$/],
  ['answers with nonsense', { body: '{"kind":"Table"}\n' }, /^ZodError$/],
  ['answers with a web page', { body: '<html>' }, /^SyntaxError$/],
];
test.concurrent.each(FAULTS)(
  'an API server that %s is asked again later, and the pods last seen stay',
  async (_, fault, why) => {
    await using world = await start(with0);
    const { api, source, shows, watches, reasons } = world;
    await watches();
    const seenMs = source.pods()?.asOfMs;
    api.fault = fault;
    api.cut();
    const { list, watch } = api.requests;
    await until(() => api.requests.list + api.requests.watch >= list + watch + 2, 'two more requests');
    expect(source.pods()).toMatchObject({ pods: [{ name: 'web-0' }], asOfMs: seenMs });
    await until(() => reasons().some((reason) => why.test(reason)), `the reason ${why}`);
    api.fault = undefined;
    api.put(pod('web-1'));
    await shows('web-0 web-1');
  },
);

test.concurrent('Retry-After is waited for', async () => {
  await using world = await start({
    prepare: (api) => {
      api.fault = { status: 429, retryAfterS: 3600 };
    },
  });
  const { api } = world;
  await until(() => api.requests.list === 1, 'the first list');
  api.fault = undefined;
  await wait(1500);
  expect(api.requests.list).toBe(1);
});

test.concurrent('an API server that is away for the whole time leaves the pods unknown, and one line in the log', async () => {
  await using world = await start({
    prepare: (api) => {
      api.fault = { status: 403 };
    },
  });
  const { api, source, reasons } = world;
  await until(() => api.requests.list >= 3, 'three lists');
  expect(source.pods()).toBeUndefined();
  expect(await source.nodeOf('shop', 'web-0', never)).toBeUndefined();
  expect(reasons()).toEqual(['status 403']);
});

test.concurrent('a server with a certificate of another authority is told nothing', async () => {
  await using other = await startFakeApiServer({ otherCa: true });
  await using world = await start({ server: other.server });
  const { source, reasons } = world;
  await until(() => reasons().length > 0, 'a failure');
  expect(reasons()).toEqual(['DEPTH_ZERO_SELF_SIGNED_CERT']);
  expect(source.pods()).toBeUndefined();
  expect(other.requests.list).toBe(0);
});

test.concurrent.each([
  ['nobody listens', { port: 1 }, 'ECONNREFUSED'],
  ['there is no token', { tokenFile: '/nowhere/token' }, 'ENOENT'],
])('where %s, the pods stay unknown', async (_, server, why) => {
  await using world = await start({ server });
  const { source, reasons } = world;
  await until(() => reasons().length > 0, 'a failure');
  expect(reasons()).toEqual([why]);
  expect(source.pods()).toBeUndefined();
});

test.concurrent('the node of a pod elsewhere is asked for by name', async () => {
  await using world = await start({ prepare: (api) => api.put(pod('elsewhere', { node: 'n2' })) });
  const { api, source } = world;
  expect(await source.nodeOf('shop', 'elsewhere', never)).toBe('n2');
  expect(await source.nodeOf('shop', 'missing', never)).toBeUndefined();
  expect(api.requests.get).toBe(2);
});

test.concurrent.each([
  ['..', 'x'],
  ['shop', '..'],
  ['shop', 'a/b'],
  ['shop', 'x?watch=1'],
  ['', 'x'],
])('what is no name, %j/%j, is not asked for', async (namespace, name) => {
  await using world = await start();
  expect(await world.source.nodeOf(namespace, name, never)).toBeUndefined();
  expect(world.api.requests.get + world.api.requests.other).toBe(0);
});

test.concurrent('a caller who leaves is not kept waiting by an API server that says nothing', async () => {
  await using world = await start({
    prepare: (api) => {
      api.fault = { silent: true };
    },
  });
  const caller = new AbortController();
  const asked = world.source.nodeOf('shop', 'web-0', caller.signal);
  await until(() => world.api.requests.get === 1, 'the question');
  caller.abort(new Error('the caller is gone'));
  await expect(asked).rejects.toThrow('the caller is gone');
});

test.concurrent('closing ends the watch', async () => {
  await using world = await start();
  await world.watches();
  world.source.close();
  await until(() => world.api.watches() === 0, 'the end of the watch');
});

test('a pod knows where its API server is by its environment', () => {
  expect(inClusterServer({})).toBeUndefined();
  expect(inClusterServer({ KUBERNETES_SERVICE_HOST: '10.0.0.1', KUBERNETES_SERVICE_PORT: '443' }, '/sa')).toEqual({
    host: '10.0.0.1',
    port: 443,
    tokenFile: '/sa/token',
    caFile: '/sa/ca.crt',
  });
});
