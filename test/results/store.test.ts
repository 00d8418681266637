import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { newRunId } from '../../src/ids.ts';
import type { RecordValue } from '../../src/trace/value.ts';
import { bigText, dataFolder, exactAccount, final, mapOf, newRun, opened, printed, query } from './runs.ts';

describe('a run', () => {
  it('can be read while it runs, with the events that are not on disk yet', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path);
    const run = await store.open(newRun());
    run.armed({ atMs: 1_234, attached: 7 });
    run.push(printed('one'));
    run.push(printed(bigText));
    run.push(printed('three'));

    const record = await store.get(run.id, query());
    expect(record).toMatchObject({
      state: 'running',
      reason: 'running',
      timing: { armedMs: 1_234 },
      probes: { asked: 1, attached: 7 },
      account: { events: 3, lost: 'unknown', missed: 'unknown', droppedByLimit: { events: 0, bytes: 0 } },
    });
    expect(record?.sections).toEqual([
      {
        name: 'events',
        type: 'events',
        columns: [
          { name: 'type', type: 'text' },
          { name: 'data', type: 'text' },
        ],
        rows: [
          ['printf', 'one'],
          ['printf', bigText],
          ['printf', 'three'],
        ],
        total: 3,
        notes: [],
      },
    ]);
    expect(run.header).toMatchObject({ id: run.id, state: 'running', probes: { attached: 7 } });
  });

  it('comes back as it ended from a store that is opened again', async () => {
    using folder = dataFolder();
    const end = final({
      state: 'truncated',
      reason: 'event_limit',
      attached: 4,
      timing: { armedMs: 10.5, endedMs: 20.25 },
      sections: [mapOf([['bash', 3]], '@opens')],
      account: { ...exactAccount(1), lost: 5, redactions: { email: 2 }, runtimeErrors: [{ message: 'x', count: 3 }] },
      diagnostics: [{ severity: 'warning', message: 'careful', at: { line: 1, column: 2 } }],
    });
    const id = await (async () => {
      await using store = opened(folder.path);
      const run = await store.open(newRun({ source: 'kprobe:f { @ = 1; }' }));
      run.push(printed('hello'));
      await run.finish(end);
      return run.id;
    })();

    await using store = opened(folder.path);
    const record = await store.get(id, query());
    expect(record).toMatchObject({
      ...newRun({ source: 'kprobe:f { @ = 1; }' }),
      id,
      state: end.state,
      reason: end.reason,
      probes: { asked: 1, attached: 4 },
      timing: end.timing,
      kept: false,
      account: end.account,
      diagnostics: end.diagnostics,
    });
    expect(record?.sections.map(({ name, rows }) => [name, rows])).toEqual([
      ['events', [['printf', 'hello']]],
      ['@opens', [['bash', 3]]],
    ]);
  });

  it('keeps every value that bpftrace can print', async () => {
    using folder = dataFolder();
    const record: RecordValue = {
      record: [
        ['a', 1],
        ['a', 18446744073709551615n],
        ['$big', '7'],
      ],
    };
    const values = [
      18446744073709551615n,
      -9223372036854775808n,
      'a\0b',
      '\ud83d',
      '',
      null,
      true,
      1.5,
      [1, [2n ** 60n]],
      record,
    ];
    const id = await (async () => {
      await using store = opened(folder.path);
      const run = await store.open(newRun({ source: 'a\ud83d' }));
      for (const value of values) run.push(printed(value));
      await run.finish(
        final({
          sections: [
            mapOf([
              ['k', 2n ** 64n - 1n],
              ['\0\udc00', 1n - 2n ** 60n],
            ]),
          ],
        }),
      );
      return run.id;
    })();

    await using store = opened(folder.path);
    const found = await store.get(id, query());
    expect(found?.source).toBe('a\ud83d');
    expect(found?.sections[0]?.rows.map((row) => row[1])).toEqual(values);
    expect(found?.sections[1]?.rows).toEqual([
      ['k', 2n ** 64n - 1n],
      ['\0\udc00', 1n - 2n ** 60n],
    ]);
  });

  it('keeps a map of 10,000 rows and pages it', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path);
    const run = await store.open(newRun());
    await run.finish(final({ sections: [mapOf(Array.from({ length: 10_000 }, (_, i) => [`key ${i}`, i]))] }));
    const page = await store.get(run.id, query({ section: '@', offset: 9_998, limit: 50 }));
    expect(page?.sections).toMatchObject([
      {
        rows: [
          ['key 1', 1],
          ['key 0', 0],
        ],
        total: 10_000,
      },
    ]);
  });

  it('pages, filters and sorts its events across batches, on disk and in memory alike', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path);
    const run = await store.open(newRun());
    for (let i = 0; i < 5_000; i += 1) run.push(printed(`event number ${i} ${'.'.repeat(40)}`));
    const numbers = async (part: object) =>
      (await store.get(run.id, query({ section: 'events', ...part })))?.sections[0]?.rows.map((row) =>
        Number(String(row[1]).split(' ')[2]),
      );
    for (const state of ['running', 'complete']) {
      if (state === 'complete') await run.finish(final({ account: exactAccount(5_000) }));
      expect(await numbers({ offset: 0, limit: 3 })).toEqual([0, 1, 2]);
      expect(await numbers({ offset: 1_000, limit: 1_000 })).toEqual(
        Array.from({ length: 1_000 }, (_, i) => i + 1_000),
      );
      expect(await numbers({ offset: 4_998, limit: 50 })).toEqual([4_998, 4_999]);
      expect(await numbers({ offset: 6_000 })).toEqual([]);
      expect(await numbers({ filter: 'NUMBER 499', limit: 3 })).toEqual([499, 4_990, 4_991]);
      expect(await numbers({ sort: '-data', limit: 2 })).toEqual([999, 998]);
    }
  });

  it('refuses a section or column that is not there', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path);
    const run = await store.open(newRun());
    run.push(printed('x'));
    await run.finish(final({ sections: [mapOf([['a', 1]], '@reads')] }));
    await expect(store.get(run.id, query({ section: '@writes' }))).rejects.toMatchObject({
      code: 'run.no_section',
      message: "The run has no section '@writes'; it has events (1 rows), @reads (1 rows).",
    });
    await expect(store.get(run.id, query({ sort: 'size' }))).rejects.toMatchObject({ code: 'run.no_column' });
    expect((await store.get(run.id, query({ section: 'reads' })))?.sections).toMatchObject([{ name: '@reads' }]);
  });

  it('takes no more after its end, and its first end counts', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path);
    const run = await store.open(newRun());
    const ends = [run.finish(final()), run.finish(final({ state: 'failed', reason: 'crashed' }))];
    run.push(printed('late'));
    await Promise.all(ends);
    expect(await store.get(run.id, query())).toMatchObject({ state: 'complete', sections: [] });
  });

  it('counts a value that cannot be stored instead of throwing', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path);
    const run = await store.open(newRun());
    let deep: readonly unknown[] = [];
    for (let i = 0; i < 100_000; i += 1) deep = [deep];
    run.push(printed(deep as never, 70));
    run.push(printed('fine'));
    await run.finish(final({ account: exactAccount(2) }));
    expect(await store.get(run.id, query())).toMatchObject({
      state: 'truncated',
      reason: 'event_limit',
      account: { events: 1, droppedByLimit: { events: 1, bytes: 70 } },
    });
  });

  it('ends as interrupted with what it has when the store is closed before it is over', async () => {
    using folder = dataFolder();
    const closed = opened(folder.path);
    const run = await closed.open(newRun());
    run.push(printed('kept'));
    await closed.close();
    await using store = opened(folder.path);
    const record = await store.get(run.id, query());
    expect(record).toMatchObject({ state: 'interrupted', reason: 'drained', account: { events: 1, lost: 'unknown' } });
    expect(record?.sections).toMatchObject([{ rows: [['printf', 'kept']] }]);
  });

  it('says so when what is on disk is not what was written', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path);
    const run = await store.open(newRun());
    run.push(printed('true'));
    await run.finish(final({ account: exactAccount(1) }));
    expect((await store.get(run.id, query()))?.diagnostics).toEqual([]);
    {
      using forger = new DatabaseSync(join(folder.path, 'runs.db'));
      forger.exec(`update batches set rows = '[["printf","lie"]]'`);
    }
    const record = await store.get(run.id, query());
    expect(record?.diagnostics).toMatchObject([{ severity: 'warning' }]);
    expect(JSON.stringify(record?.sections)).not.toContain('lie');
  });
});

