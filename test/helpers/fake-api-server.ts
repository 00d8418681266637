import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { ApiServer } from '../../src/targets/kubernetes-api.ts';
import type { Container } from '../../src/trace/ports.ts';
import { createCertificate } from './certificate.ts';

/** The part of an API server of Kubernetes that hands out pods: get, list in pages, watch with bookmarks. */
export interface FakeApiServer extends AsyncDisposable {
  /** As a pod finds it: address, token file, ca.crt. */
  readonly server: ApiServer;
  /** Adds a pod, or changes the one of its name. */
  put(pod: PodObject): void;
  remove(namespace: string, name: string): void;
  /** Makes its pods those of these containers, as a kubelet on `node` would; pods that are not among them are removed. */
  mirror(containers: readonly Container[], options: MirrorOptions): void;
  /** Sends every watch the version up to which it has seen all. */
  bookmark(): void;
  /** Forgets all versions before now: watches and pages from there are answered with 410. */
  forget(): void;
  /** Cuts all connections in the middle. */
  cut(): void;
  /** The token that is asked for from now on; its file has it, too, unless `inFile` is something else. */
  useToken(token: string, inFile?: string): void;
  /** What is wrong with it from now on. */
  fault: Fault | undefined;
  /** How many requests came, by what they asked for. */
  readonly requests: Record<'list' | 'watch' | 'get' | 'other', number>;
  /** Watches that are open now. */
  watches(): number;
}

export type Fault =
  /** Every request is answered so. */
  | { readonly status: 401 | 403 | 409 | 410 | 429 | 500 | 503; readonly retryAfterS?: number }
  /** Every request is answered so much later. */
  | { readonly slowMs: number }
  /** Connections are taken and no request is ever answered. */
  | { readonly silent: true }
  /** Every answer is this, with status 200. */
  | { readonly body: string };

export interface MirrorOptions {
  readonly node: string;
  /** Names of pods that the kubelet has from a file: the API server knows them by another uid. */
  readonly staticPods?: readonly string[];
  readonly hostNetwork?: boolean;
}

/** A Pod of the API's v1; what is not named here is passed on as it is. */
export interface PodObject {
  readonly metadata: { readonly namespace: string; readonly name: string; readonly uid: string } & Fields;
  readonly spec: { readonly nodeName?: string } & Fields;
  readonly status: Fields;
}
type Fields = Readonly<Record<string, unknown>>;

interface Event {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: PodObject;
}
interface Watch {
  readonly response: ServerResponse;
  readonly selects: (pod: PodObject) => boolean;
  readonly bookmarks: boolean;
}

const POD_PATH = /^\/api\/v1(?:\/namespaces\/(?<namespace>[^/]+))?\/pods(?:\/(?<name>[^/]+))?$/;

