import type { OutputCounts, Reason, StopCause, Verdict } from '../trace/ports.ts';
import type { ChildEnd } from './launch.ts';

/** Why we asked a run to end; `over` when its program had nothing more to do. */
export type EndCause = 'deadline' | 'over' | 'watchdog' | StopCause;

export interface Ending {
  readonly armed: boolean;
  /** The probes were not attached within their limit, so we ended it. */
  readonly late: boolean;
  /** Absent when it ended by itself. */
  readonly cause: EndCause | undefined;
  /** False for a program that never ends unless it is asked to. */
  readonly mayEnd: boolean;
  readonly interrupted: boolean;
  readonly endMarker: boolean;
  readonly child: ChildEnd;
  readonly counts: OutputCounts;
}

export const CRASHES: readonly (NodeJS.Signals | undefined)[] = [
  'SIGSEGV',
  'SIGABRT',
  'SIGBUS',
  'SIGILL',
  'SIGFPE',
  'SIGSYS',
];
const MAP_FULL = -7; // E2BIG of map_update_elem

/** Says what a run's data is worth, the worst first. */
export function verdictOf(ending: Ending): { state: Verdict; reason: Reason } {
  const { child, counts } = ending;
  if (!ending.armed) return { state: 'failed', reason: notArmed(ending) };
  if (CRASHES.includes(child.signal)) return { state: 'failed', reason: 'crashed' };

  const flood = ending.interrupted && !ending.endMarker;
  if (flood) return { state: 'interrupted', reason: 'flood' };
  // bpftrace ends in order on SIGINT and SIGTERM, whoever sent them, and drops what is queued.
  const ended = ending.cause === undefined && !ending.mayEnd;
  if (child.signal !== undefined || ended) return { state: 'interrupted', reason: 'killed' };
  // Its own exit() may come just before our signal: then nobody prints the marker, and all that was queued is out. In a
  // full buffer the marker can be lost instead, which matters where nobody counted what was lost with it.
  const isKnown = counts.seen !== undefined || counts.lostReported === 0;
  const cause = !ending.endMarker && ending.mayEnd && isKnown ? undefined : ending.cause;
  if (cause !== undefined && !ending.endMarker) return { state: 'interrupted', reason: 'no_end_marker' };

  const inTime = cause === undefined || cause === 'over' || cause === 'deadline';
  if (!inTime) return { state: 'truncated', reason: cause };
  if (counts.dropped.events > 0) return { state: 'truncated', reason: 'event_limit' };
  if (counts.droppedMaps > 0) return { state: 'truncated', reason: 'map_limit' };
  if (counts.helperErrors.some(({ code }) => code === MAP_FULL)) return { state: 'truncated', reason: 'map_full' };
  return { state: 'complete', reason: cause === 'deadline' ? 'deadline' : 'exit' };
}

function notArmed({ late, child }: Ending): Reason {
  if (late) return 'not_armed';
  switch (child.exitCode) {
    case 1: // syntax, names, types, limits
    case 2: // C definitions
      return 'invalid';
    case 255: // load and attach
      return 'unloadable';
    default:
      return 'crashed';
  }
}
