import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import type { RunId } from '../../src/ids.ts';
import { createLog } from '../../src/log.ts';
import { dataFolder, final, newRun, opened, printed, query } from './runs.ts';

interface Server extends AsyncDisposable {
  /** The next thing that it says; undefined when it has ended. */
  said(): Promise<string | undefined>;
  kill(): Promise<void>;
}

/** Another server process on the folder; it is gone at the end of the block. */
function server(dataDir: string, act: 'open' | 'events' | 'many'): Server {
  const child: ChildProcess = spawn(process.execPath, [join(import.meta.dirname, 'server-process.ts'), dataDir, act], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  if (child.stdout === null) throw new Error('it has no output');
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  async function kill() {
    child.kill('SIGKILL');
    await ended;
  }
  return {
    async said() {
      const { value, done } = await lines.next();
      return done ? undefined : (JSON.parse(value) as string);
    },
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

describe('kill -9 of a server', () => {
  it('leaves the header of a run that was just opened', async () => {
    using folder = dataFolder();
    await using other = server(folder.path, 'open');
    const id = (await other.said()) as RunId;
    await other.kill();
    await using store = opened(folder.path);
    expect(await store.get(id, query())).toMatchObject({
      ...newRun(),
      state: 'interrupted',
      reason: 'server_died',
      sections: [],
    });
  });

  it('leaves the events that were on disk', async () => {
    using folder = dataFolder();
    await using other = server(folder.path, 'events');
    const id = (await other.said()) as RunId;
    await using watching = opened(folder.path);
    await expect.poll(async () => (await watching.get(id, query()))?.account.events, { timeout: 15_000 }).toBe(3);
    await other.kill();
    await watching.sweep();
    const record = await watching.get(id, query());
    expect(record).toMatchObject({
      state: 'interrupted',
      reason: 'server_died',
      probes: { asked: 1, attached: 3 },
      account: { events: 3, lost: 'unknown', missed: 'unknown' },
    });
    expect(record?.timing).not.toHaveProperty('endedMs');
    expect(record?.sections[0]?.rows[0]).toEqual(['printf', 'first']);
  });

  it('is noticed by the store that is opened next', async () => {
    using folder = dataFolder();
    await using other = server(folder.path, 'open');
    const id = (await other.said()) as RunId;
    await other.kill();
    await using store = opened(folder.path);
    expect(await store.list({ state: 'running', limit: 10 })).toEqual([]);
    expect(await store.header(id)).toMatchObject({ state: 'interrupted' });
  });
});

describe('several servers on one folder', () => {
  it('write at the same time without harm', async () => {
    using folder = dataFolder();
    await using first = server(folder.path, 'many');
    await using second = server(folder.path, 'many');
    const ids: RunId[] = [];
    for (const other of [first, second]) {
      for (let id = await other.said(); id !== undefined; id = await other.said()) ids.push(id as RunId);
    }
    expect(ids).toHaveLength(40);
    await using store = opened(folder.path);
    for (const id of ids) {
      const record = await store.get(id, query({ offset: 490 }));
      expect(record).toMatchObject({ state: 'complete', diagnostics: [], account: { events: 500 } });
      expect(record?.sections[0]).toMatchObject({ name: 'events', total: 500 });
      expect(record?.sections[0]?.rows.at(-1)).toEqual(['printf', 'event 499']);
    }
  });

  it('leave the running run of another alone, can read it, and can have it stopped', async () => {
    using folder = dataFolder();
    await using other = server(folder.path, 'events');
    const id = (await other.said()) as RunId;
    await using store = opened(folder.path);
    await store.sweep();
    const record = await store.get(id, query());
    expect(record).toMatchObject({ state: 'running', reason: 'running' });
    expect(record?.sections[0]?.rows[0]).toEqual(['printf', 'first']);
    await expect(store.change(id, { action: 'delete' })).rejects.toMatchObject({ code: 'run.running' });

    await store.askStop(id);
    expect(await other.said()).toBe('stopped');
    expect(await other.said()).toBeUndefined();
    expect(await store.get(id, query())).toMatchObject({
      state: 'truncated',
      reason: 'stopped',
      account: { events: 3 },
    });
  });

  it('see the name and the keeping that another gave to their run', async () => {
    using folder = dataFolder();
    await using mine = opened(folder.path);
    await using other = opened(folder.path);
    const run = await mine.open(newRun());
    await other.change(run.id, { action: 'rename', name: 'from the other' });
    await other.change(run.id, { action: 'keep' });
    expect(await mine.header(run.id)).toMatchObject({ state: 'running', name: 'from the other', kept: true });
    await run.finish(final());
    expect(await other.header(run.id)).toMatchObject({ state: 'complete', name: 'from the other', kept: true });
  });

  it('do not take a reused pid or the pid of another boot for the owner', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path);
    const ids = [(await store.open(newRun())).id, (await store.open(newRun())).id] as const;
    const untouched = await store.open(newRun());
    {
      using forger = new DatabaseSync(join(folder.path, 'runs.db'));
      forger.prepare("update runs set server_started = '1' where id = ?").run(ids[0]);
      forger.prepare("update runs set server_boot = 'another' where id = ?").run(ids[1]);
    }
    await using other = opened(folder.path);
    for (const id of ids) expect(await other.header(id)).toMatchObject({ state: 'interrupted' });
    expect(await other.header(untouched.id)).toMatchObject({ state: 'running' });
  });

  it('wait for one that holds the store without stopping the event loop', async () => {
    using folder = dataFolder();
    await using store = opened(folder.path);
    const run = await store.open(newRun());
    let turns = 0;
    const counting = setInterval(() => {
      turns += 1;
    }, 5);
    {
      using holder = new DatabaseSync(join(folder.path, 'runs.db'));
      holder.exec('begin immediate');
      run.push(printed('x'.repeat(100_000)));
      const finishing = run.finish(final());
      await expect.poll(() => turns, { timeout: 5_000 }).toBeGreaterThan(10);
      expect(await store.get(run.id, query())).toMatchObject({ state: 'running', account: { events: 1 } });
      holder.exec('commit');
      await finishing;
    }
    clearInterval(counting);
    expect(await store.get(run.id, query())).toMatchObject({ state: 'complete' });
  });
});

describe('a damaged store', () => {
  it.each([
    [
      'is no database',
      (file: string) => writeFileSync(file, 'this is not a database, but long enough to be one'.repeat(100)),
    ],
    [
      'has a damaged page',
      (file: string) => {
        const bytes = readFileSync(file);
        bytes.fill(0x5a, 4096, bytes.length);
        writeFileSync(file, bytes);
      },
    ],
  ])('that %s is set aside and a new one is begun', async (_, damage) => {
    using folder = dataFolder();
    const file = join(folder.path, 'runs.db');
    const before = opened(folder.path);
    const run = await before.open(newRun());
    await run.finish(final());
    await before.close();
    damage(file);

    const lines: string[] = [];
    await using store = opened(folder.path, { log: createLog((line) => lines.push(line)) });
    expect(await store.list({ limit: 10 })).toEqual([]);
    await (await store.open(newRun())).finish(final());
    const { file: aside } = JSON.parse(lines.find((line) => line.includes('store.set_aside')) ?? '{}') as {
      file: string;
    };
    expect(readFileSync(aside).length).toBeGreaterThan(0);
  });
});
