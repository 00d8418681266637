import { readFile } from 'node:fs/promises';
import {
  type CommandLine,
  composeNode,
  createRemoteNode,
  localCall,
  type NodeApi,
  parseCommandLine,
  type RunRecord,
} from '../compose.ts';
import { KerntapError } from '../errors.ts';
import { OVERVIEW_ROWS, overviewOf } from '../render/answer.ts';
import { FORMS, type Format } from '../render/index.ts';
import { renderRows } from '../render/table.ts';
import type { Command } from './commands.ts';
import { listenForStop } from './signals.ts';
import type { Terminal } from './terminal.ts';

const OWN = {
  expression: { type: 'string', short: 'e' },
  timeout: { type: 'string', short: 't' },
  rows: { type: 'string' },
  format: { type: 'string' },
  server: { type: 'string' },
} as const;

export const run: Command = {
  name: 'run',
  usage: "run (-e 'PROGRAM' | FILE.bt) [--timeout S] [--rows N] [--format F] [--server URL]",
  summary: `run a bpftrace program and print what it found (${Object.keys(FORMS).join(', ')}); Ctrl-C ends it and keeps the maps`,
  async run(args, terminal) {
    const line = parseCommandLine(args, process.env, OWN);
    const program = await programOf(line);
    const timeoutMs = numberOf(line, 'timeout', 10, 1, 600) * 1000;
    const rows = numberOf(line, 'rows', 20, 1, 500);
    const format = formatOf(line);
    using signals = listenForStop();
    await using target = await nodeOf(line);

    const call = localCall(signals.hurry);
    const started = await target.node.run({ program, timeoutMs, waitMs: 0, rows }, call);
    const ended = started.state === 'running' ? await follow(target.node, started, terminal, signals) : started;
    const whole = await target.node.result(ended.id, { waitMs: 0, offset: 0, limit: OVERVIEW_ROWS }, call);
    const text = FORMS[format](overviewOf(whole, { rows, nowMs: Date.now() }));
    terminal.out(format === 'table' ? withBoldHeader(text, terminal) : text);
    return ended.state === 'failed' ? 1 : 0;
  },
};

/** Shows what comes in until the run is over, or Ctrl-C ends it. */
async function follow(
  node: NodeApi,
  { id, timeoutMs, timing }: RunRecord,
  terminal: Terminal,
  { stop, hurry }: ReturnType<typeof listenForStop>,
): Promise<RunRecord> {
  const call = localCall(AbortSignal.any([stop, hurry]));
  const startedMs = timing.armedMs ?? Date.now();
  try {
    for (;;) {
      const record = await node.result(id, { waitMs: terminal.live ? 500 : 25_000, offset: 0, limit: 1 }, call);
      if (record.state !== 'running') return record;
      if (stop.aborted) return await node.stop(id, localCall(hurry));
      if (terminal.live) terminal.region(await liveView(node, record, timeoutMs, Date.now() - startedMs, terminal));
    }
  } finally {
    if (terminal.live) terminal.region('');
  }
}

const LIVE_ROWS = 10;

/** The newest events as a table, and how far the run is. Maps come when it ends. */
async function liveView(
  node: NodeApi,
  record: RunRecord,
  timeoutMs: number,
  elapsedMs: number,
  terminal: Terminal,
): Promise<string> {
  const total = record.sections.find(({ name }) => name === 'events')?.total ?? 0;
  const width = Math.max(10, Math.min(40, terminal.columns - 50));
  const filled = Math.min(width, Math.round((elapsedMs / timeoutMs) * width));
  const bar = `${'█'.repeat(filled)}${'░'.repeat(width - filled)}`;
  const seconds = Math.min(timeoutMs, elapsedMs) / 1000;
  const progress = `${bar} ${seconds.toFixed(0)} of ${timeoutMs / 1000} s, ${total} events, Ctrl-C ends it`;
  if (total === 0) return progress;
  const query = { waitMs: 0, section: 'events', offset: Math.max(0, total - LIVE_ROWS), limit: LIVE_ROWS };
  const newest = await node.result(record.id, query, localCall(new AbortController().signal));
  return [...newest.sections.map(renderRows), progress].join('\n');
}

async function programOf({ own, positionals }: CommandLine): Promise<string> {
  const [file, stray] = positionals;
  if ((own.expression === undefined) === (file === undefined) || stray !== undefined)
    throw new KerntapError('start.option', 'Give one program: either -e with its text, or a file.');
  if (own.expression !== undefined || file === undefined) return own.expression ?? '';
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new KerntapError('start.option', `${JSON.stringify(file)} cannot be read: ${error.code}.`, {
      remedy: 'name a readable file',
    });
  });
}

function numberOf({ own }: CommandLine, flag: string, preset: number, min: number, max: number): number {
  const text = own[flag];
  const value = text === undefined ? preset : Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new KerntapError(
    'start.option',
    `--${flag} is ${JSON.stringify(text)}: it must be a whole number from ${min} to ${max}.`,
  );
}

function formatOf({ own }: CommandLine): Format {
  const name = own.format ?? 'table';
  if (Object.hasOwn(FORMS, name)) return name as Format;
  throw new KerntapError(
    'start.option',
    `--format is ${JSON.stringify(name)}: it must be one of ${Object.keys(FORMS).join(', ')}.`,
  );
}

/** The node of `--server`, else this machine. */
async function nodeOf({ own, config }: CommandLine): Promise<{ node: NodeApi } & AsyncDisposable> {
  if (own.server !== undefined) {
    const token = process.env.KERNTAP_TOKEN;
    return {
      node: createRemoteNode({ url: own.server, ...(token !== undefined && { token }) }),
      [Symbol.asyncDispose]: async () => {},
    };
  }
  const local = await composeNode(config, () => {});
  return { node: local.node, [Symbol.asyncDispose]: () => local.close(new AbortController().signal) };
}

const withBoldHeader = (text: string, terminal: Terminal): string =>
  text.replace(/^.*/, (header) => terminal.style('bold', header));
