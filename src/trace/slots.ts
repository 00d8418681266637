import { KerntapError } from '../errors.ts';
import type { Caller } from './ports.ts';

export interface SlotLimits {
  /** Runs at once on this node, and those of one caller. The local caller may have all. */
  readonly total: number;
  readonly perCaller: number;
  /** Runs that one caller may start in a minute; the local caller is not counted. */
  readonly perMinute: number;
  /** Calls that may wait for a slot, and for how long. */
  readonly queue: number;
  readonly queueMs: number;
}

export const defaultSlots: SlotLimits = { total: 8, perCaller: 3, perMinute: 10, queue: 16, queueMs: 10_000 };

/** The right to run one trace. It is given back when the process of the run is reaped, not when its answer is given. */
export interface Slot extends Disposable {
  /** Tells when this slot will be free at the latest, so that a refused caller can be told. */
  until(ms: number): void;
}

export interface Slots {
  readonly taken: number;
  readonly total: number;
  /** Waits its turn. Throws `limit.runs`, `limit.rate`; `forMs` is the longest that the run can last. */
  take(caller: Caller, forMs: number, signal: AbortSignal): Promise<Slot>;
}

interface Taken {
  readonly owner: string;
  endsMs: number;
}
interface Waiting {
  readonly owner: string;
  readonly forMs: number;
  readonly local: boolean;
  give(slot: Slot): void;
}

/** `now` is a clock in milliseconds that never goes back. */
export function createSlots(limits: SlotLimits, now: () => number): Slots {
  const taken = new Set<Taken>();
  const waiting = new Set<Waiting>();
  const started = new Map<string, readonly number[]>();

  const ownOf = (owner: string) => [...taken].filter((slot) => slot.owner === owner);
  const fits = (owner: string, local: boolean) =>
    taken.size < limits.total && (local || ownOf(owner).length < limits.perCaller);

  function grant(owner: string, forMs: number): Slot {
    const slot: Taken = { owner, endsMs: now() + forMs };
    taken.add(slot);
    started.set(owner, [...recentStarts(owner), now()]);
    return {
      until(ms) {
        slot.endsMs = ms;
      },
      [Symbol.dispose]() {
        if (taken.delete(slot)) serve();
      },
    };
  }

  function serve(): void {
    for (const call of waiting) {
      if (!fits(call.owner, call.local)) continue;
      waiting.delete(call);
      call.give(grant(call.owner, call.forMs));
    }
  }

  /** Seconds until a slot that `owner` could have is free. */
  function nextFreeS(owner: string, local: boolean): number {
    const inTheWay = local || taken.size >= limits.total ? [...taken] : ownOf(owner);
    return Math.max(1, Math.ceil((Math.min(...inTheWay.map((slot) => slot.endsMs)) - now()) / 1000));
  }

  function refusal(owner: string, local: boolean): KerntapError {
    const retryAfterS = nextFreeS(owner, local);
    const whose =
      taken.size >= limits.total
        ? `All ${limits.total} slots of this node are taken`
        : `You run ${limits.perCaller} traces, which is as many as one caller may have`;
    return new KerntapError('limit.runs', `${whose}; the next is free in ${retryAfterS} s or sooner.`, { retryAfterS });
  }

  function recentStarts(owner: string): readonly number[] {
    return (started.get(owner) ?? []).filter((ms) => now() - ms < 60_000);
  }

  function checkRate(owner: string): void {
    const recent = recentStarts(owner);
    const oldest = recent[0];
    if (oldest !== undefined && recent.length >= limits.perMinute) {
      const retryAfterS = Math.max(1, Math.ceil((60_000 - (now() - oldest)) / 1000));
      const message = `You started ${recent.length} runs within a minute; the next may start in ${retryAfterS} s.`;
      throw new KerntapError('limit.rate', message, { retryAfterS });
    }
  }

  /** What a call that was given up is answered, should anybody still read it. */
  const givenUp = ({ reason }: AbortSignal): Error =>
    reason instanceof Error
      ? reason
      : new KerntapError('limit.runs', 'The call was given up before it had a slot; nothing was started.', {
          remedy: 'call again',
        });

  return {
    get taken() {
      return taken.size;
    },
    total: limits.total,
    async take(caller, forMs, signal) {
      const local = caller.source === 'local';
      const owner = caller.name;
      if (signal.aborted) throw givenUp(signal);
      if (!local) checkRate(owner);
      if (fits(owner, local)) return grant(owner, forMs);
      if (waiting.size >= limits.queue || nextFreeS(owner, local) * 1000 > limits.queueMs) throw refusal(owner, local);

      const turn = Promise.withResolvers<Slot>();
      const call: Waiting = { owner, forMs, local, give: turn.resolve };
      const tooLate = AbortSignal.any([signal, AbortSignal.timeout(limits.queueMs)]);
      const leave = () => {
        if (waiting.delete(call)) turn.reject(signal.aborted ? givenUp(signal) : refusal(owner, local));
      };
      waiting.add(call);
      tooLate.addEventListener('abort', leave, { once: true });
      try {
        return await turn.promise;
      } finally {
        tooLate.removeEventListener('abort', leave);
      }
    },
  };
}
