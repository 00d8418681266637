import { execFileSync } from 'node:child_process';
import { closeSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createLog } from '../../src/log.ts';
import { isRoot } from '../helpers/machine.ts';
import { dataFolder, exactAccount, final, mapOf, newRun, opened, printed, query } from './runs.ts';

const MIB = 1024 * 1024;

/** A disk of its own, of `bytes`. */
function smallDisk(bytes: number) {
  const folder = dataFolder();
  const { path } = folder;
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path]);
  const filler = join(path, 'filler');
  return {
    path,
    fill() {
      const fd = openSync(filler, 'a');
      try {
        for (const size of [65_536, 4_096]) {
          const chunk = Buffer.alloc(size);
          try {
            while (writeSync(fd, chunk) > 0);
          } catch {
            // There is no room for so much.
          }
        }
      } finally {
        closeSync(fd);
      }
      expect(statfsSync(path).bavail).toBe(0);
    },
    free: () => rmSync(filler),
    [Symbol.dispose]() {
      execFileSync('umount', ['--lazy', path]);
      folder[Symbol.dispose]();
    },
  };
}

const text = (i: number) => `event ${i} ${'.'.repeat(1_000)}`;

describe.skipIf(!isRoot)('a full disk [needs root]', () => {
  it('refuses new runs, keeps what runs in memory and loses no finished one', async () => {
    using disk = smallDisk(6 * MIB);
    const lines: string[] = [];
    const store = opened(disk.path, { log: createLog((line) => lines.push(line)) });
    const finished = await store.open(newRun());
    finished.push(printed('before'));
    await finished.finish(final({ sections: [mapOf([['a', 1]])], account: exactAccount(1) }));
    const run = await store.open(newRun());
    for (let i = 0; i < 100; i += 1) run.push(printed(text(i)));

    await store.sweep();
    disk.fill();
    for (let i = 100; i < 2_000; i += 1) run.push(printed(text(i), 10));
    await expect(store.open(newRun())).rejects.toMatchObject({
      code: 'store.full',
      message: `The disk of the data folder ${disk.path} does not take another run.`,
    });
    const end = final({ sections: [mapOf([['k', 7]])], account: exactAccount(2_000) });
    await run.finish(end);

    const inMemory = await store.get(run.id, query({ offset: 1_990 }));
    expect(inMemory).toMatchObject({ state: 'truncated', reason: 'store_full', account: { events: 2_000, lost: 0 } });
    expect(inMemory?.sections.map(({ name, total }) => [name, total])).toEqual([
      ['events', 2_000],
      ['@', 1],
    ]);
    expect(inMemory?.sections[0]?.rows.at(-1)).toEqual(['printf', text(1_999)]);
    expect((await store.get(finished.id, query()))?.sections).toMatchObject([
      { rows: [['printf', 'before']] },
      { total: 1 },
    ]);
    expect(await store.list({ state: 'truncated', limit: 9 })).toMatchObject([{ id: run.id, reason: 'store_full' }]);
    expect(lines.filter((line) => line.includes('store.write_failed'))).toHaveLength(1);

    // A server that starts now finds the verdict, and the events that had been written.
    await using other = opened(disk.path);
    const onDisk = await other.get(run.id, query());
    expect(onDisk).toMatchObject({
      state: 'truncated',
      reason: 'store_full',
      diagnostics: [],
      account: { lost: 0, droppedMaps: 1 },
    });
    const events = onDisk?.account.events ?? 0;
    expect(events).toBeGreaterThan(0);
    expect(events + (onDisk?.account.droppedByLimit.events ?? 0)).toBe(2_000);
    expect(onDisk?.sections).toMatchObject([{ name: 'events', total: events }]);
    expect(await other.get(finished.id, query())).toMatchObject({ state: 'complete', diagnostics: [] });

    // With room again, what was in memory is written.
    disk.free();
    await store.sweep();
    await store.close();
    const later = await other.get(run.id, query());
    expect(later).toMatchObject({
      state: 'truncated',
      reason: 'store_full',
      diagnostics: [],
      account: { events: 2_000 },
    });
    expect(later?.sections.map(({ name, total }) => [name, total])).toEqual([
      ['events', 2_000],
      ['@', 1],
    ]);
    await (await other.open(newRun())).finish(final());
  });

  it('that is over before the run is leaves it complete', async () => {
    using disk = smallDisk(6 * MIB);
    await using store = opened(disk.path);
    const run = await store.open(newRun());
    await store.sweep();
    disk.fill();
    for (let i = 0; i < 500; i += 1) run.push(printed(text(i)));
    disk.free();
    await run.finish(final({ account: exactAccount(500) }));
    expect(await store.get(run.id, query())).toMatchObject({ state: 'complete', account: { events: 500 } });
  });

  it('keeps the verdict of a failed run', async () => {
    using disk = smallDisk(6 * MIB);
    await using store = opened(disk.path);
    const run = await store.open(newRun());
    await store.sweep();
    disk.fill();
    for (let i = 0; i < 100; i += 1) run.push(printed(text(i)));
    await run.finish(final({ state: 'failed', reason: 'unloadable', account: exactAccount(100) }));
    expect(await store.get(run.id, query())).toMatchObject({ state: 'failed', reason: 'unloadable' });
  });

  it('can be relieved by deleting runs', async () => {
    using disk = smallDisk(8 * MIB);
    await using store = opened(disk.path);
    const big = await store.open(newRun());
    await big.finish(final({ sections: [mapOf([['x'.repeat(3 * MIB), 1]])] }));
    await store.sweep();
    disk.fill();
    await expect(store.open(newRun())).rejects.toMatchObject({ code: 'store.full' });
    await store.change(big.id, { action: 'delete' });
    await (await store.open(newRun())).finish(final());
  });

  it('stops the start of a new store in one sentence, not that of an old one', async () => {
    using disk = smallDisk(6 * MIB);
    const dataDir = join(disk.path, 'old');
    const before = opened(dataDir);
    const run = await before.open(newRun());
    await run.finish(final());
    await before.close();
    disk.fill();
    expect(() => opened(join(disk.path, 'new'))).toThrow(
      expect.objectContaining({
        code: 'start.data',
        message: `The disk of the data folder ${join(disk.path, 'new')} is full.`,
      }),
    );
    await using store = opened(dataDir);
    expect(await store.get(run.id, query())).toMatchObject({ state: 'complete' });
    await expect(store.open(newRun())).rejects.toMatchObject({ code: 'store.full' });
  });
});
