import { setImmediate as nextTurn } from 'node:timers/promises';
import { KerntapError } from '../errors.ts';
import { newRunId, type RunId } from '../ids.ts';
import type { Log } from '../log.ts';
import type { NewRun, OpenRun, RunFinal, RunStore, StoreUsage } from '../trace/ports.ts';
import { encodeValue } from '../trace/value.ts';
import { isBusy, isDiskTrouble, openDatabase, patiently } from './database.ts';
import {
  accountWithout,
  addEvent,
  BATCH_BYTES,
  type Batch,
  cutShort,
  cutWaiting,
  drained,
  endOf,
  type LiveRun,
  liveRun,
  type RunEnd,
  waitingBytes,
  waitingCounts,
} from './live-run.ts';
import { createReader } from './reader.ts';
import { createReserve, freeBytes } from './reserve.ts';
import { type StoredBatch, sealOf, sha256 } from './rows.ts';
import { thisServer } from './server-identity.ts';
import { createUpkeep, HIGH_WATER, type Quotas } from './upkeep.ts';

const MIB = 1024 * 1024;
const QUOTAS: Quotas = { runBytes: 24 * MIB, callerBytes: 64 * MIB, totalBytes: 512 * MIB };
const TTL_MS = 24 * 3600 * 1000;
const TICK_MS = 250;
const SWEEP_MS = 60_000;
/** With less room on the disk than this no run is begun: what is left is for those that are open. */
const ROOM_FOR_A_RUN = 4 * BATCH_BYTES;

export interface RunStoreOptions {
  readonly dataDir: string;
  readonly node: string;
  readonly log: Log;
  readonly quotas?: Partial<Quotas>;
  /** How long a run stays after its end, 24 h where absent. */
  readonly ttlMs?: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Milliseconds since boot, the same for all processes. */
  readonly monotonic?: () => number;
}

/** A store whose regular work can be asked for; it does it by itself every 60 s. */
export interface SweptRunStore extends RunStore {
  /** Closes runs of dead servers, removes expired ones, writes what the disk did not take. Never throws. */
  sweep(): Promise<void>;
}

/**
 * Opens the runs in `dataDir`, which several servers may share. Open runs of servers that are gone are `interrupted` when
 * it returns. Throws `start.data`.
 */
