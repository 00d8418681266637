import { randomUUID } from 'node:crypto';
import {
  type AuthInfo,
  isInitializeRequest,
  isJSONRPCNotification,
  isJSONRPCRequest,
  type McpRequestContext,
  type McpServer,
  type RequestId,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server';
import { KerntapError } from '../errors.ts';
import { createEventStore } from './event-store.ts';
import { rpcErrorBody, SERVER_ERROR, SESSION_NOT_FOUND } from './rpc-error.ts';
import { isEventStream, watchStream } from './stream.ts';

/** Makes a new server: one a request in the modern era, one a session in the legacy era. */
export type McpFactory = (context: McpRequestContext) => McpServer;

export interface SessionLimits {
  readonly maxSessions: number;
  readonly maxSessionsPerCaller: number;
  /** A session that nobody has used for so long is closed. */
  readonly idleMs: number;
  /** A session with an open request, to which no stream is attached, is closed after so long: its client is gone. */
  readonly orphanMs: number;
  readonly sweepMs: number;
  /** What clients are told to wait before they resume a stream. */
  readonly retryMs: number;
  readonly keepAliveMs: number;
  readonly maxEvents: number;
  readonly maxEventBytes: number;
}

export const defaultSessionLimits: SessionLimits = {
  maxSessions: 128,
  maxSessionsPerCaller: 16,
  idleMs: 30 * 60_000,
  orphanMs: 30_000,
  sweepMs: 5_000,
  retryMs: 1_000,
  keepAliveMs: 15_000,
  maxEvents: 2_000,
  maxEventBytes: 1 << 20,
};

export interface SessionLeg {
  /** Answers a request of the 2025 era; `owner` names the identity to which its session is bound. */
  handle(request: Request, body: unknown, authInfo: AuthInfo, owner: string): Promise<Response>;
  count(): number;
  close(): Promise<void>;
}

/**
 * Serves clients of 2025-11-25 and before: one server and one transport a session, streams that can be resumed from a
 * bounded store. The SDK's own stateless leg would lose cancellation, questions to the client and resumption.
 */
export function createSessionLeg(factory: McpFactory, limits: SessionLimits): SessionLeg {
  const sessions = new Map<string, Session>();

  // Clients of SDK v2 close without a DELETE, and a closed socket is no cancellation in this era: without a sweep both leak.
  const sweeper = setInterval(() => {
    for (const session of sessions.values()) if (session.isAbandoned()) void session.close();
  }, limits.sweepMs);
  sweeper.unref();

  /** Makes room by closing the caller's own session that was longest unused; its client initializes again on a 404. */
  function makeRoom(owner: string): void {
    const own = [...sessions.values()].filter((session) => session.owner === owner);
    if (own.length < limits.maxSessionsPerCaller && sessions.size < limits.maxSessions) return;
    const unused = own.filter((session) => session.isUnused()).sort((a, b) => a.lastSeenMs() - b.lastSeenMs())[0];
    if (unused === undefined) {
      throw new KerntapError(
        'limit.sessions',
        `${own.length} sessions of this caller are in use, ${sessions.size} in all; ${limits.maxSessionsPerCaller} and ${limits.maxSessions} are allowed.`,
        { retryAfterS: Math.ceil(limits.orphanMs / 1_000) },
      );
    }
    void unused.close();
  }

  async function open(request: Request, body: unknown, authInfo: AuthInfo, owner: string): Promise<Response> {
    makeRoom(owner);
    const session = createSession(owner, limits, (id) => sessions.delete(id));
    sessions.set(session.id, session);
    try {
      await session.connect(factory({ era: 'legacy', requestInfo: request, authInfo }));
      return await session.answer(request, body, authInfo);
    } finally {
      if (!session.isOpen()) await session.close(); // refused, for example because of its Accept header
    }
  }

  return {
    async handle(request, body, authInfo, owner) {
      const id = request.headers.get('mcp-session-id');
      if (id === null) {
        if (request.method === 'POST' && isInitializeRequest(body)) return open(request, body, authInfo, owner);
        return refuse(400, SERVER_ERROR, 'Mcp-Session-Id is missing: send initialize first.');
      }
      const session = sessions.get(id);
      // A session id is no credential: for any identity but the one that opened it, the session does not exist.
      if (session?.owner !== owner) return refuse(404, SESSION_NOT_FOUND, 'Session not found: send initialize again.');
      return session.answer(request, body, authInfo);
    },
    count: () => sessions.size,
    async close() {
      clearInterval(sweeper);
      await Promise.allSettled([...sessions.values()].map((session) => session.close()));
    },
  };
}

const refuse = (status: number, code: number, message: string): Response =>
  Response.json(rpcErrorBody({ code, message }), { status });

interface Session {
  readonly id: string;
  readonly owner: string;
  connect(server: McpServer): Promise<void>;
  answer(request: Request, body: unknown, authInfo: AuthInfo): Promise<Response>;
  /** True once the client has initialized. */
  isOpen(): boolean;
  /** True when nothing waits for an answer and no stream is attached. */
  isUnused(): boolean;
  /** True when the client has been away for so long that it will not come back. */
  isAbandoned(): boolean;
  lastSeenMs(): number;
  /** Aborts the handlers that still run and ends the streams. */
  close(): Promise<void>;
}

function createSession(owner: string, limits: SessionLimits, closed: (id: string) => void): Session {
  const id = randomUUID();
  const pending = new Set<RequestId>();
  let openStreams = 0;
  let seenAtMs = performance.now();
  const seen = () => {
    seenAtMs = performance.now();
  };

  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: () => id,
    retryInterval: limits.retryMs,
    keepAliveMs: limits.keepAliveMs,
    eventStore: createEventStore({
      maxEvents: limits.maxEvents,
      maxBytes: limits.maxEventBytes,
      answered: (requestId) => pending.delete(requestId),
    }),
  });
  transport.onclose = () => closed(id);

  return {
    id,
    owner,
    connect: (server) => server.connect(transport),
    async answer(request, body, authInfo) {
      seen();
      const messages = Array.isArray(body) ? body : [body];
      const asked = messages.filter(isJSONRPCRequest).map((message) => message.id);
      for (const requestId of asked) pending.add(requestId);
      // A cancelled request gets no answer. If it stayed pending, the session would be taken for an orphan.
      for (const requestId of cancelledBy(messages)) pending.delete(requestId);

      const response = await transport.handleRequest(request, {
        authInfo,
        ...(body !== undefined && { parsedBody: body }),
      });
      if (!isEventStream(response)) {
        for (const requestId of asked) pending.delete(requestId); // refused before any handler
        return response;
      }
      openStreams += 1;
      return watchStream(response, {
        ended() {
          openStreams -= 1;
          seen();
        },
      });
    },
    isOpen: () => transport.sessionId !== undefined,
    isUnused: () => openStreams === 0 && pending.size === 0,
    isAbandoned() {
      const limitMs = pending.size > 0 ? limits.orphanMs : limits.idleMs;
      return openStreams === 0 && performance.now() - seenAtMs > limitMs;
    },
    lastSeenMs: () => seenAtMs,
    close: () => transport.close(),
  };
}

function cancelledBy(messages: readonly unknown[]): RequestId[] {
  return messages.flatMap((message) => {
    if (!isJSONRPCNotification(message) || message.method !== 'notifications/cancelled') return [];
    const id = message.params?.requestId;
    return typeof id === 'string' || typeof id === 'number' ? [id] : [];
  });
}
