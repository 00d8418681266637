import { createHmac, randomBytes } from 'node:crypto';
import { KerntapError } from '../errors.ts';
import type { Access } from '../trace/ports.ts';
import type { Budget } from './budget.ts';
import type { Step } from './context.ts';

const MAX_KNOWN_TOKENS = 4_096;

/**
 * Finds out who is calling, before any of the body is read. A token that was good before costs nothing; one that was not
 * is looked at only within the budget of the address it comes from, so that guesses stay cheap.
 */
export function identifyCaller(access: Access, unknownTokens: Budget): Step {
  const known = new Set<string>();
  const key = randomBytes(32);
  const digestOf = (authorization: string) => createHmac('sha256', key).update(authorization).digest('base64');

  return async (c, next) => {
    const authorization = c.req.header('authorization');
    const address = c.env?.incoming?.socket.remoteAddress ?? '';
    const digest = authorization === undefined ? undefined : digestOf(authorization);
    const isUnknown = digest !== undefined && !known.has(digest);
    if (isUnknown) refuseAbove(unknownTokens.spend(address), 'Too many unknown tokens came from this address.');
    try {
      c.set('caller', await access.identify(authorization));
    } catch (error) {
      if (digest !== undefined) known.delete(digest);
      throw error;
    }
    if (isUnknown) {
      unknownTokens.refund(address);
      known.add(digest);
      for (const oldest of known) {
        if (known.size <= MAX_KNOWN_TOKENS) break;
        known.delete(oldest);
      }
    }
    await next();
  };
}

/** Holds every caller to its own rate of calls; `costOf` says how many a request is. The loopback caller has no rate. */
export function limitCalls(calls: Budget, costOf: (path: string, body: unknown) => number): Step {
  return async (c, next) => {
    const { name, source } = c.get('caller');
    const cost = costOf(c.req.path, c.get('body'));
    if (source !== 'local' && cost > 0) refuseAbove(calls.spend(name, cost), `${name} calls too often.`);
    await next();
  };
}

function refuseAbove(retryAfterS: number, sentence: string): void {
  if (retryAfterS > 0) throw new KerntapError('limit.rate', sentence, { retryAfterS });
}
