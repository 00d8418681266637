import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RunId } from '../ids.ts';
import type { Account, Diagnostic, RecordQuery, RunFilter, RunHeader, RunRecord, Section } from '../trace/ports.ts';
import { chooseSections, isPlainPage, type Outline, viewSection } from '../trace/view.ts';
import { type Database, isDiskTrouble, patiently } from './database.ts';
import type { LiveRun } from './live-run.ts';
import {
  decodeAccount,
  decodeDiagnostics,
  decodeOutline,
  decodeRows,
  eventsOutline,
  headerOf,
  type IndexedSection,
  openAccount,
  type RunRow,
  type StoredBatch,
  sealOf,
  sha256,
} from './rows.ts';

/** Reads runs from the disk and, for those of this server, what is newer in memory. */
export interface Reader {
  header(id: RunId): Promise<RunHeader | undefined>;
  list(filter: RunFilter): Promise<readonly RunHeader[]>;
  /** A run that is not on disk as it was written says so among its diagnostics. Throws as `chooseSections`. */
  record(id: RunId, query: RecordQuery): Promise<RunRecord | undefined>;
}

/** A run at one moment; what is in a section is read when it is asked for. */
interface Snapshot {
  readonly header: RunHeader;
  readonly account: Account;
  readonly diagnostics: readonly Diagnostic[];
  readonly sections: Map<Outline, (query: RecordQuery) => Promise<Section>>;
  readonly faults: Faults;
}

interface Faults {
  /** What is on disk is not what was written. */
  damaged: boolean;
  /** The run was removed while it was read. */
  gone: boolean;
}

/** Some events in their order. */
interface Chunk {
  readonly count: number;
  read(): Promise<Section['rows']>;
}