describe('the list and its changes', () => {
  it('lists the newest first, by owner and by state', async () => {
    using folder = dataFolder();
    let wall = 1_000;
    await using store = opened(folder.path, { now: () => wall++ });
    const first = await store.open(newRun({ owner: 'a' }));
    const second = await store.open(newRun({ owner: 'b' }));
    const third = await store.open(newRun({ owner: 'a' }));
    await second.finish(final());
    const ids = async (filter: object) => (await store.list({ limit: 10, ...filter })).map(({ id }) => id);
    expect(await ids({})).toEqual([third.id, second.id, first.id]);
    expect(await ids({ owner: 'a' })).toEqual([third.id, first.id]);
    expect(await ids({ state: 'complete' })).toEqual([second.id]);
    expect(await ids({ state: 'running', limit: 1 })).toEqual([third.id]);
  });

  it('keeps, renames and deletes', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path, { ttlMs: 1_000, now: () => 5_000 });
    const run = await store.open(newRun());
    expect(await store.change(run.id, { action: 'rename', name: 'slow disk' })).toMatchObject({ name: 'slow disk' });
    await expect(store.change(run.id, { action: 'delete' })).rejects.toMatchObject({ code: 'run.running' });
    expect(run.header.expiresMs).toBeUndefined();
    await run.finish(final());
    expect(await store.header(run.id)).toMatchObject({ name: 'slow disk', kept: false, expiresMs: 6_000 });
    const kept = await store.change(run.id, { action: 'keep' });
    expect(kept).toMatchObject({ kept: true });
    expect(kept).not.toHaveProperty('expiresMs');
    expect(await store.change(run.id, { action: 'delete' })).toMatchObject({ id: run.id });
    expect(await store.header(run.id)).toBeUndefined();
    expect(await store.get(run.id, query())).toBeUndefined();
    expect(await store.expired(run.id)).toBe(false);
    expect(store.usage()).toMatchObject({ runs: 0, bytes: 0 });
  });

  it('knows nothing of an id that was never here', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path);
    const id = newRunId('elsewhere');
    expect(await store.get(id, query())).toBeUndefined();
    expect(await store.change(id, { action: 'keep' })).toBeUndefined();
    expect(await store.expired(id)).toBe(false);
    await store.askStop(id);
  });
});

