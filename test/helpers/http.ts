import { connect, createServer, type Socket } from 'node:net';
import type { Env } from 'hono';
import { KerntapError } from '../../src/errors.ts';
import { type AppOptions, createApp } from '../../src/http/app.ts';
import { type Listener, listen } from '../../src/http/listen.ts';
import { createLog } from '../../src/log.ts';
import { createMcpEndpoint, type McpEndpoint, type McpEndpointOptions } from '../../src/mcp/endpoint.ts';
import type { McpFactory } from '../../src/mcp/session-leg.ts';
import type { Access, Caller } from '../../src/trace/ports.ts';

export const localCaller: Caller = { name: 'local', source: 'local', tiers: ['pod', 'node'], namespaces: ['*'] };

/** Whoever reaches the server is the loopback caller. */
export const openAccess: Access = { identify: async () => localCaller, allow: async () => {} };

/** Knows callers by tokens of the form `NAME-token`; `asked` counts how often it had to look at one. */
export function tokenAccess(names: readonly string[]): Access & { asked(): number } {
  let asked = 0;
  return {
    asked: () => asked,
    async identify(authorization) {
      if (authorization === undefined) throw new KerntapError('access.unauthenticated', 'No token was sent.');
      asked += 1;
      const name = names.find((it) => authorization === `Bearer ${it}-token`);
      if (name === undefined) throw new KerntapError('access.unauthenticated', 'The token is not accepted.');
      return { name, source: 'token', tiers: ['pod'], namespaces: [] };
    },
    allow: async () => {},
  };
}

/** The header by which `tokenAccess` knows a caller. */
export const tokenOf = (name: string) => ({ authorization: `Bearer ${name}-token` });

export interface TestServer extends AsyncDisposable {
  readonly url: string;
  /** The address of the MCP endpoint. */
  readonly mcp: string;
  readonly port: number;
  readonly endpoint: McpEndpoint;
  readonly logged: readonly string[];
}

export interface TestServerOptions<V1 extends Env, Health extends Env, Metrics extends Env>
  extends Partial<Omit<AppOptions<V1, Health, Metrics>, 'endpoint' | 'log'>>,
    Partial<Pick<McpEndpointOptions, 'longTools' | 'sessions' | 'flow'>> {
  readonly factory: McpFactory;
}

/** The product's app and endpoint on a free port, with the tools of `factory` instead of the product's. */
export async function startServer<V1 extends Env, Health extends Env, Metrics extends Env>(
  options: TestServerOptions<V1, Health, Metrics>,
): Promise<TestServer> {
  const { factory, longTools = new Set<string>(), sessions = {}, flow = {}, ...appOptions } = options;
  const logged: string[] = [];
  const log = createLog((line) => logged.push(line));
  const endpoint = createMcpEndpoint({ factory, longTools, log, sessions, flow });
  const app = createApp({
    access: openAccess,
    authentication: 'none',
    allowedHosts: [],
    allowedOrigins: [],
    ...appOptions,
    endpoint,
    log,
  });
  const listener: Listener = await listen(app, { host: '127.0.0.1', port: 0 });
  return {
    url: listener.url,
    mcp: `${listener.url}/mcp`,
    port: listener.port,
    endpoint,
    logged,
    async [Symbol.asyncDispose]() {
      await endpoint.close();
      await listener.close(1_000);
    },
  };
}

export const MODERN = '2026-07-28';
const LEGACY = '2025-11-25';

const jsonHeaders = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };

export interface RawOptions {
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
}

/** Posts any body to `url` with the headers of an MCP client; those of `headers` win. */
export const post = (
  url: string,
  body: string | Buffer<ArrayBuffer>,
  { headers = {}, signal }: RawOptions = {},
): Promise<Response> =>
  fetch(url, { method: 'POST', headers: { ...jsonHeaders, ...headers }, body, ...(signal && { signal }) });

/** Headers and body of one request of the modern era. */
export function modernRequest(method: string, params: Record<string, unknown> = {}, id: number | string = 1) {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': MODERN,
    'io.modelcontextprotocol/clientCapabilities': {},
    ...(typeof params._meta === 'object' ? params._meta : {}),
  };
  const { name } = params;
  return {
    headers: {
      'mcp-protocol-version': MODERN,
      'mcp-method': method,
      ...(typeof name === 'string' && { 'mcp-name': name }),
    } as Record<string, string>,
    body: JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta: meta } }),
  };
}

/** Calls a tool in the modern era by one raw POST. */
export function callModern(
  url: string,
  name: string,
  args: object = {},
  { headers = {}, signal }: RawOptions = {},
  id: number | string = 1,
): Promise<Response> {
  const request = modernRequest('tools/call', { name, arguments: args }, id);
  return post(url, request.body, { headers: { ...request.headers, ...headers }, ...(signal && { signal }) });
}

/** Opens a session of the 2025 era by hand. The answer is the headers that its further requests need. */
export async function openSession(url: string, headers: Record<string, string> = {}): Promise<Record<string, string>> {
  const params = { protocolVersion: LEGACY, capabilities: {}, clientInfo: { name: 'raw', version: '0' } };
  const response = await post(url, JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params }), {
    headers,
  });
  await response.text();
  const id = response.headers.get('mcp-session-id');
  if (id === null) throw new Error(`no session: HTTP ${response.status}`);
  const session = { ...headers, 'mcp-session-id': id, 'mcp-protocol-version': LEGACY };
  await post(url, JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }), { headers: session });
  return session;
}

/** A TCP proxy before `port` whose connections can all be cut at once. */
export async function startProxy(port: number): Promise<{ port: number; cut(): void } & AsyncDisposable> {
  const live = new Set<Socket>();
  const cut = () => {
    for (const socket of live) socket.destroy();
  };
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    for (const socket of [client, upstream]) {
      live.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        live.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('the proxy has no port');
  return {
    port: address.port,
    cut,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      cut();
      await closed;
    },
  };
}

export interface RawSocket extends Disposable {
  readonly socket: Socket;
  /** What has been received. */
  text(): string;
}

/** Writes `head` to a connection of its own, so that a test can do what no HTTP client would. */
export function rawSocket(port: number, head: readonly string[], body: string | Buffer = ''): RawSocket {
  const socket = connect(port, '127.0.0.1');
  let received = '';
  socket.on('error', () => {});
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    received += chunk;
  });
  socket.write([...head, '', ''].join('\r\n'));
  socket.write(body);
  return {
    socket,
    text: () => received,
    [Symbol.dispose]: () => socket.destroy(),
  };
}
