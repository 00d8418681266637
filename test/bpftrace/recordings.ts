import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { callerPlaces } from '../../src/bpftrace/places.ts';
import { createOutputReader, type OutputEnd } from '../../src/bpftrace/reader.ts';
import { plainProgram } from '../../src/program/instrument.ts';
import type { PrintedEvent } from '../../src/trace/ports.ts';

const FOLDER = join(import.meta.dirname, '../fixtures/bpftrace-json');

/** A run of the real bpftrace: its program, what it wrote, and where the reading of it is written down. */
export interface Recording {
  readonly name: string;
  readonly program: string;
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly expected: string;
}

export const recordings: readonly Recording[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.bt'))
  .map((file) => {
    const name = file.slice(0, -'.bt'.length);
    const path = (ending: string) => join(FOLDER, `${name}.${ending}`);
    return {
      name,
      program: readFileSync(path('bt'), 'utf8'),
      stdout: readFileSync(path('jsonl')),
      stderr: readFileSync(path('stderr'), 'utf8'),
      expected: path('read.json'),
    };
  });

export interface Reading {
  /** What the reader called, in order. */
  readonly calls: readonly string[];
  readonly events: readonly PrintedEvent[];
  readonly end: OutputEnd;
}

/** Reads chunks of bpftrace's output, with budgets that hold everything unless others are given. */
export function readChunks(
  chunks: readonly Buffer[],
  options: { maxEventBytes?: number; maxMapBytes?: number; program?: string } = {},
): Reading {
  const { program = 'begin { }', ...limits } = options;
  const calls: string[] = [];
  const events: PrintedEvent[] = [];
  const reader = createOutputReader({
    maxEventBytes: 1e9,
    maxMapBytes: 1e9,
    placeOf: callerPlaces(plainProgram(program)),
    endMarker: plainProgram(program).endMarker,
    ...limits,
    onAttached: (count) => calls.push(`attached ${count}`),
    onArmed: () => calls.push('armed'),
    onEndMarker: () => calls.push('end marker'),
    push: (event) => events.push(event),
  });
  for (const chunk of chunks) reader.write(chunk);
  return { calls, events, end: reader.end() };
}

export const ATTACHED =
  '{"type": "attached_probes", "count": 1, "data": {"probes": 1}}\n__BPFTRACE_NOTIFY_PROBES_ATTACHED\n';

/** Reads lines that come after the probes were attached. */
export const readLines = (lines: readonly string[], limits?: Parameters<typeof readChunks>[1]): Reading =>
  readChunks([Buffer.from(ATTACHED + lines.map((line) => `${line}\n`).join(''), 'latin1')], limits);
