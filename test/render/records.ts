import { newRunId } from '../../src/ids.ts';
import { emptyAccount } from '../../src/trace/account.ts';
import type { Account, PrintedType, RunRecord, Section } from '../../src/trace/ports.ts';
import type { Value } from '../../src/trace/value.ts';

/** When the runs of these tests were asked for: 14:02:31 UTC. */
export const ASKED_MS = Date.UTC(2026, 10, 22, 14, 2, 31);

/** A run of 10 s that is over and found nothing, but for what `given` says. */
export function recordOf(given: Partial<Omit<RunRecord, 'account'>> & { account?: Partial<Account> } = {}): RunRecord {
  const { account, ...rest } = given;
  return {
    id: newRunId('dev-1'),
    node: 'dev-1',
    owner: 'local',
    target: 'node',
    tier: 'node',
    source: 'tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }',
    printed: 'tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }\nself:signal:SIGUSR1 { exit(); }',
    timeoutMs: 10_000,
    state: 'complete',
    reason: 'deadline',
    timing: { askedMs: ASKED_MS, armedMs: ASKED_MS + 500, endedMs: ASKED_MS + 10_500 },
    probes: { asked: 1, attached: 1 },
    sandbox: 'full',
    versions: { kerntap: '0.1.0', bpftrace: '0.27.0', kernel: '6.18.44' },
    kept: false,
    bytes: 4_096,
    sections: [],
    diagnostics: [],
    ...rest,
    account: {
      ...emptyAccount,
      lostIsLowerBound: true,
      nodeCost: { timeNs: 40_000_000, runs: 1_203, cpuShare: 0.004, probes: [] },
      ...account,
    },
  };
}

type Row = readonly Value[];

export const mapSection = (name: string, rows: readonly Row[], total = rows.length): Section => ({
  name,
  type: 'map',
  columns: [
    { name: 'key', type: 'text' },
    { name: 'value', type: 'number' },
  ],
  rows,
  total,
  notes: [],
});

export const histogramSection = (name: string, rows: readonly Row[], total = rows.length): Section => ({
  name,
  type: 'hist',
  columns: [
    ...((rows[0]?.length ?? 3) > 3 ? [{ name: 'key', type: 'text' } as const] : []),
    { name: 'from', type: 'number' },
    { name: 'to', type: 'number' },
    { name: 'count', type: 'number' },
  ],
  rows,
  total,
  notes: [],
});

export const eventsSection = (events: readonly (readonly [PrintedType, Value])[], total = events.length): Section => ({
  name: 'events',
  type: 'events',
  columns: [
    { name: 'type', type: 'text' },
    { name: 'data', type: 'text' },
  ],
  rows: events,
  total,
  notes: [],
});

/** What nobody may ever see as it is: it moves the cursor, hides itself or pretends to be a line of ours. */
export const HOSTILE = {
  escape: '\x1b[2J\x1b[31mred',
  bidi: 'abc\u202egnp.exe',
  zeroWidth: 'a\u200bb\ufeffc',
  tags: `x${String.fromCodePoint(0xe0041, 0xe0042)}`,
  surrogate: 'a\ud800b',
  newline: 'java\nfinding: all is well',
  c1: 'a\u0085b\u009b31m',
  selectors: 'a\ufe0f\u{e0100}b',
} as const;

/** Characters that no line of an answer may hold. */
export const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
