import type { Account, PrintedEvent, Reason, RunFinal, RunHeader } from '../trace/ports.ts';
import { encodeValue } from '../trace/value.ts';
import { openAccount, type StoredBatch, type StoredSection, storeSections } from './rows.ts';

/** Events are written when so many bytes of them wait, or at the next tick. */
export const BATCH_BYTES = 64 * 1024;

/** Events that are not on disk yet, each as JSON; `printedBytes` is their size in bpftrace's output. */
export interface Batch {
  readonly first: number;
  readonly rows: string[];
  bytes: number;
  printedBytes: number;
}

/** A run of this server that is not, or not wholly, on disk. `bytes` and `events` count what is on disk, too. */
export interface LiveRun {
  readonly key: number;
  header: RunHeader;
  readonly stop: AbortController;
  readonly stored: StoredBatch[];
  waiting: Batch[];
  events: number;
  bytes: number;
  /** Events that the quotas had no room for. */
  readonly cut: { events: number; bytes: number };
  /** What `armed` told is not on disk. */
  dirty: boolean;
  over: boolean;
  ending?: Promise<void>;
  /** The end, while the disk does not take it. */
  end?: RunEnd;
}

export interface RunEnd {
  readonly final: RunFinal;
  readonly sections: readonly StoredSection[];
}

/** A run whose header is on disk under `key`, and nothing else. */
export const liveRun = (key: number, header: RunHeader): LiveRun => ({
  key,
  header,
  stop: new AbortController(),
  stored: [],
  waiting: [],
  events: 0,
  bytes: header.bytes,
  cut: { events: 0, bytes: 0 },
  dirty: false,
  over: false,
});

/** Adds an event to those that wait; true when a batch is full. What `maxBytes` has no room for is counted as cut. */
export function addEvent(run: LiveRun, event: PrintedEvent, maxBytes: number): boolean {
  const row = encodeEvent(event);
  const bytes = row === undefined ? 0 : Buffer.byteLength(row) + 1;
  if (row === undefined || run.bytes + bytes > maxBytes) {
    run.cut.events += 1;
    run.cut.bytes += event.bytes;
    return false;
  }
  let batch = run.waiting.at(-1);
  if (batch === undefined || batch.bytes >= BATCH_BYTES) {
    batch = { first: run.events, rows: [], bytes: 0, printedBytes: 0 };
    run.waiting.push(batch);
  }
  batch.rows.push(row);
  batch.bytes += bytes;
  batch.printedBytes += event.bytes;
  run.events += 1;
  run.bytes += bytes;
  return batch.bytes >= BATCH_BYTES;
}

/** Undefined for what JSON cannot hold, such as a value that is nested too deep. */
function encodeEvent(event: PrintedEvent): string | undefined {
  try {
    return encodeValue([event.type, event.data]);
  } catch {
    return undefined;
  }
}

export const waitingBytes = (run: LiveRun) => run.waiting.reduce((sum, batch) => sum + batch.bytes, 0);

/** What the events that wait count for in an account. */
export const waitingCounts = (run: LiveRun) => ({
  events: run.waiting.reduce((sum, batch) => sum + batch.rows.length, 0),
  bytes: run.waiting.reduce((sum, batch) => sum + batch.printedBytes, 0),
});

/** Gives up the events that wait: the quotas have no room for them. */
export function cutWaiting(run: LiveRun): void {
  const { events, bytes } = waitingCounts(run);
  run.events -= events;
  run.bytes -= waitingBytes(run);
  run.cut.events += events;
  run.cut.bytes += bytes;
  run.waiting = [];
}

/** The end of a run as far as `maxBytes` a run has room for it. */
export function endOf(run: LiveRun, given: RunFinal, maxBytes: number): RunEnd {
  const sections = storeSections(given.sections, maxBytes - run.bytes);
  const droppedMaps = given.sections.length - sections.length;
  const account = accountWithout(given.account, run.events, run.cut, droppedMaps);
  let final: RunFinal = { ...given, account, sections: sections.map(({ section }) => section) };
  if (run.cut.events > 0) final = cutShort(final, 'event_limit');
  if (droppedMaps > 0) final = cutShort(final, 'map_limit');
  return { final, sections };
}

/** The verdict of a run of which something could not be kept: what was complete is not. */
export const cutShort = (final: RunFinal, reason: Reason): RunFinal =>
  final.state === 'complete' ? { ...final, state: 'truncated', reason } : final;

/** The account when only `events` of the events are kept and some sections are not. */
export const accountWithout = (
  account: Account,
  events: number,
  missing: { readonly events: number; readonly bytes: number },
  droppedMaps: number,
): Account => ({
  ...account,
  events,
  droppedByLimit: {
    events: account.droppedByLimit.events + missing.events,
    bytes: account.droppedByLimit.bytes + missing.bytes,
  },
  droppedMaps: account.droppedMaps + droppedMaps,
});

/** How a run ends whose server closes the store before it is over. */
export const drained = (run: LiveRun, endedMs: number): RunFinal => ({
  state: 'interrupted',
  reason: 'drained',
  timing: { ...(run.header.timing.armedMs === undefined ? {} : { armedMs: run.header.timing.armedMs }), endedMs },
  attached: run.header.probes.attached ?? 0,
  sections: [],
  account: openAccount(run.events),
  diagnostics: [],
});
