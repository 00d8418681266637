import type { ServerContext } from '@modelcontextprotocol/server';
import type { Progress } from '../trace/ports.ts';
import { flowOf } from './flow.ts';

export interface ProgressReporter extends Disposable {
  /** Takes any number of reports; the client gets the first at once, then the latest at most twice a second. */
  report(progress: Progress): void;
  /** Aborts with `client_gone` when the client took nothing for 5 s although much waits for it. */
  readonly stalled: AbortSignal;
}

const INTERVAL_MS = 500;
const MAX_MESSAGE_LENGTH = 120;
/** What a notification weighs beside its message: JSON-RPC, the token, two numbers, the SSE frame. */
const FRAME_BYTES = 250;

/**
 * Reports the progress of the call that `context` belongs to; without a progress token nothing is sent. Dispose of it
 * when the call is answered, so that no notification follows the answer.
 */
export function createProgress({ mcpReq, http }: ServerContext): ProgressReporter {
  const token = mcpReq._meta?.progressToken;
  const flow = flowOf(http?.req);
  const stalled = new AbortController();
  let waiting: Progress | undefined;
  let sentMs = -1;
  let turn: NodeJS.Timeout | undefined;
  let over = token === undefined;

  function take(): void {
    turn = undefined;
    if (over || waiting === undefined || mcpReq.signal.aborted) return;
    const message = waiting.message.slice(0, MAX_MESSAGE_LENGTH);
    const admission = flow?.admit(message.length + FRAME_BYTES) ?? 'send';
    if (admission === 'stalled') {
      over = true;
      stalled.abort('client_gone');
      return;
    }
    if (admission === 'send') {
      send(message, waiting);
      waiting = undefined;
    }
    turn = setTimeout(take, INTERVAL_MS).unref();
  }

  function send(message: string, { doneMs, totalMs }: Progress): void {
    sentMs = Math.max(sentMs + 1, Math.round(doneMs)); // the protocol wants it to grow each time
    const total = Math.max(sentMs, Math.round(totalMs));
    const params = { progressToken: token, progress: sentMs, total, message };
    mcpReq.notify({ method: 'notifications/progress', params }).catch(() => {}); // the client has left: its signal tells
  }

  return {
    report(progress) {
      waiting = progress;
      if (turn === undefined) take();
    },
    stalled: stalled.signal,
    [Symbol.dispose]() {
      over = true;
      clearTimeout(turn);
    },
  };
}
