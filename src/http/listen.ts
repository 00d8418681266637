import { createServer, type Server } from 'node:http';
import { getRequestListener, RequestError } from '@hono/node-server';
import { ofError } from '../cluster/wire.ts';
import { KerntapError } from '../errors.ts';

export interface ListenOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
}

export interface Listener {
  /** Such as `http://127.0.0.1:7337`. */
  readonly url: string;
  readonly port: number;
  /** Takes no more connections, waits at most `graceMs` for the answers under way, then cuts what is left. */
  close(graceMs: number): Promise<void>;
}

/** Anything with Hono's `fetch`. */
export interface Fetchable {
  fetch(request: Request, env: object): Response | Promise<Response>;
}

/** How long and how much a client may send. Node ends both times when the request is in, so no answer is cut by them. */
const RECEIVING = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 2_000,
  maxHeaderSize: 16 * 1024,
};
const MAX_CONNECTIONS = 512;

/** Serves `app` on a socket. Throws `start.port` when the address cannot be had. */
export async function listen(app: Fetchable, { host, port }: ListenOptions): Promise<Listener> {
  const server = createServer(
    RECEIVING,
    getRequestListener((request, env) => app.fetch(request, env), { errorHandler: answerUnreadable }),
  );
  server.maxConnections = MAX_CONNECTIONS;
  await bind(server, host, port);
  const bound = portOf(server);
  return {
    url: `http://${authorityOf(host, bound)}`,
    port: bound,
    async close(graceMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const cut = setTimeout(() => server.closeAllConnections(), graceMs);
      await closed;
      clearTimeout(cut);
    },
  };
}

/** Before the app sees a request its address is put together, which fails for a Host header that is no host. */
function answerUnreadable(error: unknown): Response {
  if (!(error instanceof RequestError)) return new Response(null, { status: 500 });
  const refusal = new KerntapError('request.malformed', 'The path or the Host header of the request cannot be read.');
  return Response.json(ofError(refusal), { status: 400 });
}

function bind(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(refused(error, authorityOf(host, port))));
    server.listen(port, host, resolve);
  });
}

function refused(cause: NodeJS.ErrnoException, address: string): KerntapError {
  const why = {
    EADDRINUSE: 'it is taken',
    EACCES: 'ports below 1024 need root',
    EADDRNOTAVAIL: 'this machine does not have the address',
    ENOTFOUND: 'the name is unknown',
  }[cause.code ?? ''];
  return new KerntapError('start.port', `Cannot listen on ${address}: ${why ?? cause.code}.`, { cause });
}

const authorityOf = (host: string, port: number) => `${host.includes(':') ? `[${host}]` : host}:${port}`;

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}
