import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';
import { CRI, type CriContainer, type Methods, type PodSandbox } from '../../src/targets/runtimes/cri-messages.ts';
import { type ListeningSocket, listenAtSocket } from './hostile-socket.ts';

/** A container runtime with less in it: it shows what is put into it, over real gRPC. */
export interface FakeCri extends AsyncDisposable {
  readonly socket: string;
  /** Of the next answers; every one runs in pod `shop/pod-N`. */
  containers: readonly FakeContainer[];
  /** How often each method was called. */
  readonly calls: Record<keyof Methods, number>;
  /** Containers whose status is never answered. */
  readonly stuck: Set<string>;
}

export interface FakeContainer {
  readonly id: string;
  readonly name?: string;
  readonly state?: CriContainer['state'];
  readonly pid?: number;
  readonly handler?: string;
  readonly runtimeType?: string;
  readonly cgroupsPath?: string;
  /** Of the verbose status, in place of what the rest makes. */
  readonly info?: string;
  /** Listed, but gone when its status is asked for. */
  readonly gone?: boolean;
}

export const fakeId = (n: number): string => n.toString(16).padStart(64, '0');

export async function startFakeCri(containers: readonly FakeContainer[] = []): Promise<FakeCri> {
  const folder = mkdtempSync(join(tmpdir(), 'kerntap-cri-'));
  const socket = join(folder, 'cri.sock');
  const fake = {
    socket,
    containers,
    calls: { Version: 0, ListPodSandbox: 0, ListContainers: 0, ContainerStatus: 0 },
    stuck: new Set<string>(),
  };
  const answers: { [Name in keyof Methods]: (request: Methods[Name]['request']) => object | undefined } = {
    Version: () => ({ runtime_name: 'fake' }),
    ListPodSandbox: () => ({ items: fake.containers.map(sandboxOf) }),
    ListContainers: () => ({ containers: fake.containers.map(listedOf) }),
    ContainerStatus: ({ container_id }) =>
      statusOf(fake.containers.find(({ id, gone }) => id === container_id && !gone)),
  };
  const server = new Server();
  const definition = fromJSON(CRI, { keepCase: true, longs: String, enums: String, defaults: true });
  const service = definition['runtime.v1.RuntimeService'] as Parameters<Server['addService']>[0];
  const handlers = Object.entries(answers).map(([name, answer]) => [
    name,
    (call: ServerUnaryCall<{ container_id: string; verbose: boolean }, object>, done: sendUnaryData<object>) => {
      fake.calls[name as keyof Methods] += 1;
      if (fake.stuck.has(call.request.container_id)) return;
      const value = answer(call.request);
      done(value === undefined ? { code: status.NOT_FOUND, details: 'no such container' } : null, value);
    },
  ]);
  server.addService(service, Object.fromEntries(handlers));
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return Object.assign(fake, {
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
      await rm(folder, { recursive: true, force: true });
    },
  });
}

const sandboxOf = ({ id, handler = '' }: FakeContainer): PodSandbox => ({
  id: `pod-of-${id}`,
  metadata: { name: `pod-${Number.parseInt(id, 16)}`, uid: `uid-${id}`, namespace: 'shop' },
  labels: { app: 'shop' },
  runtime_handler: handler,
});

const listedOf = ({ id, name = 'main', state = 'CONTAINER_RUNNING' }: FakeContainer): CriContainer => ({
  id,
  pod_sandbox_id: `pod-of-${id}`,
  metadata: { name },
  image: { image: 'localhost/fake:1', user_specified_image: '' },
  state,
  labels: { 'io.kubernetes.container.name': name },
});

function statusOf(container: FakeContainer | undefined) {
  if (container === undefined) return undefined;
  const { pid = 0, runtimeType = 'io.containerd.runc.v2', cgroupsPath } = container;
  const runtimeSpec = cgroupsPath === undefined ? {} : { runtimeSpec: { linux: { cgroupsPath } } };
  // As much as containerd sends of one container.
  const config = { annotations: { 'kerntap.test/filler': 'x'.repeat(8192) } };
  const info = container.info ?? JSON.stringify({ pid, runtimeType, ...runtimeSpec, config });
  return { status: { started_at: '1700000000000000000' }, info: { info } };
}

/** What a peer does who speaks HTTP/2 and then breaks gRPC's rules. A message is one byte 0, four of its length, and its bytes. */
export const HOSTILE_ANSWERS = {
  'never ends its headers': () => {},
  'never ends its answer': (stream: ServerHttp2Stream) => drip(answering(stream)),
  'closes within its answer': (stream: ServerHttp2Stream) => {
    answering(stream).write(Buffer.from([0, 0, 0, 1, 0, 10]), () => stream.session?.destroy());
  },
  'ends within its answer': (stream: ServerHttp2Stream) => {
    answering(stream).end(Buffer.from([0, 0, 0, 1, 0, 10]));
  },
  'promises four gigabytes': (stream: ServerHttp2Stream) => {
    answering(stream).write(Buffer.concat([Buffer.from([0, 255, 255, 255, 255]), Buffer.alloc(65_536)]));
  },
  'answers rubbish': (stream: ServerHttp2Stream) => {
    answering(stream).write(Buffer.concat([Buffer.from([0, 0, 0, 0, 6]), Buffer.from('rubbish').subarray(0, 6)]));
  },
  'answers as a web server': (stream: ServerHttp2Stream) => {
    stream.respond({ ':status': 404, 'content-type': 'text/html' });
    stream.end('<h1>not here</h1>');
  },
} as const;

export const hostileCri = (behaviour: keyof typeof HOSTILE_ANSWERS): Promise<ListeningSocket> =>
  listenAtSocket(serverOf(HOSTILE_ANSWERS[behaviour]));

function serverOf(answer: (stream: ServerHttp2Stream) => void): Http2Server {
  const server = createServer();
  server.on('stream', (stream) => answer(stream.on('error', () => {})));
  server.on('session', (session) => session.on('error', () => {}));
  return server;
}

function answering(stream: ServerHttp2Stream): ServerHttp2Stream {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto' });
  return stream;
}

function drip(stream: ServerHttp2Stream): void {
  stream.write(Buffer.from([0, 0, 1, 0, 0]));
  const timer = setInterval(() => stream.write('x'), 100);
  stream.on('close', () => clearInterval(timer));
}
