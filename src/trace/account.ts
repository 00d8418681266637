import type { Account, TraceEnd } from './ports.ts';

/** Makes the account of a trace that ended. `lost` is what bpftrace admits, a lower bound until events are counted in a map. */
export function accountOf(end: TraceEnd, redactions: Readonly<Record<string, number>>): Account {
  const { counts } = end;
  return {
    events: counts.kept,
    lost: end.state === 'interrupted' || end.reason === 'crashed' ? 'unknown' : counts.lostReported,
    lostReported: counts.lostReported,
    lostIsLowerBound: true,
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