export function createRunStore(options: RunStoreOptions): SweptRunStore {
  const { dataDir, node, log, ttlMs = TTL_MS, now = Date.now } = options;
  const monotonic = options.monotonic ?? (() => Number(process.hrtime.bigint() / 1_000_000n));
  const quotas = { ...QUOTAS, ...options.quotas };
  const server = thisServer();
  const reserve = createReserve(dataDir);
  const db = openDatabase(dataDir, reserve, log);
  const upkeep = createUpkeep(db, { log, quotas, ttlMs, now, monotonic, server });
  const live = new Map<RunId, LiveRun>();
  const reader = createReader(db, live, ttlMs);
  /** Why the last write failed; until one succeeds only the ticks try. */
  let trouble: 'busy' | 'disk' | undefined;
  let usage: StoreUsage = { runs: 0, bytes: 0, maxBytes: quotas.totalBytes };

  const { sql } = db;
  const insertRun = sql.prepare(`
    insert into runs (id, owner, header, state, reason, asked_ms, attached, used_age, bytes,
    server_pid, server_started, server_boot) values (?, ?, ?, 'running', 'running', ?, ?, ?, ?, ?, ?, ?)`);
  const updateRun = sql.prepare('update runs set armed_ms = ?, attached = ?, bytes = ? where key = ?');
  const closeRun = sql.prepare(`
    update runs set state = ?1, reason = ?2, armed_ms = ?3, ended_ms = ?4, attached = ?5, closed_ms = ?6,
    closed_age = ?7, used_age = ?7, bytes = ?8, account = ?9, diagnostics = ?10, seal = ?11 where key = ?12`);
  const useRun = sql.prepare('update runs set used_age = ? where id = ?');
  const keepRun = sql.prepare('update runs set kept = 1 where id = ?');
  const renameRun = sql.prepare('update runs set name = ? where id = ?');
  const deleteRun = sql.prepare('delete from runs where id = ?');
  const hasRun = sql.prepare('select 1 from runs where key = ?');
  const keptRuns = sql.prepare('select id, name from runs where kept = 1 and owner = ? order by asked_ms limit 20');
  const totals = sql.prepare('select count(*) as runs, coalesce(sum(bytes), 0) as bytes from runs');
  const freePages = sql.prepare('pragma freelist_count');
  const goneRun = sql.prepare('select 1 from gone where id = ?');
  const askToStop = sql.prepare("update runs set stop_asked = 1 where id = ? and state = 'running'");
  const askedToStop = sql.prepare("select id from runs where state = 'running' and stop_asked = 1 and server_pid = ?");
  const insertBatch = sql.prepare('insert into batches (run, first, count, digest, rows) values (?, ?, ?, ?, ?)');
  const insertSection = sql.prepare(
    'insert into sections (run, position, outline, digest, rows) values (?, ?, ?, ?, ?)',
  );

  // ------------------------------------------------------------------------------------------------------- writing

  function failed(error: unknown): void {
    if (trouble === undefined && !isBusy(error)) log.error('store.write_failed', error);
    trouble = isBusy(error) ? 'busy' : 'disk';
  }

  function succeeded(): void {
    if (trouble === 'disk') log.info('store.recovered');
    trouble = undefined;
  }

  const insertBatches = (run: LiveRun, batches: readonly Batch[]): StoredBatch[] =>
    batches.map(({ first, rows }) => {
      const text = `[${rows.join(',')}]`;
      const batch = { first, count: rows.length, digest: sha256(text) };
      insertBatch.run(run.key, batch.first, batch.count, batch.digest, text);
      return batch;
    });

  /** Brings what waits of the running runs to disk, or leaves it for the next time. Never throws. */
  function flush(): void {
    const runs = [...live.values()].filter((run) => !run.over && (run.dirty || run.waiting.length > 0));
    if (runs.length === 0) return;
    try {
      const settle = db.transact('batched', () => runs.map(flushRun));
      for (const done of settle) done();
      succeeded();
    } catch (error) {
      failed(error);
    }
  }

  /** Inside a transaction; what it returns is called when that is committed. */
  function flushRun(run: LiveRun): () => void {
    const bytes = waitingBytes(run);
    if (bytes >= BATCH_BYTES && upkeep.makeRoom(run.header.owner, bytes) > 1) return () => cutWaiting(run);
    const { timing, probes } = run.header;
    const { changes } = updateRun.run(timing.armedMs ?? null, probes.attached ?? null, run.bytes, run.key);
    if (changes === 0) return () => forget(run);
    const batches = insertBatches(run, run.waiting);
    return () => {
      run.stored.push(...batches);
      run.waiting = [];
      run.dirty = false;
    };
  }

  /** For a run that somebody removed from the store. */
  function forget(run: LiveRun): void {
    live.delete(run.header.id);
    run.over = true;
    run.stop.abort('stopped');
  }

  /** Writes the end of a run durably, together with `batches`. */
  function writeEnd(run: LiveRun, { final, sections }: RunEnd, batches: readonly Batch[]): void {
    const account = encodeValue(final.account);
    const diagnostics = encodeValue(final.diagnostics);
    const added = sections.reduce((sum, section) => sum + section.bytes, account.length + diagnostics.length);
    const bytes = run.bytes - waitingBytes(run) + batches.reduce((sum, batch) => sum + batch.bytes, 0) + added;
    db.transact('durable', () => {
      if (hasRun.get(run.key) === undefined) return;
      upkeep.makeRoom(run.header.owner, added + waitingBytes(run));
      const stored = [...run.stored, ...insertBatches(run, batches)];
      for (const [position, { outline, digest, rows }] of sections.entries())
        insertSection.run(run.key, position, outline, digest, rows);
      closeRun.run(
        final.state,
        final.reason,
        final.timing.armedMs ?? null,
        final.timing.endedMs,
        final.attached,
        now(),
        upkeep.age(),
        bytes,
        account,
        diagnostics,
        sealOf(stored, sections, account, diagnostics),
        run.key,
      );
    });
  }

  /** Writes all of a run that is over; then the store has it and this server need not keep it. */
  function hand(run: LiveRun, end: RunEnd): void {
    writeEnd(run, end, run.waiting);
    live.delete(run.header.id);
    succeeded();
  }

  async function finish(run: LiveRun, final: RunFinal): Promise<void> {
    run.over = true;
    const end = endOf(run, final, quotas.runBytes);
    try {
      await patiently(() => hand(run, end));
    } catch (error) {
      failed(error);
      await holdEnd(run, end);
    }
  }

  /** Keeps the end in memory; the reserve has room for the verdict at least, with what is on disk by now. */
  async function holdEnd(run: LiveRun, { final: given, sections }: RunEnd): Promise<void> {
    const final = cutShort(given, 'store_full');
    run.end = { final, sections };
    const { state, reason, timing, attached } = final;
    run.header = {
      ...run.header,
      state,
      reason,
      timing: { askedMs: run.header.timing.askedMs, ...timing },
      probes: { ...run.header.probes, attached },
      bytes: run.bytes,
    };
    const missing = waitingCounts(run);
    const account = accountWithout(final.account, run.events - missing.events, missing, sections.length);
    reserve.release();
    try {
      await patiently(() => writeEnd(run, { final: { ...final, account }, sections: [] }, []));
    } catch (error) {
      log.error('store.verdict_in_memory', error, { runId: run.header.id });
    }
  }

  /** Tries again to write what the disk did not take. Never throws. */
  function rescue(): void {
    flush();
    for (const run of live.values()) {
      if (run.end === undefined) continue;
      try {
        hand(run, run.end);
      } catch (error) {
        failed(error);
        return;
      }
    }
  }

  /** Makes a change durable, with the reserve's room when there is no other. Throws `store.full`. */
  async function persist<T>(work: () => T): Promise<T> {
    const write = () => patiently(() => db.transact('durable', work));
    try {
      return await write();
    } catch (error) {
      if (!isDiskTrouble(error) || !reserve.release()) throw refusal(error);
    }
    return await write().catch((error: unknown) => {
      throw refusal(error);
    });
  }

  /** New runs are refused first: one begins only when the disk has room for it beside the reserve. */
  function admit(): void {
    if (trouble !== undefined) rescue();
    const waits =
      trouble === 'disk' && [...live.values()].some((run) => run.end !== undefined || run.waiting.length > 0);
    if (waits || !reserve.take() || freeBytes(dataDir) < ROOM_FOR_A_RUN) throw storeFull();
  }

  const storeFull = (cause?: unknown) =>
    new KerntapError('store.full', `The disk of the data folder ${dataDir} does not take another run.`, { cause });

  function refusal(error: unknown): unknown {
    if (isDiskTrouble(error)) return storeFull(error);
    if (!isBusy(error)) return error;
    const remedy = 'end the process that holds runs.db open';
    return new KerntapError('store.full', `The store in ${dataDir} is locked by another process.`, {
      cause: error,
      remedy,
    });
  }

  function overQuota(owner: string): KerntapError {
    const names = keptRuns.all(owner).map(({ id, name }) => String(name ?? id));
    const holders =
      names.length === 0 ? 'runs that are kept or not over hold it' : `kept runs hold it: ${names.join(', ')}`;
    return new KerntapError('store.quota', `The store has no room for another run of '${owner}'; ${holders}.`);
  }

  /** Notes that a run was read, for the order of eviction. */
  function used(id: RunId): void {
    try {
      db.transact('batched', () => useRun.run(upkeep.age(), id));
    } catch {
      // The run was read; that this is not noted harms nobody.
    }
  }

  // --------------------------------------------------------------------------------------------------- regular work

  let ticker: NodeJS.Timeout | undefined;

  function tick(): void {
    if ([...live.values()].every((run) => run.over)) {
      clearInterval(ticker);
      ticker = undefined;
      return;
    }
    flush();
    try {
      for (const { id } of askedToStop.all(server.pid)) live.get(id as RunId)?.stop.abort('stopped');
    } catch (error) {
      if (!isBusy(error)) failed(error);
    }
  }

  /** Gives room back to the disk, some at a time, because on a full one there is little for SQLite's log. */
  async function tidy(): Promise<void> {
    sql.exec('pragma wal_checkpoint(truncate)');
    for (let step = 0; step < 32 && Number(freePages.get()?.freelist_count) > 0; step += 1) {
      await patiently(() => sql.exec('pragma incremental_vacuum(64)'));
      sql.exec('pragma wal_checkpoint(truncate)');
      await nextTurn();
    }
  }

  async function expire(): Promise<void> {
    while (await patiently(() => db.transact('batched', upkeep.expireSome))) await nextTurn();
  }

  const closeOrphans = () => patiently(() => db.transact('batched', upkeep.closeOrphans));

  let sweeping = Promise.resolve();
  function sweep(): Promise<void> {
    sweeping = sweeping.then(async () => {
      for (const step of [closeOrphans, expire, rescue, tidy, reserve.take]) {
        try {
          await step();
        } catch (error) {
          log.error('store.sweep_failed', error, { step: step.name });
        }
      }
    });
    return sweeping;
  }

  try {
    db.transact('batched', upkeep.closeOrphans);
  } catch (error) {
    failed(error);
  }
  db.started();
  reserve.take();
  const sweeper = setInterval(sweep, SWEEP_MS).unref();
  void sweep();

  let closing: Promise<void> | undefined;
  async function shut(): Promise<void> {
    clearInterval(sweeper);
    await sweeping;
    for (const run of [...live.values()]) await (run.ending ?? finish(run, drained(run, now())));
    clearInterval(ticker);
    rescue();
    db[Symbol.dispose]();
  }

  // ------------------------------------------------------------------------------------------------------- the port

  async function open(newRun: NewRun): Promise<OpenRun> {
    admit();
    const id = newRunId(node);
    const text = encodeValue(newRun);
    const bytes = Buffer.byteLength(text);
    const { owner, probes } = newRun;
    const askedMs = now();
    const key = await patiently(() =>
      db.transact('durable', () => {
        if (upkeep.makeRoom(owner, bytes) > HIGH_WATER) throw overQuota(owner);
        const { pid, started, boot } = server;
        const attached = probes.attached ?? null;
        return insertRun.run(id, owner, text, askedMs, attached, upkeep.age(), bytes, pid, started, boot)
          .lastInsertRowid;
      }),
    ).catch((error: unknown) => {
      throw refusal(error);
    });
    const timing = { askedMs };
    const run = liveRun(Number(key), {
      ...newRun,
      id,
      state: 'running',
      reason: 'running',
      timing,
      kept: false,
      bytes,
    });
    live.set(id, run);
    ticker ??= setInterval(tick, TICK_MS).unref();
    return {
      id,
      get header() {
        return { ...run.header, bytes: run.bytes };
      },
      stopAsked: run.stop.signal,
      push(event) {
        if (!run.over && addEvent(run, event, quotas.runBytes) && trouble === undefined) flush();
      },
      armed({ atMs, attached }) {
        const { timing, probes } = run.header;
        run.header = { ...run.header, timing: { ...timing, armedMs: atMs }, probes: { ...probes, attached } };
        run.dirty = true;
      },
      async finish(final) {
        run.ending ??= finish(run, final);
        await run.ending;
      },
    };
  }

  return {
    open,
    header: reader.header,
    sweep,
    list: reader.list,
    async get(id, query) {
      const record = await reader.record(id, query);
      if (record !== undefined && record.state !== 'running') used(id);
      return record;
    },
    async expired(id) {
      return await patiently(() => goneRun.get(id) !== undefined);
    },
    async change(id, change) {
      const before = await reader.header(id);
      if (before === undefined) return undefined;
      switch (change.action) {
        case 'keep':
          await persist(() => keepRun.run(id));
          return await reader.header(id);
        case 'rename':
          await persist(() => renameRun.run(change.name, id));
          return await reader.header(id);
        case 'delete':
          if (before.state === 'running') throw new KerntapError('run.running', `Run ${id} is not over.`);
          await persist(() => deleteRun.run(id));
          live.delete(id);
          await sweep();
          return before;
      }
    },
    async askStop(id) {
      const run = live.get(id);
      if (run === undefined) await persist(() => askToStop.run(id));
      else run.stop.abort('stopped');
    },
    usage() {
      if (closing !== undefined) return usage;
      try {
        usage = { ...(totals.get() as unknown as { runs: number; bytes: number }), maxBytes: quotas.totalBytes };
      } catch (error) {
        if (!isBusy(error)) failed(error);
      }
      return usage;
    },
    close() {
      closing ??= shut();
      return closing;
    },
  };
}