/** Starts one on 127.0.0.1 with a certificate of its own; with `otherCa`, ca.crt is that of somebody else. */
export async function startFakeApiServer({ otherCa = false } = {}): Promise<FakeApiServer> {
  const folder = mkdtempSync(join(tmpdir(), 'kerntap-api-'));
  const own = createCertificate();
  const [tokenFile, caFile] = [join(folder, 'token'), join(folder, 'ca.crt')];
  writeFileSync(caFile, otherCa ? createCertificate().certificate : own.certificate);

  const pods = new Map<string, PodObject>();
  const watches = new Set<Watch>();
  const pages = new Map<string, { readonly version: number; readonly rest: readonly PodObject[] }>();
  let history: Event[] = [];
  let version = 1000;
  let forgotten = 0;
  let token = '';

  const requests = { list: 0, watch: 0, get: 0, other: 0 };
  const https = createServer({ cert: own.certificate, key: own.key }, (request, response) => {
    answer(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  const connections = new Set<Duplex>();
  https.on('connection', (socket: Duplex) => {
    connections.add(socket);
    socket.on('close', () => connections.delete(socket)).on('error', () => {});
  });
  https.on('tlsClientError', () => {});

  function record(type: Event['type'], pod: PodObject): void {
    version += 1;
    const object = { ...pod, metadata: { ...pod.metadata, resourceVersion: String(version) } };
    const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
    if (type === 'DELETED') pods.delete(key);
    else pods.set(key, object);
    const event = { version, type, object };
    history.push(event);
    for (const watch of watches) if (watch.selects(object)) send(watch.response, event.type, withKind(object));
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'https://127.0.0.1');
    const { namespace, name } = POD_PATH.exec(url.pathname)?.groups ?? {};
    const isPods = POD_PATH.test(url.pathname);
    const isWatch = ['true', '1'].includes(url.searchParams.get('watch') ?? '');
    requests[!isPods ? 'other' : name !== undefined ? 'get' : isWatch ? 'watch' : 'list'] += 1;

    const { fault } = fake;
    if (fault && 'silent' in fault) return;
    if (fault && 'slowMs' in fault) await new Promise((resolve) => setTimeout(resolve, fault.slowMs).unref());
    if (fault && 'body' in fault) return void response.end(fault.body);
    if (fault && 'status' in fault) return refuse(response, fault.status, fault.retryAfterS);
    if (url.pathname === '/version') return json(response, { major: '1', minor: '35', gitVersion: 'v1.35.0' });
    if (url.pathname === '/readyz') return void response.end('ok');
    if (request.headers.authorization !== `Bearer ${token}`) return refuse(response, 401);
    if (!isPods || request.method !== 'GET') return refuse(response, 404);

    if (name !== undefined) {
      const pod = pods.get(`${namespace}/${name}`);
      return pod === undefined ? refuse(response, 404) : json(response, withKind(pod));
    }
    const selects = selectorOf(url.searchParams, namespace);
    return isWatch ? watch(url.searchParams, response, selects) : list(url.searchParams, response, selects);
  }

  function list(query: URLSearchParams, response: ServerResponse, selects: Watch['selects']): void {
    const next = query.get('continue');
    const page = next ? pages.get(next) : { version, rest: [...pods.values()].filter(selects) };
    if (page === undefined) {
      refuse(response, 410);
      return;
    }
    // As the real one, it answers from its memory, and whole, when any version will do.
    const limit = query.get('resourceVersion') === '0' ? 0 : Number(query.get('limit') ?? 0);
    const items = limit > 0 ? page.rest.slice(0, limit) : page.rest;
    const rest = page.rest.slice(items.length);
    const more = rest.length > 0 ? `page-${page.version}-${rest.length}` : '';
    if (more) pages.set(more, { version: page.version, rest });
    const metadata = { resourceVersion: String(page.version), ...(more && { continue: more }) };
    json(response, { kind: 'PodList', apiVersion: 'v1', metadata, items });
  }

  function watch(query: URLSearchParams, response: ServerResponse, selects: Watch['selects']): void {
    const since = Number(query.get('resourceVersion') ?? 0);
    response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    if (since === 0) for (const pod of pods.values()) if (selects(pod)) send(response, 'ADDED', withKind(pod));
    if (since > 0 && since < forgotten) {
      send(response, 'ERROR', statusOf(410));
      response.end();
      return;
    }
    for (const event of history) {
      if (since > 0 && event.version > since && selects(event.object))
        send(response, event.type, withKind(event.object));
    }
    const own = { response, selects, bookmarks: query.get('allowWatchBookmarks') === 'true' };
    watches.add(own);
    const end = setTimeout(() => response.end(), Number(query.get('timeoutSeconds') || 1800) * 1000).unref();
    response.on('close', () => {
      clearTimeout(end);
      watches.delete(own);
    });
  }

  await once(https.listen(0, '127.0.0.1'), 'listening');
  const { port } = https.address() as AddressInfo;
  const fake: FakeApiServer = {
    server: { host: '127.0.0.1', port, tokenFile, caFile },
    requests,
    fault: undefined,
    watches: () => watches.size,
    put(pod) {
      record(pods.has(`${pod.metadata.namespace}/${pod.metadata.name}`) ? 'MODIFIED' : 'ADDED', pod);
    },
    remove(namespace, name) {
      const pod = pods.get(`${namespace}/${name}`);
      if (pod !== undefined) record('DELETED', pod);
    },
    mirror(containers, options) {
      const mirrored = podsOf(containers, options);
      for (const { metadata } of [...pods.values()]) {
        const stays = mirrored.some(
          (pod) => pod.metadata.name === metadata.name && pod.metadata.namespace === metadata.namespace,
        );
        if (!stays) fake.remove(metadata.namespace, metadata.name);
      }
      for (const pod of mirrored) fake.put(pod);
    },
    bookmark() {
      const object = { kind: 'Pod', apiVersion: 'v1', metadata: { resourceVersion: String(version) } };
      for (const { response, bookmarks } of watches) if (bookmarks) send(response, 'BOOKMARK', object);
    },
    forget() {
      version += 1;
      forgotten = version;
      history = [];
      pages.clear();
    },
    cut() {
      for (const socket of connections) socket.destroy();
    },
    useToken(asked, inFile = asked) {
      token = asked;
      writeFileSync(tokenFile, `${inFile}\n`);
    },
    async [Symbol.asyncDispose]() {
      const closed = once(https, 'close');
      https.close();
      fake.cut();
      await closed;
      await rm(folder, { recursive: true, force: true });
    },
  };
  fake.useToken('first');
  return fake;
}

const withKind = (pod: PodObject) => ({ kind: 'Pod', apiVersion: 'v1', ...pod });

const json = (response: ServerResponse, value: unknown): void => {
  response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
};

const send = (response: ServerResponse, type: string, object: object): void => {
  response.write(`${JSON.stringify({ type, object })}\n`);
};

const statusOf = (code: number) => ({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', code });

function refuse(response: ServerResponse, code: number, retryAfterS?: number): void {
  if (retryAfterS !== undefined) response.setHeader('retry-after', String(retryAfterS));
  response.statusCode = code;
  json(response, statusOf(code));
}

/** Which pods a request is about: those of a namespace, by fields `a.b=c` and by labels `a=b`, `a!=b`, `a`, `!a`. */
function selectorOf(query: URLSearchParams, namespace: string | undefined): (pod: PodObject) => boolean {
  const parts = (name: string) => (query.get(name) ?? '').split(',').filter(Boolean);
  const fields = parts('fieldSelector').map((part) => matcherOf(part, (pod, path) => at(pod, path.split('.'))));
  const labels = parts('labelSelector').map((part) =>
    matcherOf(part, (pod, key) => at(pod, ['metadata', 'labels', key])),
  );
  return (pod) =>
    (namespace === undefined || pod.metadata.namespace === namespace) && [...fields, ...labels].every((is) => is(pod));
}

function matcherOf(part: string, find: (pod: PodObject, key: string) => unknown): (pod: PodObject) => boolean {
  const [, not, key = '', sign, value] = /^(!?)([^!=]+)(?:(!=|==?)(.*))?$/.exec(part) ?? [];
  if (sign === undefined) return (pod) => (find(pod, key) !== undefined) === (not === '');
  return (pod) => (find(pod, key) === value) === (sign !== '!=');
}

const at = (value: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>((inner, key) => (inner as Fields | undefined)?.[key], value);

/** The pods of these containers as a kubelet reports them. */
function podsOf(
  containers: readonly Container[],
  { node, staticPods = [], hostNetwork = false }: MirrorOptions,
): PodObject[] {
  const byPod = Map.groupBy(
    containers.filter(({ pod }) => pod !== undefined),
    ({ pod }) => `${pod?.namespace}/${pod?.name}`,
  );
  return [...byPod.values()].flatMap((all) => {
    const pod = all[0]?.pod;
    if (pod === undefined) return [];
    const isStatic = staticPods.includes(pod.name);
    const names = [...new Set(all.map(({ name }) => name))];
    const statuses = names.map((name) => statusIn(all.filter((each) => each.name === name)));
    const running = all.some(({ state }) => state === 'running');
    return [
      {
        metadata: {
          namespace: pod.namespace,
          name: pod.name,
          uid: isStatic ? `api-${pod.uid}` : pod.uid,
          labels: { app: pod.name },
          ...(isStatic && { annotations: { 'kubernetes.io/config.mirror': pod.uid } }),
        },
        spec: { nodeName: node, hostNetwork, containers: names.map((name) => ({ name, resources: {} })) },
        status: {
          phase: running ? 'Running' : 'Succeeded',
          podIPs: [{ ip: '10.213.0.2' }],
          containerStatuses: statuses,
        },
      },
    ];
  });
}

/** Of the containers that had one name in turn. */
function statusIn(all: readonly Container[]) {
  const now = all.find(({ state }) => state === 'running') ?? all.at(-1);
  const state =
    now?.state === 'running'
      ? { running: { startedAt: new Date(now.startedMs ?? 0).toISOString() } }
      : { terminated: { reason: 'Completed', exitCode: 0 } };
  return { name: now?.name, containerID: `${now?.runtime}://${now?.id}`, restartCount: all.length - 1, state };
}
