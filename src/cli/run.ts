import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import { localCall, type NodeApi, type RunRecord, type RunRequest } from '../compose.ts';
import type { CommandLine } from '../config.ts';
import { KerntapError } from '../errors.ts';
import { OVERVIEW_ROWS, overviewOf, type RunAnswer } from '../render/answer.ts';
import { FORMATS, FORMS, type Format } from '../render/index.ts';
import { counted } from '../render/sentences.ts';
import { sectionLines } from '../render/table.ts';
import { callerFolder } from './caller-folder.ts';
import type { Command } from './commands.ts';
import { NODE_OPTIONS, nodeOf, SERVER_FLAG } from './node.ts';
import { aborted, listenForStop } from './signals.ts';
import type { Terminal } from './terminal.ts';

export const run: Command = {
  name: 'run',
  usage: "(-e 'PROGRAM' | FILE.bt | -) [options]",
  summary: 'run a bpftrace program and print what it found',
  notes: [
    'The program is text (-e), a file, or standard input (-). Ctrl-C ends the run and keeps its maps.',
    'Exits with 1 when the program could not run.',
  ],
  positionals: true,
  own: {
    expression: { short: 'e', value: 'PROGRAM', help: 'the program itself' },
    target: { value: 'TARGET', help: 'whom to trace: ns/pod, container:NAME, pid:N, … (default: the node)' },
    unscoped: { value: 'refuse|allow', preset: 'refuse', help: 'what becomes of probes that cannot be scoped to it' },
    control: { help: "count others' events, too" },
    timeout: { short: 't', value: 'SECONDS', preset: '10', help: 'how long, from the moment of attachment' },
    format: { short: 'f', value: 'FORMAT', preset: 'table', help: FORMATS.join(', ') },
    rows: { value: 'N', help: 'the most rows of each map (default 20 in a table, else all)' },
    ...SERVER_FLAG,
  },
  options: NODE_OPTIONS,
  async run(line, terminal) {
    const format = formatOf(line);
    const timeoutMs = numberOf(line, 'timeout', 600, 10) * 1000;
    const rows = numberOf(line, 'rows', 1_000_000, format === 'table' ? 20 : 1_000_000);
    const request = { program: await programOf(line), timeoutMs, ...targetOf(line) };
    using signals = listenForStop();
    await using node = await nodeOf(line, signals.hurry);

    const id = await follow(node.node, request, terminal, signals);
    if (id === undefined) {
      terminal.err('stopped before the probes were attached');
      return 1;
    }
    const record = await wholeRun(node.node, id);
    print(overviewOf(record, { rows, nowMs: Date.now() }), format, terminal);
    return record.state === 'failed' ? 1 : 0;
  },
};

// ------------------------------------------------------------------------------------------------------- while it runs

const LIVE_ROWS = 10;
const LIVE_MS = 500;
const WAIT_MS = 25_000;

/** Runs a program and shows what comes in until it is over or Ctrl-C ends it. Answers with the run's id, if it has one. */
async function follow(
  node: NodeApi,
  request: Pick<RunRequest, 'program' | 'target' | 'unscoped' | 'control' | 'timeoutMs'>,
  terminal: Terminal,
  { stop, hurry }: ReturnType<typeof listenForStop>,
): Promise<string | undefined> {
  const hurried = aborted(hurry).then(() => undefined);
  // A local call that is aborted still answers, a remote one rejects; neither is waited for when there is hurry.
  const answerOf = <T>(call: Promise<T>): Promise<T | undefined> => {
    const answer = call.catch((error: unknown) => {
      if (stop.aborted) return undefined;
      throw error;
    });
    return Promise.race([answer, hurried]);
  };
  let id: string | undefined;
  try {
    terminal.region('attaching the probes');
    const started = await answerOf(node.run({ ...request, waitMs: 0, rows: 1 }, localCall(stop)));
    id = started?.id;
    if (id === undefined || started?.state !== 'running') return id;
    const armedMs = performance.now();
    const wait = { waitMs: terminal.screen ? LIVE_MS : WAIT_MS, offset: 0, limit: 1 };
    while (!stop.aborted) {
      const record = await answerOf(node.result(id, wait, localCall(stop)));
      if (record !== undefined && record.state !== 'running') return id;
      if (record && terminal.screen)
        terminal.region(await liveView(node, record, performance.now() - armedMs, terminal));
    }
    terminal.region('stopping, the maps are being collected');
    await answerOf(node.stop(id, localCall(hurry)));
    return id;
  } catch (error) {
    if (id !== undefined) terminal.err(`the run is ${id}; it goes on without this command`);
    throw error;
  } finally {
    terminal.region('');
  }
}

