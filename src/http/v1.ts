import { type Context, Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import {
  ChangeBody,
  CheckBody,
  FactsParams,
  NoParams,
  ofCheck,
  ofError,
  ofFacts,
  ofProgress,
  ofRecord,
  ofRun,
  ofTargets,
  ProbesParams,
  parseInput,
  ResultParams,
  RunBody,
  RunsParams,
  TargetsParams,
  toProbeQuery,
  toResultQuery,
  toRunRequest,
} from '../cluster/wire.ts';
import { KerntapError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { CallContext, NodeApi, RunRequest, StopCause } from '../trace/ports.ts';
import type { AppEnv } from './context.ts';
import { createOpenApi } from './openapi.ts';

export interface V1Options {
  readonly node: NodeApi;
  readonly log: Log;
  readonly version: string;
}

/**
 * `NodeApi` over HTTP, one route a method. Routes carry their whole path (`app.route('/', createV1(…))`) and throw
 * `KerntapError`; authentication, the body and the form of an error are the business of the app around them.
 */
export function createV1({ node, log, version }: V1Options): Hono<AppEnv> {
  let openApi: ReturnType<typeof createOpenApi> | undefined;

  const callOf = (c: Context<AppEnv>, progress: CallContext['progress'] = () => {}): CallContext => ({
    caller: c.get('caller'),
    signal: goneSignal(c.req.raw.signal),
    log,
    progress,
  });
  const noParams = (c: Context<AppEnv>) => parseInput(NoParams, queryOf(c), 'query');

  return new Hono<AppEnv>()
    .post('/v1/runs', async (c) => {
      noParams(c);
      const request = toRunRequest(parseInput(RunBody, c.get('body'), 'body'));
      if (c.req.header('accept')?.includes('text/event-stream')) return streamRun(c, request);
      return c.json(ofRecord(await node.run(request, callOf(c))));
    })
    .get('/v1/runs', async (c) => {
      const filter = parseInput(RunsParams, queryOf(c), 'query');
      return c.json({ runs: (await node.runs(filter, callOf(c))).map(ofRun) });
    })
    .get('/v1/runs/:id', async (c) => {
      const query = toResultQuery(parseInput(ResultParams, queryOf(c), 'query'));
      return c.json(ofRecord(await node.result(c.req.param('id'), query, callOf(c))));
    })
    .patch('/v1/runs/:id', async (c) => {
      noParams(c);
      const change = parseInput(ChangeBody, c.get('body'), 'body');
      return c.json(ofRun(await node.change(c.req.param('id'), change, callOf(c))));
    })
    .delete('/v1/runs/:id', async (c) => {
      noParams(c);
      return c.json(ofRun(await node.change(c.req.param('id'), { action: 'delete' }, callOf(c))));
    })
    .post('/v1/runs/:id/stop', async (c) => {
      noParams(c);
      return c.json(ofRecord(await node.stop(c.req.param('id'), callOf(c))));
    })
    .post('/v1/check', async (c) => {
      noParams(c);
      const request = parseInput(CheckBody, c.get('body'), 'body');
      return c.json(ofCheck(await node.check(request, callOf(c))));
    })
    .get('/v1/targets', async (c) => {
      const filter = parseInput(TargetsParams, queryOf(c), 'query');
      return c.json(ofTargets(await node.targets(filter, callOf(c))));
    })
    .get('/v1/probes', async (c) => {
      const query = toProbeQuery(parseInput(ProbesParams, queryOf(c), 'query'));
      return c.json(await node.probes(query, callOf(c)));
    })
    .get('/v1/facts', async (c) => {
      const { refresh } = parseInput(FactsParams, queryOf(c), 'query');
      return c.json(ofFacts(await node.describe(refresh === 'true', callOf(c))));
    })
    .get('/v1/openapi.json', (c) => {
      noParams(c);
      openApi ??= createOpenApi(version);
      return c.json(openApi);
    });

  /** Answers with `progress` events, then `result` or, since the status is long sent, `error`. */
  function streamRun(c: Context<AppEnv>, request: RunRequest): Response {
    return streamSSE(c, async (stream) => {
      const send = (event: string, data: object) => stream.writeSSE({ event, data: JSON.stringify(data) });
      let taken = true;
      const call = callOf(c, (progress) => {
        if (!taken) return; // the client does not read: what it missed is in the next one
        taken = false;
        void send('progress', ofProgress(progress)).then(() => {
          taken = true;
        });
      });
      try {
        await send('result', ofRecord(await node.run(request, call)));
      } catch (error) {
        const requestId = c.get('requestId');
        if (!(error instanceof KerntapError)) log.error('v1.run', error, { requestId });
        const told =
          error instanceof KerntapError
            ? error
            : new KerntapError('internal', `Something unforeseen happened, request ${requestId}.`);
        await send('error', ofError(told));
      }
    });
  }
}

/** Aborts as `client_gone` when the client closed its connection, be it before or after this call. */
function goneSignal(request: AbortSignal): AbortSignal {
  const gone = new AbortController();
  const abort = () => gone.abort('client_gone' satisfies StopCause);
  if (request.aborted) abort();
  else request.addEventListener('abort', abort, { once: true });
  return gone.signal;
}

/** The query as one object; a key that stands there twice is a list, which no schema takes. */
const queryOf = (c: Context): Record<string, string | string[]> =>
  Object.fromEntries(
    Object.entries(c.req.queries()).map(([key, values]) => [key, values.length === 1 ? (values[0] ?? '') : values]),
  );