describe('the data folder', () => {
  it('is for its owner alone', async () => {
    using folder = dataFolder();
    const dataDir = join(folder.path, 'made', 'here');
    await using _store = opened(dataDir);
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
    for (const file of ['runs.db', 'runs.db-wal', 'reserve'])
      expect(statSync(join(dataDir, file)).mode & 0o077).toBe(0);
  });

  it.each([
    ['below a file', 'ENOTDIR', (path: string) => writeFileSync(path, '')],
    [
      'with a folder in place of the store',
      'unable to open',
      (path: string) => mkdirSync(join(path, 'below/runs.db'), { recursive: true }),
    ],
  ])('%s is refused in one sentence', (_, why, spoil) => {
    using folder = dataFolder();
    const dataDir = join(folder.path, 'data', 'below');
    spoil(join(folder.path, 'data'));
    const message = expect.stringMatching(
      new RegExp(`^The data folder ${dataDir} cannot be used: [^\n]*${why}[^\n]*\\.$`),
    );
    expect(() => opened(dataDir)).toThrow(expect.objectContaining({ code: 'start.data', message }));
  });

  it('with the store of a newer kerntap is left alone', async () => {
    using folder = dataFolder();
    await opened(folder.path).close();
    {
      using newer = new DatabaseSync(join(folder.path, 'runs.db'));
      newer.exec('pragma user_version = 99');
    }
    expect(() => opened(folder.path)).toThrow(
      expect.objectContaining({ code: 'start.data', message: expect.stringContaining('newer kerntap') }),
    );
  });
});
