import { createHash } from 'node:crypto';
import type { RunId } from '../ids.ts';
import type { Account, Column, Diagnostic, NewRun, Reason, RunHeader, RunState, Section } from '../trace/ports.ts';
import { decodeValue, encodeValue } from '../trace/value.ts';
import type { Outline } from '../trace/view.ts';

/** A row of the table `runs`; see the schema in database.ts. */
export interface RunRow {
  readonly key: number;
  readonly id: RunId;
  readonly header: string;
  readonly name: string | null;
  readonly state: RunState;
  readonly reason: Reason;
  readonly asked_ms: number;
  readonly armed_ms: number | null;
  readonly ended_ms: number | null;
  readonly attached: number | null;
  readonly closed_ms: number | null;
  readonly kept: number;
  readonly bytes: number;
  readonly account: string | null;
  readonly diagnostics: string | null;
  readonly seal: string | null;
}

/** What is known of a run from its row; one that is over and not kept expires `ttlMs` after it was closed. */
export function headerOf(row: RunRow, ttlMs: number): RunHeader {
  const { probes, ...run } = decodeValue(row.header) as NewRun;
  return {
    ...run,
    id: row.id,
    ...(row.name === null ? {} : { name: row.name }),
    state: row.state,
    reason: row.reason,
    timing: {
      askedMs: row.asked_ms,
      ...(row.armed_ms === null ? {} : { armedMs: row.armed_ms }),
      ...(row.ended_ms === null ? {} : { endedMs: row.ended_ms }),
    },
    probes: row.attached === null ? probes : { ...probes, attached: row.attached },
    kept: row.kept === 1,
    ...(row.closed_ms === null || row.kept === 1 ? {} : { expiresMs: row.closed_ms + ttlMs }),
    bytes: row.bytes,
  };
}

/** The account of a run that is not over, or never came to its end: what was lost is known only at the end. */
export const openAccount = (events: number): Account => ({
  events,
  lost: 'unknown',
  lostReported: 0,
  lostIsLowerBound: true,
  droppedByLimit: { events: 0, bytes: 0 },
  droppedMaps: 0,
  mapFull: [],
  runtimeErrors: [],
  missed: 'unknown',
  ambiguousKeys: 0,
  malformed: 0,
  repairedStrings: 0,
  redactions: {},
});

/** The part of a result that holds what the program printed, without its rows. */
export function eventsOutline(total: number): Outline {
  const columns: Column[] = [
    { name: 'type', type: 'text' },
    { name: 'data', type: 'text' },
  ];
  return { name: 'events', type: 'events', columns, total, notes: [] };
}

/** What the index says of a batch of events. */
export interface StoredBatch {
  readonly first: number;
  readonly count: number;
  readonly digest: string;
}

/** What the index says of a section. */
export interface IndexedSection {
  readonly position: number;
  readonly outline: string;
  readonly digest: string;
}

/** A section as it is stored. `digest` is the SHA-256 of `rows`, so that what is read can be checked alone. */
export interface StoredSection {
  readonly section: Section;
  readonly outline: string;
  readonly rows: string;
  readonly digest: string;
  readonly bytes: number;
}

/** Makes the sections ready to be stored, in order; those for which `maxBytes` has no room are left out. */
export function storeSections(sections: readonly Section[], maxBytes: number): StoredSection[] {
  const stored: StoredSection[] = [];
  let left = maxBytes;
  for (const section of sections) {
    const { rows: _, ...outline } = section;
    const texts = { outline: encodeValue(outline), rows: encodeValue(section.rows) };
    const bytes = Buffer.byteLength(texts.outline) + Buffer.byteLength(texts.rows);
    if (bytes > left) continue;
    left -= bytes;
    stored.push({ section, ...texts, digest: sha256(texts.rows), bytes });
  }
  return stored;
}

/** What the final record says of all that was stored before it; another text means that something was changed. */
export const sealOf = (
  batches: readonly { readonly digest: string }[],
  sections: readonly { readonly outline: string; readonly digest: string }[],
  account: string,
  diagnostics: string,
): string =>
  sha256(
    JSON.stringify([
      batches.map(({ digest }) => digest),
      sections.map(({ outline, digest }) => [outline, digest]),
      account,
      diagnostics,
    ]),
  );

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

export const decodeRows = (text: string): Section['rows'] => decodeValue(text) as Section['rows'];
export const decodeOutline = (text: string): Outline => decodeValue(text) as Outline;
export const decodeAccount = (text: string): Account => decodeValue(text) as Account;
export const decodeDiagnostics = (text: string): readonly Diagnostic[] => decodeValue(text) as readonly Diagnostic[];
