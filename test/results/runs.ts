import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../src/log.ts';
import { openAccount } from '../../src/results/rows.ts';
import { createRunStore, type RunStoreOptions, type SweptRunStore } from '../../src/results/store.ts';
import type { Account, NewRun, RecordQuery, RunFinal, Section } from '../../src/trace/ports.ts';
import type { Value } from '../../src/trace/value.ts';

/** A data folder that is there for one test. */
export function dataFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'kerntap-results-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** A store that is closed at the end of its block. */
export function opened(dataDir: string, options: Partial<RunStoreOptions> = {}): SweptRunStore & AsyncDisposable {
  const store = createRunStore({ dataDir, node: 'n1', log: silentLog, ...options });
  return Object.assign(store, { [Symbol.asyncDispose]: () => store.close() });
}

export const newRun = (part: Partial<NewRun> = {}): NewRun => ({
  node: 'n1',
  owner: 'local',
  target: 'node',
  tier: 'node',
  source: 'BEGIN { exit(); }',
  printed: 'BEGIN { exit(); }\n',
  timeoutMs: 10_000,
  probes: { asked: 1 },
  sandbox: 'full',
  versions: { kerntap: '0.1.0', bpftrace: '0.27.0', kernel: '6.18.0' },
  ...part,
});

export const exactAccount = (events: number): Account => ({ ...openAccount(events), lost: 0, missed: 0 });

export const final = (part: Partial<RunFinal> = {}): RunFinal => ({
  state: 'complete',
  reason: 'deadline',
  timing: { armedMs: 1_000, endedMs: 11_000 },
  attached: 1,
  sections: [],
  account: exactAccount(0),
  diagnostics: [],
  ...part,
});

export const printed = (data: Value, bytes = 100) => ({ type: 'printf' as const, data, bytes });

export const mapOf = (rows: Section['rows'], name = '@'): Section => ({
  name,
  type: 'map',
  columns: [
    { name: 'key', type: 'text' },
    { name: 'value', type: 'number' },
  ],
  rows,
  total: rows.length,
  notes: [],
});

export const query = (part: Partial<RecordQuery> = {}): RecordQuery => ({ offset: 0, limit: 50, ...part });

/** Text that fills a batch, so that it is on disk when `push` returns. */
export const bigText = 'x'.repeat(64 * 1024);

/** A clock that stands until the test moves it. */
export function standingClock() {
  const clock = { wallMs: 1_800_000_000_000, monotonicMs: 5_000_000 };
  return {
    clock,
    options: { now: () => clock.wallMs, monotonic: () => clock.monotonicMs },
    pass(ms: number) {
      clock.wallMs += ms;
      clock.monotonicMs += ms;
    },
  };
}
