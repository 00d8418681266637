import { watchStream } from './stream.ts';

/**
 * What to do with a notification: `send` it; `skip` it, since the client is behind; or give the work up, since the client
 * has `stalled`.
 */
export type Admission = 'send' | 'skip' | 'stalled';

export interface Flow {
  /** Ask before each notification of about `bytes`, and send it only when told so. */
  admit(bytes: number): Admission;
}

export interface FlowLimits {
  /** Bytes that may wait for the client before notifications are skipped. */
  readonly maxBacklogBytes: number;
  /** How long a client that is behind may take nothing before it counts as stalled. */
  readonly stallMs: number;
}

export const defaultFlowLimits: FlowLimits = { maxBacklogBytes: 1 << 20, stallMs: 5_000 };

const flows = new WeakMap<Request, Flow>();

/** The flow of the HTTP request that a handler answers: `flowOf(context.http?.req)`; undefined where there is none. */
export const flowOf = (request: Request | undefined): Flow | undefined => request && flows.get(request);

/**
 * Answers `request` while it counts what the client takes. The SDK has no backpressure: `notify()` resolves at once and
 * its stream queues without bound, so a client that never reads would cost memory for as long as it likes. `streamEnded`
 * is told when an answer that is a stream was taken to its end, or cut.
 */
export async function withFlow(
  request: Request,
  { maxBacklogBytes, stallMs }: FlowLimits,
  answer: () => Promise<Response>,
  streamEnded: () => void = () => {},
): Promise<Response> {
  let queuedBytes = 0;
  let takenBytes = 0;
  let takenAtMs = performance.now();
  let cut = false;

  flows.set(request, {
    admit(bytes) {
      if (cut) return 'send'; // an aborted call ends by its signal; a 2025 session keeps bounded events for the resume
      queuedBytes = Math.max(queuedBytes, takenBytes); // keep-alives and answers are taken, but were never admitted
      if (queuedBytes - takenBytes > maxBacklogBytes) {
        return performance.now() - takenAtMs > stallMs ? 'stalled' : 'skip';
      }
      queuedBytes += bytes;
      return 'send';
    },
  });

  return watchStream(await answer(), {
    taken(bytes) {
      takenBytes += bytes;
      takenAtMs = performance.now();
    },
    ended(how) {
      cut = how === 'cut';
      streamEnded();
    },
  });
}