/** Reads from an opened store; `live` are the runs of this server that are not wholly on disk. */
export function createReader(db: Database, live: ReadonlyMap<RunId, LiveRun>, ttlMs: number): Reader {
  const { sql } = db;
  const runById = sql.prepare('select * from runs where id = ?');
  const runsByTime = sql.prepare(`
    select * from runs where (?1 is null or owner = ?1)
    and (?2 is null or state = ?2 or id in (select value from json_each(?3))) order by asked_ms desc, key desc`);
  const batchesOf = sql.prepare('select first, count, digest from batches where run = ? order by first');
  const batchRows = sql.prepare('select rows from batches where run = ? and first = ?');
  const sectionsOf = sql.prepare('select position, outline, digest from sections where run = ? order by position');
  const sectionRows = sql.prepare('select rows from sections where run = ? and position = ?');

  /** What this server knows of its own run is newer than what is on disk, but any server may name and keep it. */
  function current(row: RunRow): RunHeader {
    const stored = headerOf(row, ttlMs);
    const run = live.get(row.id);
    if (run === undefined) return stored;
    const name = stored.name === undefined ? {} : { name: stored.name };
    return { ...run.header, ...name, kept: stored.kept, bytes: run.bytes };
  }

  /** Undefined also where the disk fails and memory has the run. */
  function stored<T>(id: RunId, read: (row: RunRow) => T): T | undefined {
    try {
      return db.snapshot(() => {
        const row = runById.get(id) as unknown as RunRow | undefined;
        return row === undefined ? undefined : read(row);
      });
    } catch (error) {
      if (isDiskTrouble(error) && live.has(id)) return undefined;
      throw error;
    }
  }

  const header = (id: RunId) => patiently(() => stored(id, current) ?? live.get(id)?.header);

  /** Reads all but the data. */
  function snapshot(id: RunId): Snapshot | undefined {
    const run = live.get(id);
    const disk = stored(id, (row) => ({
      row,
      header: current(row),
      batches: batchesOf.all(row.key) as unknown as readonly StoredBatch[],
      sections: sectionsOf.all(row.key) as unknown as readonly IndexedSection[],
    }));
    const header = disk?.header ?? run?.header;
    if (header === undefined) return undefined;
    const faults: Faults = { damaged: disk !== undefined && !isSealed(disk), gone: false };
    const fromDisk = async (digest: string, read: () => unknown) => {
      const found = (await patiently(read)) as { rows: string } | undefined;
      if (found === undefined) faults.gone = true;
      else if (sha256(found.rows) !== digest) faults.damaged = true;
      else return decodeRows(found.rows);
      return [];
    };

    const chunks: Chunk[] = [];
    for (const { first, count, digest } of disk?.batches ?? [])
      chunks.push({ count, read: () => fromDisk(digest, () => batchRows.get(disk?.row.key ?? 0, first)) });
    for (const { rows } of run?.waiting ?? []) {
      const count = rows.length;
      chunks.push({ count, read: async () => decodeRows(`[${rows.slice(0, count).join(',')}]`) });
    }
    const events = chunks.reduce((sum, chunk) => sum + chunk.count, 0);

    const sections: Snapshot['sections'] = new Map();
    if (events > 0) {
      const outline = eventsOutline(events);
      sections.set(outline, (query) => viewEvents(outline, chunks, query));
    }
    for (const { position, outline: text, digest } of disk?.sections ?? []) {
      const outline = decodeOutline(text);
      const read = () => fromDisk(digest, () => sectionRows.get(disk?.row.key ?? 0, position));
      sections.set(outline, async (query) => viewSection({ ...outline, rows: await read() }, query));
    }
    const final = run?.end?.final;
    for (const section of final?.sections ?? []) sections.set(section, async (query) => viewSection(section, query));

    const { account = null, diagnostics = null } = disk?.row ?? {};
    return {
      header,
      account: final?.account ?? (account === null ? openAccount(events) : decodeAccount(account)),
      diagnostics: final?.diagnostics ?? (diagnostics === null ? [] : decodeDiagnostics(diagnostics)),
      sections,
      faults,
    };
  }

  return {
    header,
    async list({ owner, state, limit }) {
      return await patiently(() => {
        const found: RunHeader[] = [];
        for (const row of runsByTime.iterate(owner ?? null, state ?? null, JSON.stringify([...live.keys()]))) {
          if (found.length >= limit) break;
          const header = current(row as unknown as RunRow);
          if (state === undefined || header.state === state) found.push(header);
        }
        return found;
      });
    },
    async record(id, query) {
      const found = await patiently(() => snapshot(id));
      if (found === undefined) return undefined;
      const sections: Section[] = [];
      for (const outline of chooseSections([...found.sections.keys()], query)) {
        const view = await found.sections.get(outline)?.(query);
        if (view !== undefined) sections.push(view);
      }
      if (found.faults.gone) return undefined;
      const diagnostics = found.faults.damaged ? [...found.diagnostics, DAMAGED] : found.diagnostics;
      return { ...found.header, sections, account: found.account, diagnostics };
    },
  };
}

/** False when the digests are not those that were there when the run was closed. */
const isSealed = ({
  row,
  batches,
  sections,
}: {
  row: RunRow;
  batches: readonly StoredBatch[];
  sections: readonly IndexedSection[];
}) => row.seal === null || row.seal === sealOf(batches, sections, row.account ?? '', row.diagnostics ?? '');

/** A page of the events reads only the batches that it needs. */
async function viewEvents(outline: Outline, chunks: readonly Chunk[], query: RecordQuery): Promise<Section> {
  const plain = isPlainPage(outline, query);
  const start = plain ? query.offset : 0;
  const end = plain ? query.offset + query.limit : outline.total;
  const rows: Section['rows'][number][] = [];
  let first = 0;
  for (const chunk of chunks) {
    if (first < end && first + chunk.count > start) {
      for (const row of (await chunk.read()).slice(Math.max(0, start - first), end - first)) rows.push(row);
      await nextTurn();
    }
    first += chunk.count;
  }
  return plain ? { ...outline, rows } : viewSection({ ...outline, rows }, query);
}

const DAMAGED: Diagnostic = {
  severity: 'warning',
  message: 'What is on disk of this run is not what was written; parts of it may be missing or wrong.',
  remedy: 'run the program again',
};
