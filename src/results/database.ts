import { closeSync, existsSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { KerntapError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Reserve } from './reserve.ts';

const VERSION = 1;

/**
 * `clock` holds how long the folder has existed by the monotonic clock; all `_age` columns are points on it. A run is
 * `bytes` big, counting its header, batches and sections. Times `_ms` are the wall clock's.
 */
const SCHEMA = `
  create table clock (boot text not null, monotonic_ms real not null, age_ms real not null) strict;
  insert into clock values ('', 0, 0);
  create table runs (
    key integer primary key,
    id text not null unique,
    owner text not null,
    header text not null,
    name text,
    state text not null,
    reason text not null,
    asked_ms real not null,
    armed_ms real,
    ended_ms real,
    attached integer,
    closed_ms real,
    closed_age real,
    used_age real not null,
    kept integer not null default 0,
    stop_asked integer not null default 0,
    bytes integer not null,
    account text,
    diagnostics text,
    seal text,
    server_pid integer not null,
    server_started text not null,
    server_boot text not null
  ) strict;
  create index runs_by_owner on runs (owner, bytes);
  create index runs_by_time on runs (asked_ms);
  create index runs_by_state on runs (state, used_age);
  create table batches (
    run integer not null references runs (key) on delete cascade,
    first integer not null,
    count integer not null,
    digest text not null,
    rows text not null,
    primary key (run, first)
  ) strict;
  create table sections (
    run integer not null references runs (key) on delete cascade,
    position integer not null,
    outline text not null,
    digest text not null,
    rows text not null,
    primary key (run, position)
  ) strict;
  create table gone (id text primary key, gone_age real not null) strict, without rowid;
`;

/** The opened store and the ways to work in it. */
export interface Database extends Disposable {
  readonly sql: DatabaseSync;
  /** All of `work` or nothing of it. `durable` waits until the disk has it, `batched` leaves that to the system. */
  transact<T>(durability: 'durable' | 'batched', work: () => T): T;
  /** Reads that belong together. */
  snapshot<T>(work: () => T): T;
  /** From here on a store that is busy fails soon: the start may wait for another server, the event loop may not. */
  started(): void;
}

/**
 * Opens `runs.db` in `dataDir`, or makes it. A damaged file is set aside under another name and a new one started.
 * Throws `start.data`.
 */
export function openDatabase(dataDir: string, reserve: Reserve, log: Log): Database {
  const file = join(dataDir, 'runs.db');
  try {
    makeFolder(dataDir);
    return databaseOf(openFile(file, reserve, log));
  } catch (error) {
    throw startError(dataDir, error);
  }
}

/** Node's own `recursive` never ends where a folder exists in which none can be made, such as /proc. */
function makeFolder(path: string): void {
  const parent = dirname(path);
  if (existsSync(path)) return;
  if (!existsSync(parent)) makeFolder(parent);
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
}

function openFile(file: string, reserve: Reserve, log: Log): DatabaseSync {
  const inode = inodeOf(file);
  try {
    return prepare(file);
  } catch (error) {
    if (isDamaged(error)) {
      // Another server that started at the same moment may have done it already.
      if (inodeOf(file) === inode) log.warn('store.set_aside', { file: setAside(file) });
      return prepare(file);
    }
    // Even to read, SQLite needs room for the index of its log.
    if (isDiskTrouble(error) && reserve.release()) return prepare(file);
    throw error;
  }
}

function prepare(file: string): DatabaseSync {
  createPrivately(file);
  const sql = new DatabaseSync(file, { timeout: 5000 });
  try {
    sql.exec('pragma auto_vacuum = incremental');
    sql.exec('pragma journal_mode = wal');
    sql.exec(`pragma journal_size_limit = ${4 * 1024 * 1024}`);
    const check = sql.prepare('pragma quick_check(1)').get();
    if (check?.quick_check !== 'ok') throw new DamagedError();
    migrate(sql);
    return sql;
  } catch (error) {
    sql.close();
    throw error;
  }
}

/** SQLite gives its log and index the mode of the file that it finds. */
function createPrivately(file: string): void {
  if (existsSync(file)) return;
  try {
    closeSync(openSync(file, 'wx', 0o600));
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
}

function migrate(sql: DatabaseSync): void {
  sql.exec('begin immediate');
  try {
    const version = Number(sql.prepare('pragma user_version').get()?.user_version);
    if (version > VERSION) throw new NewerError(version);
    if (version === 0) sql.exec(`${SCHEMA} pragma user_version = ${VERSION};`);
    sql.exec('commit');
  } finally {
    if (sql.isTransaction) sql.exec('rollback');
  }
}

const inodeOf = (file: string) => statSync(file, { throwIfNoEntry: false })?.ino;

/** Keeps the names that `sqlite3 FILE .recover` expects. */
function setAside(file: string): string {
  const aside = `${file}.damaged-${new Date().toISOString().replaceAll(':', '')}`;
  for (const suffix of ['', '-wal', '-shm']) {
    if (existsSync(file + suffix)) renameSync(file + suffix, aside + suffix);
  }
  return aside;
}

function databaseOf(sql: DatabaseSync): Database {
  const between = <T>(begin: string, work: () => T): T => {
    sql.exec(begin);
    try {
      const result = work();
      sql.exec('commit');
      return result;
    } finally {
      // A full disk has rolled back already.
      if (sql.isTransaction) sql.exec('rollback');
    }
  };
  return {
    sql,
    transact(durability, work) {
      sql.exec(`pragma synchronous = ${durability === 'durable' ? 'full' : 'normal'}`);
      // A transaction that reads first and writes later fails at once when another server wrote in between.
      return between('begin immediate', work);
    },
    snapshot: (work) => between('begin', work),
    started: () => sql.exec('pragma busy_timeout = 20'),
    [Symbol.dispose]: () => sql.close(),
  };
}

/**
 * Repeats `work` while another server is in its few milliseconds of writing, for about 10 s. Waiting inside SQLite would
 * stop the event loop, and with it the reading of every trace.
 */
export async function patiently<T>(work: () => T): Promise<T> {
  for (let left = 200; ; left -= 1) {
    try {
      return work();
    } catch (error) {
      if (!isBusy(error) || left === 0) throw error;
    }
    await sleep(20 + Math.random() * 20);
  }
}

// https://www.sqlite.org/rescode.html
const BUSY = 5;
const READONLY = 8;
const IO = 10;
const CORRUPT = 11;
const FULL = 13;
const CANNOT_OPEN = 14;
const NOT_A_DATABASE = 26;

/** SQLite's primary result code; undefined for what is no error of SQLite. */
const sqliteCode = (error: unknown): number | undefined =>
  error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;

const systemCode = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

/** True when another process holds the store just now. */
export const isBusy = (error: unknown): boolean => sqliteCode(error) === BUSY;

/** True when the disk or the file does not take what is written: full, failing, read-only or damaged. */
export const isDiskTrouble = (error: unknown): boolean =>
  [READONLY, IO, CORRUPT, FULL, CANNOT_OPEN, NOT_A_DATABASE].includes(sqliteCode(error) ?? 0);

class DamagedError extends Error {}

class NewerError extends Error {
  readonly version: number;
  constructor(version: number) {
    super();
    this.version = version;
  }
}

const isDamaged = (error: unknown) =>
  error instanceof DamagedError || [CORRUPT, NOT_A_DATABASE].includes(sqliteCode(error) ?? 0);

function startError(dataDir: string, error: unknown): KerntapError {
  const sentence = (text: string, remedy?: string) =>
    new KerntapError('start.data', text, { cause: error, ...(remedy === undefined ? {} : { remedy }) });
  if (error instanceof NewerError)
    return sentence(
      `The store in ${dataDir} was made by a newer kerntap (its version is ${error.version}, mine ${VERSION}).`,
    );
  if (sqliteCode(error) === FULL || systemCode(error) === 'ENOSPC')
    return sentence(
      `The disk of the data folder ${dataDir} is full.`,
      'free space there, or choose another folder with --data-dir',
    );
  if (isBusy(error)) return sentence(`The store in ${dataDir} is locked by another process.`);
  const why = error instanceof Error && 'errstr' in error ? error.errstr : systemCode(error);
  return sentence(`The data folder ${dataDir} cannot be used: ${why ?? 'unknown error'}.`);
}
