import { describe, expect, it } from 'vitest';
import type { RunId } from '../../src/ids.ts';
import type { RunStore } from '../../src/trace/ports.ts';
import { dataFolder, exactAccount, final, mapOf, newRun, opened, printed, query, standingClock } from './runs.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;
const KIB = 1024;

/** A finished run of about `bytes`. */
async function finished(store: RunStore, bytes = 0, owner = 'local'): Promise<RunId> {
  const run = await store.open(newRun({ owner }));
  await run.finish(final({ sections: [mapOf([['x'.repeat(bytes), 1]])] }));
  return run.id;
}

const existing = async (store: RunStore, ids: readonly RunId[]) =>
  (await Promise.all(ids.map((id) => store.header(id)))).map((header) => header !== undefined);

describe('time', () => {
  it('ends for a finished run after 24 h, and it is still known then that it was there', async () => {
    using folder = dataFolder();
    const { options, pass } = standingClock();
    await using store = opened(folder.path, options);
    const id = await finished(store);
    pass(DAY - 1);
    await store.sweep();
    expect(await existing(store, [id])).toEqual([true]);
    expect(await store.expired(id)).toBe(false);
    pass(1);
    await store.sweep();
    expect(await existing(store, [id])).toEqual([false]);
    expect(await store.expired(id)).toBe(true);
    pass(8 * DAY);
    await store.sweep();
    expect(await store.expired(id)).toBe(false);
  });

  it('does not end for kept and running ones', async () => {
    using folder = dataFolder();
    const { options, pass } = standingClock();
    await using store = opened(folder.path, options);
    const running = await store.open(newRun());
    const kept = await finished(store);
    await store.change(kept, { action: 'keep' });
    pass(YEAR);
    await store.sweep();
    expect(await existing(store, [running.id, kept])).toEqual([true, true]);
  });

  it.each([
    ['an hour', HOUR],
    ['a year', YEAR],
  ])('does not end early when the wall clock jumps ahead by %s', async (_, jump) => {
    using folder = dataFolder();
    const { clock, options, pass } = standingClock();
    await using store = opened(folder.path, options);
    const id = await finished(store);
    clock.wallMs += jump;
    pass(DAY - 1);
    await store.sweep();
    expect(await existing(store, [id])).toEqual([true]);
    pass(1);
    await store.sweep();
    expect(await existing(store, [id])).toEqual([false]);
  });

  it.each([
    ['an hour', HOUR, DAY + HOUR],
    ['a year', YEAR, 2 * DAY],
  ])('is not for ever when the wall clock is set back by %s', async (_, jump, end) => {
    using folder = dataFolder();
    const { clock, options, pass } = standingClock();
    await using store = opened(folder.path, options);
    const id = await finished(store);
    clock.wallMs -= jump;
    pass(end - 1);
    await store.sweep();
    expect(await existing(store, [id])).toEqual([true]);
    pass(1);
    await store.sweep();
    expect(await existing(store, [id])).toEqual([false]);
  });

  it('goes on while no server runs', async () => {
    using folder = dataFolder();
    const { options, pass } = standingClock();
    const before = opened(folder.path, options);
    const id = await finished(before);
    await before.close();
    pass(DAY);
    await using store = opened(folder.path, options);
    await store.sweep();
    expect(await existing(store, [id])).toEqual([false]);
  });

  it('is counted once by several servers that share the folder', async () => {
    using folder = dataFolder();
    const { clock, options } = standingClock();
    await using first = opened(folder.path, options);
    await using second = opened(folder.path, options);
    const id = await finished(first);
    clock.wallMs += YEAR;
    for (let hour = 0; hour < 23; hour += 1) {
      clock.monotonicMs += HOUR;
      await first.sweep();
      await second.sweep();
    }
    expect(await existing(second, [id])).toEqual([true]);
    clock.monotonicMs += HOUR;
    await second.sweep();
    expect(await existing(first, [id])).toEqual([false]);
  });
});

