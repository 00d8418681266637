import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { join } from 'node:path';
import { addAbortSignal } from 'node:stream';

/** Where the API server is, and the files with which a pod speaks to it. */
export interface ApiServer {
  readonly host: string;
  readonly port: number;
  readonly tokenFile: string;
  readonly caFile: string;
}

/** What Kubernetes gives every pod: two variables of its environment and a folder. Undefined outside of a pod. */
export function inClusterServer(
  environment: Readonly<Record<string, string | undefined>>,
  folder = '/var/run/secrets/kubernetes.io/serviceaccount',
): ApiServer | undefined {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = environment;
  if (!host || !port) return undefined;
  return { host, port: Number(port), tokenFile: join(folder, 'token'), caFile: join(folder, 'ca.crt') };
}

/** The API server answered, and not with what was asked for. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly retryAfterMs: number;

  constructor(status: number, retryAfterMs = 0) {
    super(`The Kubernetes API server answered with status ${status}.`);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** What of the API kerntap speaks. Both throw `ApiError`, or the error of the connection. */
export interface Api {
  get(path: string, query: Query, signal: AbortSignal): Promise<unknown>;
  /** One JSON value a line, for as long as the server sends them. */
  lines(path: string, query: Query, signal: AbortSignal): AsyncGenerator<unknown, void>;
}
export type Query = Readonly<Record<string, string>>;

const MAX_ANSWER_CHARS = 64 * 1024 * 1024;
/** etcd takes no object of more than 1.5 MiB. */
const MAX_LINE_CHARS = 8 * 1024 * 1024;
/** TCP asks that often whether a server that says nothing is still there. */
const KEEP_ALIVE_MS = 30_000;

export function createApi({ host, port, tokenFile, caFile }: ApiServer): Api {
  async function open(path: string, query: Query, signal: AbortSignal): Promise<IncomingMessage> {
    // Both are read anew each time: the kubelet replaces a token before its hour is over.
    const [token, ca] = await Promise.all([readFile(tokenFile, 'utf8'), readFile(caFile)]);
    const headers = { authorization: `Bearer ${token.trim()}`, accept: 'application/json', 'user-agent': 'kerntap' };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      get({ host, port, path: `${path}?${new URLSearchParams(query)}`, headers, ca, agent: false, signal }, resolve)
        .on('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS))
        .on('error', reject);
    });
    addAbortSignal(signal, response).setEncoding('utf8');
    if (response.statusCode === 200) return response;
    response.on('error', () => {}).destroy();
    throw new ApiError(response.statusCode ?? 0, Number(response.headers['retry-after'] ?? 0) * 1000 || 0);
  }

  return {
    async get(path, query, signal) {
      let text = '';
      for await (const chunk of await open(path, query, signal)) {
        text += chunk;
        if (text.length > MAX_ANSWER_CHARS) throw new Error('The answer of the Kubernetes API server is too long.');
      }
      return JSON.parse(text);
    },

    async *lines(path, query, signal) {
      let rest = '';
      for await (const chunk of await open(path, query, signal)) {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > MAX_LINE_CHARS) throw new Error('A line of the Kubernetes API server is too long.');
        for (const line of lines) if (line !== '') yield JSON.parse(line);
      }
      if (rest !== '') yield JSON.parse(rest);
    },
  };
}
