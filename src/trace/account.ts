import type { Account, TraceEnd } from './ports.ts';

/**
 * Makes the account of a trace that ended. `lost` is exact when the program's own count of its printing statements came
 * out; otherwise it is what bpftrace admits, a lower bound.
 */
export function accountOf(end: TraceEnd, redactions: Readonly<Record<string, number>>): Account {
  const { counts } = end;
  const isBroken = end.state === 'interrupted' || end.reason === 'crashed';
  return {
    events: counts.kept,
    ...(counts.seen === undefined
      ? { lost: isBroken ? 'unknown' : counts.lostReported, lostIsLowerBound: true }
      : { lost: counts.seen - counts.printedOfSeen, lostIsLowerBound: false }),
    lostReported: counts.lostReported,
    droppedByLimit: counts.dropped,
    droppedMaps: counts.droppedMaps,
    mapFull: counts.helperErrors,
    runtimeErrors: counts.runtimeErrors,
    missed: end.missed ?? 'unknown',
    ambiguousKeys: counts.ambiguousKeys,
    malformed: counts.malformed,
    repairedStrings: counts.repairedStrings,
    redactions,
    ...(end.cost && { nodeCost: end.cost }),
  };
}

/** The account of a trace that never was: nothing attached, nothing lost. */
export const emptyAccount: Account = {
  events: 0,
  lost: 0,
  lostReported: 0,
  lostIsLowerBound: false,
  droppedByLimit: { events: 0, bytes: 0 },
  droppedMaps: 0,
  mapFull: [],
  runtimeErrors: [],
  missed: 0,
  ambiguousKeys: 0,
  malformed: 0,
  repairedStrings: 0,
  redactions: {},
};