describe('a quota', () => {
  it('of a run cuts what is too much and says so', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path, { quotas: { runBytes: 100 * KIB } });
    const run = await store.open(newRun());
    for (let i = 0; i < 200; i += 1) run.push(printed('x'.repeat(KIB), 1_000));
    const sections = [mapOf([['y'.repeat(50 * KIB), 1]], '@big'), mapOf([['small', 1]], '@small')];
    await run.finish(final({ account: exactAccount(200), sections }));
    const record = await store.get(run.id, query());
    const kept = record?.account.events ?? 0;
    expect(kept).toBeGreaterThan(80);
    expect(record).toMatchObject({
      state: 'truncated',
      reason: 'event_limit',
      account: { droppedByLimit: { events: 200 - kept, bytes: (200 - kept) * 1_000 }, droppedMaps: 1 },
    });
    expect(record?.sections.map(({ name, total }) => [name, total])).toEqual([
      ['events', kept],
      ['@small', 1],
    ]);
    expect(record?.bytes).toBeLessThanOrEqual(101 * KIB);
  });

  it('of a caller evicts the run that was not used for longest, never a kept or running one', async () => {
    using folder = dataFolder();
    const { options, pass } = standingClock();
    await using store = opened(folder.path, { ...options, quotas: { callerBytes: 500 * KIB } });
    const running = await store.open(newRun());
    const ids = [];
    for (let i = 0; i < 4; i += 1) {
      pass(1_000);
      ids.push(await finished(store, 100 * KIB));
    }
    const [kept, second, read, fourth] = ids as [RunId, RunId, RunId, RunId];
    await store.change(kept, { action: 'keep' });
    pass(1_000);
    await store.get(second, query());
    pass(1_000);
    const fifth = await finished(store, 100 * KIB);
    expect(await existing(store, [kept, second, read, fourth, fifth])).toEqual([true, true, false, true, true]);
    expect(await store.expired(read)).toBe(true);
    expect(await existing(store, [running.id])).toEqual([true]);
    expect(store.usage().bytes).toBeLessThanOrEqual(0.9 * 500 * KIB);
  });

  it('evicts an expired run before one that was not used for longer', async () => {
    using folder = dataFolder();
    const { options, pass } = standingClock();
    await using store = opened(folder.path, { ...options, quotas: { callerBytes: 300 * KIB } });
    const expired = await finished(store, 100 * KIB);
    pass(1_000);
    const idle = await finished(store, 100 * KIB);
    pass(DAY - 500);
    await store.get(expired, query());
    await finished(store, 100 * KIB);
    expect(await existing(store, [expired, idle])).toEqual([false, true]);
  });

  it('of a caller leaves the runs of others alone', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path, { quotas: { callerBytes: 250 * KIB } });
    const other = await finished(store, 100 * KIB, 'other');
    const first = await finished(store, 100 * KIB, 'me');
    const second = await finished(store, 100 * KIB, 'me');
    const third = await finished(store, 100 * KIB, 'me');
    expect(await existing(store, [other, first, second, third])).toEqual([true, false, true, true]);
  });

  it('of all callers evicts the oldest of any', async () => {
    using folder = dataFolder();
    const { options, pass } = standingClock();
    await using store = opened(folder.path, { ...options, quotas: { totalBytes: 250 * KIB } });
    const ids = [];
    for (const owner of ['a', 'b', 'c']) {
      ids.push(await finished(store, 100 * KIB, owner));
      pass(1_000);
    }
    expect(await existing(store, ids)).toEqual([false, true, true]);
    expect(store.usage()).toMatchObject({ runs: 2, maxBytes: 250 * KIB });
  });

  it('that kept runs fill refuses a new run and names those of the caller', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path, { quotas: { callerBytes: 210 * KIB } });
    const ids: RunId[] = [];
    for (let i = 0; i < 2; i += 1) {
      const id = await finished(store, 95 * KIB);
      await store.change(id, { action: 'keep' });
      ids.push(id);
    }
    const [named, unnamed] = ids as [RunId, RunId];
    await store.change(named, { action: 'rename', name: 'slow disk' });
    await expect(store.open(newRun())).rejects.toMatchObject({
      code: 'store.quota',
      message: `The store has no room for another run of 'local'; kept runs hold it: slow disk, ${unnamed}.`,
    });
    await (await store.open(newRun({ owner: 'other' }))).finish(final());
    await store.change(named, { action: 'delete' });
    await (await store.open(newRun())).finish(final());
  });

  it('that running runs fill stops keeping events, and counts them', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path, { quotas: { callerBytes: 400 * KIB } });
    const run = await store.open(newRun());
    for (let i = 0; i < 1_000; i += 1) run.push(printed('x'.repeat(KIB), 1_000));
    await run.finish(final({ account: exactAccount(1_000) }));
    const record = await store.get(run.id, query({ limit: 1_000 }));
    const kept = record?.account.events ?? 0;
    expect(kept).toBeGreaterThan(200);
    expect(kept + (record?.account.droppedByLimit.events ?? 0)).toBe(1_000);
    expect(record?.sections[0]?.total).toBe(kept);
    expect(record).toMatchObject({ state: 'truncated', reason: 'event_limit' });
  });
});
