import { setTimeout as wait } from 'node:timers/promises';
import {
  type AuthInfo,
  createMcpHandler,
  isLegacyRequest,
  ProtocolError,
  preloadSchemas,
  type ServerNotifier,
} from '@modelcontextprotocol/server';
import { KerntapError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Caller } from '../trace/ports.ts';
import { defaultFlowLimits, type FlowLimits, withFlow } from './flow.ts';
import { createSessionLeg, defaultSessionLimits, type McpFactory, type SessionLimits } from './session-leg.ts';
import { isEventStream } from './stream.ts';

export interface McpEndpointOptions {
  readonly factory: McpFactory;
  /** Tools that take their time: their answers stream from the first byte, or proxies would cut the silence. */
  readonly longTools: ReadonlySet<string>;
  readonly log: Log;
  readonly sessions?: Partial<SessionLimits>;
  readonly flow?: Partial<FlowLimits>;
}

export interface McpEndpoint {
  /**
   * Answers one request that has passed the guards; `body` is what it held, undefined for GET and DELETE. Throws
   * `limit.sessions`, `request.malformed`, `server.draining`.
   */
  handle(request: Request, body: unknown, caller: Caller): Promise<Response>;
  /** Tells modern clients that subscribed what has changed. */
  readonly notify: ServerNotifier;
  /** How many 2025 sessions are open. */
  sessions(): number;
  /** Waits at most `graceMs` for the answers under way, then aborts what still runs and ends all streams. */
  close(graceMs?: number): Promise<void>;
}

const KEEP_ALIVE_MS = 15_000;
const MAX_SUBSCRIPTIONS = 64;

/** One `/mcp` for both protocol eras: 2026-07-28 without state, 2025-11-25 and before with sessions, from one factory. */
export function createMcpEndpoint(options: McpEndpointOptions): McpEndpoint {
  const { factory, longTools, log } = options;
  preloadSchemas(); // about 40 ms, which the first call would pay
  const flowLimits = { ...defaultFlowLimits, ...options.flow };

  const modern = {
    legacy: 'reject',
    keepAliveMs: KEEP_ALIVE_MS,
    maxSubscriptions: MAX_SUBSCRIPTIONS,
    onerror: (error: Error) => report(log, error),
  } as const;
  const auto = createMcpHandler(factory, modern);
  // `auto` sends nothing before the first notification or the end, but answers errors with their own HTTP status.
  const streaming = createMcpHandler(factory, { ...modern, responseMode: 'sse', bus: auto.bus });
  const sessions = createSessionLeg(factory, { ...defaultSessionLimits, ...options.sessions });
  const underWay = new Set<Promise<void>>();
  let closed = false;

  /** Makes `close` wait for the answer to `request`; what it returns tells that the answer is out. */
  function begin({ method, headers }: Request): () => void {
    const out = Promise.withResolvers<void>();
    const hasEnd = method === 'POST' && headers.get('mcp-method') !== 'subscriptions/listen';
    if (!hasEnd) return () => {};
    underWay.add(out.promise);
    return () => {
      underWay.delete(out.promise);
      out.resolve();
    };
  }

  const isLong = ({ headers }: Request) =>
    headers.get('mcp-method') === 'tools/call' && longTools.has(headers.get('mcp-name') ?? '');

  return {
    async handle(request, body, caller) {
      if (closed) throw new KerntapError('server.draining', 'The server is stopping.', { retryAfterS: 5 });
      if (request.method === 'POST' && body === undefined) {
        throw new KerntapError('request.malformed', 'The body of the request is empty.');
      }
      const authInfo = authInfoOf(caller);
      const isLegacy = await isLegacyRequest(request, body);
      const answer = () =>
        isLegacy
          ? sessions.handle(request, body, authInfo, ownerOf(caller))
          : (isLong(request) ? streaming : auto).fetch(request, { parsedBody: body, authInfo });
      const answered = begin(request);
      try {
        const response = await withFlow(request, flowLimits, answer, answered);
        if (!isEventStream(response)) answered();
        return response;
      } catch (error) {
        answered();
        throw error;
      }
    },
    notify: auto.notify,
    sessions: sessions.count,
    async close(graceMs = 0) {
      closed = true;
      const all = new AbortController();
      const late = wait(graceMs, undefined, all).catch(() => {});
      await Promise.race([Promise.all(underWay), late]);
      all.abort(); // a timer that is left would keep the process alive
      await Promise.all([auto.close(), streaming.close(), sessions.close()]);
    },
  };
}

/** Names an identity for as long as the server lives; a token may bear the name that the loopback caller has. */
const ownerOf = ({ source, name }: Caller): string => `${source}:${name}`;

/** The caller as handlers find it again, in `context.http.authInfo.extra.caller`. No token is ever kept. */
function authInfoOf(caller: Caller): AuthInfo {
  const expiresAt = Math.floor(Date.now() / 1_000) + 60; // the SDK refuses an identity without an end; each request has its own
  return { token: '', clientId: caller.name, scopes: [], expiresAt, extra: { caller } };
}

function report(log: Log, error: Error): void {
  // What a client did wrong is its own business, and its words do not belong in the log.
  if (error instanceof ProtocolError || error.message.startsWith('Rejected inbound request')) {
    log.info('mcp.refused', { kind: error.name });
  } else log.error('mcp.failed', error);
}