/** The newest events as a table, and how far the run is. Maps come when it ends. */
async function liveView(node: NodeApi, { id, timeoutMs, sections }: RunRecord, elapsedMs: number, terminal: Terminal) {
  const { columns, rows } = terminal.screen ?? { columns: 80, rows: 24 };
  const total = sections.find(({ name }) => name === 'events')?.total ?? 0;
  const width = Math.max(10, Math.min(40, columns - 60));
  const filled = Math.min(width, Math.round((elapsedMs / timeoutMs) * width));
  const seconds = `${Math.floor(Math.min(elapsedMs, timeoutMs) / 1000)} of ${timeoutMs / 1000} s`;
  const progress = `${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${seconds}, ${counted(total, 'event')}, Ctrl-C ends it`;
  const limit = Math.min(LIVE_ROWS, rows - 4);
  if (total === 0 || limit < 1) return progress;
  const offset = Math.max(0, total - limit);
  const query = { waitMs: 0, section: 'events', offset, limit };
  const newest = await node.result(id, query, localCall(new AbortController().signal));
  return [...newest.sections.flatMap((section) => sectionLines({ ...section, offset })), progress].join('\n');
}

// -------------------------------------------------------------------------------------------------------- when it ended

/** A run with all its rows; a node gives at most a page of them at once. */
async function wholeRun(node: NodeApi, id: string): Promise<RunRecord> {
  const call = localCall(new AbortController().signal);
  const page = { waitMs: 0, limit: OVERVIEW_ROWS };
  const record = await node.result(id, { ...page, offset: 0 }, call);
  const sections: RunRecord['sections'][number][] = [];
  for (const section of record.sections) {
    const rows = [...section.rows];
    while (rows.length < section.total) {
      const next = await node.result(id, { ...page, section: section.name, offset: rows.length }, call);
      const more = next.sections[0]?.rows ?? [];
      if (more.length === 0) break;
      rows.push(...more);
    }
    sections.push({ ...section, rows });
  }
  return { ...record, sections };
}

/** The answer on standard output; what a form for programs has no room for, such as losses, on standard error. */
function print(answer: RunAnswer, format: Format, terminal: Terminal): void {
  if (format === 'table') {
    terminal.out(forPeople(answer).replace(/^.*/, (header) => terminal.style('bold', header)));
    return;
  }
  terminal.out(FORMS[format](answer));
  if (format === 'json') return;
  const shown = format === 'raw' ? answer.sections.length : 1;
  terminal.err(forPeople({ ...answer, sections: [], elsewhere: answer.sections.slice(shown) }));
}

// The last line names tools that a model would call next. No traced text stands at the margin, so it is ours.
const forPeople = (answer: RunAnswer): string => FORMS.table(answer).replace(/\nnext: .*$/, '');

// ---------------------------------------------------------------------------------------------------- the command line

/** More than a program may have, so that what is too long is refused as that. */
const READ_BYTES = 65_536;

async function programOf({ given, positionals }: CommandLine): Promise<string> {
  const [file, stray] = positionals;
  if (stray !== undefined || (given.expression === undefined) === (file === undefined))
    throw new KerntapError('start.option', 'One program is needed: -e with its text, a file, or - for standard input.');
  if (given.expression !== undefined || file === undefined) return given.expression ?? '';
  const bytes = await readStart(file === '-' ? process.stdin : createReadStream(resolve(callerFolder(), file))).catch(
    (error: unknown) => {
      const { errno } = error as NodeJS.ErrnoException;
      const why = errno === undefined ? String(error) : getSystemErrorMessage(errno);
      throw new KerntapError('start.option', `${JSON.stringify(file)} cannot be read: ${why}.`, {
        remedy: 'name a readable file',
      });
    },
  );
  if (isUtf8(bytes)) return bytes.toString('utf8');
  throw new KerntapError('program.encoding', `What ${JSON.stringify(file)} holds is not UTF-8.`);
}

async function readStart(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > READ_BYTES) break;
  }
  return Buffer.concat(chunks);
}

function numberOf({ given }: CommandLine, flag: string, max: number, preset: number): number {
  const text = given[flag];
  const value = text === undefined ? preset : Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new KerntapError(
    'start.option',
    `--${flag} is ${JSON.stringify(text)}: must be a whole number from 1 to ${max}.`,
  );
}

function targetOf({ given }: CommandLine): Pick<RunRequest, 'target' | 'unscoped' | 'control'> {
  const { target, unscoped = 'refuse', control } = given;
  if (unscoped !== 'refuse' && unscoped !== 'allow')
    throw new KerntapError('start.option', `--unscoped is ${JSON.stringify(unscoped)}: must be refuse or allow.`);
  return { ...(target !== undefined && { target }), unscoped, control: control !== undefined };
}

function formatOf({ given }: CommandLine): Format {
  const format = FORMATS.find((name) => name === (given.format ?? 'table'));
  if (format !== undefined) return format;
  throw new KerntapError(
    'start.option',
    `--format is ${JSON.stringify(given.format)}: must be one of ${FORMATS.join(', ')}.`,
  );
}
