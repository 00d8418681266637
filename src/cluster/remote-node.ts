import type * as z from 'zod';
import { ERRORS, type ErrorCode, KerntapError } from '../errors.ts';
import type { CallContext, NodeApi } from '../trace/ports.ts';
import {
  CheckWire,
  ErrorWire,
  FactsWire,
  ofProbeQuery,
  ofResultQuery,
  ofRunRequest,
  ProbesWire,
  ProgressWire,
  RecordWire,
  RunsWire,
  RunWire,
  TargetsWire,
  toCheck,
  toFacts,
  toProgress,
  toRecord,
  toRun,
  toTargets,
} from './wire.ts';

export interface RemoteNodeOptions {
  /** Where the server's /v1 is, such as `http://127.0.0.1:7337`. */
  readonly url: string;
  readonly token?: string;
  readonly fetch?: typeof fetch;
}

/** Above the longest wait of the server and its slowest stop sequence. */
const ANSWER_MS = 90_000;

interface Request {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly query?: object;
  readonly body?: object;
  readonly accept?: string;
}

/**
 * The `NodeApi` of another kerntap, over its /v1. Its errors are thrown as they were there. Aborting a call closes its
 * connection, which stops the run that it waits for, and rejects with the signal's reason: the result is read by its id.
 * Throws `remote.unreachable` when nothing, or something that is not kerntap, answers.
 */
export function createRemoteNode({ url, token, fetch = globalThis.fetch }: RemoteNodeOptions): NodeApi {
  const base = new URL(url.endsWith('/') ? url : `${url}/`);

  async function send(path: string, { signal }: CallContext, request: Request = {}): Promise<Response> {
    const { method = 'GET', query = {}, body, accept = 'application/json' } = request;
    const target = new URL(`v1/${path}`, base);
    for (const [key, value] of Object.entries(query)) target.searchParams.set(key, String(value));
    const response = await fetch(target, {
      method,
      headers: {
        accept,
        ...(body && { 'content-type': 'application/json' }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      ...(body && { body: JSON.stringify(body) }),
      redirect: 'error', // a token goes nowhere but where it was meant to
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
    }).catch((error: unknown) => {
      throw unreachable(error, signal);
    });
    if (!response.ok) throw errorOf(await bodyOf(response, signal), response);
    return response;
  }

  async function ask<T extends z.ZodType>(schema: T, path: string, call: CallContext, request?: Request) {
    const response = await send(path, call, request);
    return read(schema, await bodyOf(response, call.signal));
  }

  function unreachable(cause: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason;
    return new KerntapError('remote.unreachable', `No kerntap answers at ${base.origin}.`, { cause });
  }

  /** The JSON of an answer; undefined for what is no JSON. */
  async function bodyOf(response: Response, signal: AbortSignal): Promise<unknown> {
    const text = await response.text().catch((error: unknown) => {
      throw unreachable(error, signal);
    });
    return parseJson(text);
  }

  function read<T extends z.ZodType>(schema: T, json: unknown): z.output<T> {
    const parsed = schema.safeParse(json);
    if (parsed.success) return parsed.data;
    throw new KerntapError('remote.unreachable', `What ${base.origin} answers is not of this version of kerntap.`, {
      cause: parsed.error,
    });
  }

  function errorOf(json: unknown, response?: Response): KerntapError {
    const { code, message, remedy } = read(ErrorWire, json).error;
    const seconds = Number(response?.headers.get('retry-after'));
    return new KerntapError(code in ERRORS ? (code as ErrorCode) : 'internal', message, {
      remedy,
      ...(seconds > 0 && { retryAfterS: seconds }),
    });
  }

  const runPath = (id: string, rest = '') => `runs/${encodeURIComponent(id)}${rest}`;

  return {
    async run(request, call) {
      const response = await send('runs', call, {
        method: 'POST',
        body: ofRunRequest(request),
        accept: 'text/event-stream',
      });
      try {
        for await (const { event, data } of eventsOf(response)) {
          if (event === 'progress') call.progress(toProgress(read(ProgressWire, data)));
          if (event === 'result') return toRecord(read(RecordWire, data));
          if (event === 'error') throw errorOf(data);
        }
      } catch (error) {
        throw error instanceof KerntapError ? error : unreachable(error, call.signal);
      }
      throw unreachable(undefined, call.signal);
    },
    async check(request, call) {
      return toCheck(await ask(CheckWire, 'check', call, { method: 'POST', body: request }));
    },
    async result(id, query, call) {
      return toRecord(await ask(RecordWire, runPath(id), call, { query: ofResultQuery(query) }));
    },
    async stop(id, call) {
      return toRecord(await ask(RecordWire, runPath(id, '/stop'), call, { method: 'POST' }));
    },
    async runs(filter, call) {
      return (await ask(RunsWire, 'runs', call, { query: filter })).runs.map(toRun);
    },
    async change(id, change, call) {
      const request: Request = change.action === 'delete' ? { method: 'DELETE' } : { method: 'PATCH', body: change };
      return toRun(await ask(RunWire, runPath(id), call, request));
    },
    async targets(filter, call) {
      return toTargets(await ask(TargetsWire, 'targets', call, { query: filter }));
    },
    probes: (query, call) => ask(ProbesWire, 'probes', call, { query: ofProbeQuery(query) }),
    async describe(refresh, call) {
      return toFacts(await ask(FactsWire, 'facts', call, { query: { refresh } }));
    },
  };
}

/** The events of a text/event-stream as our server writes them: a line for the name, then one for the JSON. */
async function* eventsOf(response: Response): AsyncGenerator<{ event: string; data: unknown }> {
  let event = '';
  for await (const line of linesOf(response)) {
    if (line.startsWith('event: ')) event = line.slice(7);
    if (line.startsWith('data: ')) yield { event, data: parseJson(line.slice(6)) };
  }
}

async function* linesOf(response: Response): AsyncGenerator<string> {
  let parts: string[] = []; // of one line: a result is many chunks, and joined once
  for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const [first = '', ...rest] = text.split('\n');
    parts.push(first);
    for (const next of rest) {
      yield parts.join('');
      parts = [next];
    }
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
