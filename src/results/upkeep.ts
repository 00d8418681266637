import type { RunId } from '../ids.ts';
import type { Log } from '../log.ts';
import type { Database } from './database.ts';
import { isAlive, type ServerIdentity } from './server-identity.ts';

/** How much is kept, in bytes: of one run, of one caller's runs, of all. */
export interface Quotas {
  readonly runBytes: number;
  readonly callerBytes: number;
  readonly totalBytes: number;
}

export interface UpkeepOptions {
  readonly log: Log;
  readonly quotas: Quotas;
  readonly ttlMs: number;
  readonly now: () => number;
  readonly monotonic: () => number;
  readonly server: ServerIdentity;
}

/** What decides how long a run stays. All of it works inside a transaction of the caller. */
export interface Upkeep {
  /** How old the folder is, in milliseconds of the monotonic clock; ages of runs are differences of it. */
  age(): number;
  /**
   * Evicts until `owner` and all callers together are at 90 % of their quotas with `bytes` more: expired runs first,
   * then those that were not used for longest; never a kept or running one. Returns how full it is then, 1 = the quota.
   */
  makeRoom(owner: string, bytes: number): number;
  /** Removes some of the expired runs and says whether there may be more. */
  expireSome(): boolean;
  /** Closes open runs of servers that are gone as `interrupted`, and forgets what expired long ago. */
  closeOrphans(): void;
}

/** From here on runs are evicted, and new ones refused when that does not help. */
export const HIGH_WATER = 0.9;

const EXPIRED_AT_ONCE = 20;
const GONE_KEPT_MS = 7 * 24 * 3600 * 1000;
const GONE_KEPT_ROWS = 10_000;

interface Victim {
  readonly key: number;
  readonly id: RunId;
  readonly bytes: number;
}

/** Prepares the upkeep of an opened store. */
export function createUpkeep(db: Database, { log, quotas, ttlMs, now, monotonic, server }: UpkeepOptions): Upkeep {
  const { sql } = db;
  const clock = sql.prepare('select boot, monotonic_ms, age_ms from clock');
  const setClock = sql.prepare('update clock set boot = ?, monotonic_ms = ?, age_ms = ?');
  const callerBytes = sql.prepare('select coalesce(sum(bytes), 0) as bytes from runs where owner = ?');
  const totalBytes = sql.prepare('select coalesce(sum(bytes), 0) as bytes from runs');
  const victims = sql.prepare(`
    select key, id, bytes from runs where state <> 'running' and kept = 0 and (?1 is null or owner = ?1)
    order by closed_age <= ?2 desc, used_age`);
  const expired = sql.prepare(`
    select key, id, bytes from runs where state <> 'running' and kept = 0
    and ((closed_ms <= ?1 and closed_age <= ?2) or closed_age <= ?3) limit ${EXPIRED_AT_ONCE}`);
  const removeRun = sql.prepare('delete from runs where key = ?');
  const addGone = sql.prepare('insert or replace into gone values (?, ?)');
  const trimGone = sql.prepare(`
    delete from gone where gone_age < ?
    or id not in (select id from gone order by gone_age desc limit ${GONE_KEPT_ROWS})`);
  const owners = sql.prepare(`
    select distinct server_pid as pid, server_started as started, server_boot as boot from runs
    where state = 'running'`);
  const closeRuns = sql.prepare(`
    update runs set state = 'interrupted', reason = 'server_died', closed_ms = ?1, closed_age = ?2, used_age = ?2
    where state = 'running' and server_pid = ?3 and server_started = ?4 and server_boot = ?5`);

  // The monotonic clock is the same for all processes of a boot, so every server adds what passed since any of them
  // looked. After a reboot it counts from zero: the time since then has passed for certain, more is not known.
  function age(): number {
    const last = clock.get() as unknown as { boot: string; monotonic_ms: number; age_ms: number };
    const time = monotonic();
    const passed = last.boot === server.boot ? Math.max(0, time - last.monotonic_ms) : time;
    setClock.run(server.boot, time, last.age_ms + passed);
    return last.age_ms + passed;
  }

  function remove({ key, id }: Victim, at: number): void {
    removeRun.run(key);
    addGone.run(id, at);
  }

  function evict(owner: string | null, excess: number, at: number): void {
    const chosen: Victim[] = [];
    let freed = 0;
    for (const row of victims.iterate(owner, at - ttlMs)) {
      if (freed >= excess) break;
      const victim = row as unknown as Victim;
      chosen.push(victim);
      freed += victim.bytes;
    }
    for (const victim of chosen) remove(victim, at);
    if (chosen.length > 0) log.info('store.evicted', { runs: chosen.length, bytes: freed });
  }

  const bytesOf = (owner: string) => Number(callerBytes.get(owner)?.bytes);
  const bytesOfAll = () => Number(totalBytes.get()?.bytes);

  return {
    age,
    makeRoom(owner, bytes) {
      const ofCaller = bytesOf(owner) + bytes - HIGH_WATER * quotas.callerBytes;
      if (ofCaller > 0) evict(owner, ofCaller, age());
      const ofAll = bytesOfAll() + bytes - HIGH_WATER * quotas.totalBytes;
      if (ofAll > 0) evict(null, ofAll, age());
      return Math.max((bytesOf(owner) + bytes) / quotas.callerBytes, (bytesOfAll() + bytes) / quotas.totalBytes);
    },
    // Wall clock and age must both say so: a clock that jumps ahead deletes nothing early. One that was set back would
    // keep runs for ever, so twice the time by age alone is enough.
    expireSome() {
      const at = age();
      const rows = expired.all(now() - ttlMs, at - ttlMs, at - 2 * ttlMs) as unknown as readonly Victim[];
      for (const row of rows) remove(row, at);
      if (rows.length > 0) log.info('store.expired', { runs: rows.length });
      return rows.length === EXPIRED_AT_ONCE;
    },
    closeOrphans() {
      const at = age();
      for (const row of owners.all()) {
        const owner = row as unknown as ServerIdentity;
        if (isAlive(owner)) continue;
        const { changes } = closeRuns.run(now(), at, owner.pid, owner.started, owner.boot);
        log.warn('store.orphans_closed', { runs: Number(changes), pid: owner.pid });
      }
      trimGone.run(at - GONE_KEPT_MS);
    },
  };
}
