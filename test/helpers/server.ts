import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { projectRoot } from './machine.ts';
import { connectOver, type McpClient } from './mcp-clients.ts';
import { until } from './until.ts';

const MAIN = join(projectRoot, 'src/main.ts');

/** A drain takes the stop sequence of a run at most; what lasts longer hangs. */
const END_LIMIT_MS = 45_000;

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface KerntapProcess {
  readonly pid: number;
  readonly ended: Promise<Ended>;
  /** What it has written so far. */
  stdout(): string;
  stderr(): string;
  /** True when a line of the log tells `event`. */
  logged(event: string): boolean;
  kill(signal: NodeJS.Signals): void;
}

export interface Server extends KerntapProcess, AsyncDisposable {
  readonly url: string;
  /** The address of the MCP endpoint. */
  readonly mcp: string;
  readonly port: number;
  readonly dataDir: string;
}

export interface ServerOptions {
  readonly args?: readonly string[];
  /** Shared with other servers, and left alone; by default the server has its own, which goes with it. */
  readonly dataDir?: string;
  /** A command that ends in executing the one after it, such as `unshare -m`. */
  readonly under?: readonly string[];
}

/** Runs `kerntap` with `args` as it is started by hand, all that it writes kept. */
export function startKerntap(args: readonly string[], under: readonly string[] = []): KerntapProcess {
  const [file = process.execPath, ...rest] = [...under, process.execPath, MAIN, ...args];
  return follow(spawn(file, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: plainEnv() }));
}

/** Starts `kerntap serve` on a free port and waits until it says where it listens. Disposing of it drains it. */
export async function startServer({ args = [], dataDir, under = [] }: ServerOptions = {}): Promise<Server> {
  const folder = dataDir ?? (await temporaryFolder());
  const kerntap = startKerntap(['serve', '--listen', '127.0.0.1:0', '--data-dir', folder, ...args], under);
  const endpoint = () => /^ +MCP +(http:\/\/127\.0\.0\.1:(\d+))\/mcp$/m.exec(kerntap.stdout());
  let over = false;
  void kerntap.ended.then(() => {
    over = true;
  });
  await until(() => over || endpoint() !== null, 'the server listens');
  const [, url, port] = endpoint() ?? [];
  if (url === undefined) throw new Error(`the server did not start: ${kerntap.stderr()}`);
  return {
    ...kerntap,
    url,
    mcp: `${url}/mcp`,
    port: Number(port),
    dataDir: folder,
    async [Symbol.asyncDispose]() {
      kerntap.kill('SIGTERM');
      const timer = new AbortController();
      const late = wait(END_LIMIT_MS, 'late' as const, timer);
      const how = await Promise.race([kerntap.ended, late.catch(() => 'late' as const)]);
      timer.abort();
      if (how === 'late') kerntap.kill('SIGKILL');
      if (dataDir === undefined) await rm(folder, { recursive: true });
      if (how === 'late') throw new Error('the server did not end after SIGTERM');
    },
  };
}

/** A client that starts `kerntap stdio` on `dataDir` itself, and ends it when it is disposed of. */
export async function connectStdio(dataDir: string): Promise<{ client: McpClient; pid: number } & AsyncDisposable> {
  const args = [MAIN, 'stdio', '--data-dir', dataDir];
  const transport = new StdioClientTransport({ command: process.execPath, args, stderr: 'ignore' });
  const client = await connectOver(transport);
  return { client, pid: transport.pid ?? Number.NaN, [Symbol.asyncDispose]: client.close };
}

/** An empty folder that whoever asks for it removes. */
export const temporaryFolder = (): Promise<string> => mkdtemp(join(tmpdir(), 'kerntap-test-'));

/** The environment without what would configure the server or decide on colours, as `CI` does for Node. */
export const plainEnv = (): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(?:KERNTAP_|npm_|NODE_OPTIONS|VITEST|(?:CI|NO_COLOR|FORCE_COLOR|COLORTERM)$)/.test(name),
    ),
  );

function follow(child: ChildProcess): KerntapProcess {
  const written = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      written[name] += text;
    });
  }
  return {
    pid: child.pid ?? Number.NaN,
    ended: once(child, 'close').then(([code, signal]) => ({ code, signal }) as Ended),
    stdout: () => written.stdout,
    stderr: () => written.stderr,
    logged: (event) => written.stderr.includes(`"event":"${event}"`),
    kill: (signal) => void child.kill(signal),
  };
}

/** What tests read of an answer with `format: "json"`. */
export interface RunJson {
  readonly run_id: string;
  readonly execution_id: string;
  readonly state: string;
  readonly reason: string;
  readonly output: string;
  readonly timing: { readonly asked: string; readonly armed: string | null; readonly ended: string | null };
  readonly probes: { readonly asked: number; readonly attached: number };
  readonly sections: readonly {
    readonly name: string;
    readonly columns: readonly string[];
    readonly rows: readonly (readonly unknown[])[];
    readonly total: number;
  }[];
  readonly account: {
    readonly events: number;
    readonly lost: number | 'unknown';
    readonly lost_reported: number;
    readonly dropped_by_limit: { readonly events: number; readonly bytes: number };
    readonly map_full: readonly { readonly code?: number; readonly count: number }[];
    readonly repaired_strings: number;
  };
}

export const runJson = ({ text }: { readonly text: string }): RunJson => JSON.parse(text);

/** The run that an answer in words is about. */
export function runIdOf({ text }: { readonly text: string }): string {
  const id = /\brun(?:_id=")? ?([a-z0-9.-]+\.[0-9a-f]{8}-[0-9a-f-]{27})/.exec(text)?.[1];
  if (id === undefined) throw new Error(`no run id in: ${text}`);
  return id;
}
