import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { timesOf } from './machine.ts';
import { own, temporaryFolder } from './owned.ts';

export const PROJECT = join(import.meta.dirname, '..');

/** As `npm start` starts it (package.json). */
const NODE_FLAGS = ['--max-semi-space-size=2', '--optimize-for-size'];
const COMPILED = join(PROJECT, '.cache/compiled');

/** The parts of an answer in JSON that are measured. */
export interface RunAnswer {
  readonly run_id: string;
  readonly state: string;
  readonly reason: string;
  readonly timing: { readonly asked: string; readonly armed: string | null; readonly ended: string | null };
  readonly sections: readonly { readonly name: string; readonly rows: readonly (readonly unknown[])[] }[];
  readonly account: { readonly events: number; readonly dropped_by_limit: { readonly events: number } };
}

/** A `kerntap serve` with an MCP client on it. */
export interface BenchServer extends AsyncDisposable {
  readonly pid: number;
  readonly client: Client;
  call(tool: string, args: Record<string, unknown>): Promise<void>;
  /** Calls with `format: json`. */
  ask(tool: string, args: Record<string, unknown>): Promise<RunAnswer>;
  /** Resolves when the server and its children have not used the CPU for a while: the spare is ready, runs are over. */
  settled(): Promise<void>;
}

/** Starts `main` with a data folder of its own and waits until it has found out what the machine can do. */
export async function startServer(
  options: readonly string[] = [],
  main = join(PROJECT, 'src/main.ts'),
): Promise<BenchServer> {
  const data = await temporaryFolder();
  const args = [main, 'serve', '--listen', '127.0.0.1:0', '--data-dir', data.path, ...options];
  const child = spawn(process.execPath, [...NODE_FLAGS, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_COMPILE_CACHE: COMPILED },
  });
  const exited = once(child, 'exit');
  const said: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const process_ = own(child, async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await exited;
    await data[Symbol.asyncDispose]();
  });

  const url = await endpointOf(createInterface({ input: child.stdout }));
  const pid = child.pid;
  if (url === undefined || pid === undefined) {
    await process_[Symbol.asyncDispose]();
    throw new Error(`the server did not start: ${Buffer.concat(said).toString().trim()}`);
  }
  child.stdout.resume();
  const client = new Client({ name: 'kerntap-bench', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  await client.callTool({ name: 'bpf_info', arguments: {} });

  async function callTool(name: string, given: Record<string, unknown>) {
    const answer = await client.callTool({ name, arguments: given });
    if (answer.isError) throw new Error(`${name}: ${JSON.stringify(answer.content)}`);
    return answer;
  }
  return own(
    {
      pid,
      client,
      call: async (name: string, given: Record<string, unknown>) => void (await callTool(name, given)),
      ask: async (name: string, given: Record<string, unknown>) =>
        (await callTool(name, { ...given, format: 'json' })).structuredContent as unknown as RunAnswer,
      settled: () => settled(pid),
    },
    async () => {
      await client.close();
      await process_[Symbol.asyncDispose]();
    },
  );
}

async function endpointOf(lines: AsyncIterable<string>): Promise<string | undefined> {
  for await (const line of lines) {
    const url = /http:\/\/\S+\/mcp/.exec(line)?.[0];
    if (url !== undefined) return url;
  }
  return undefined;
}

const STILL_MS = 500;
const POLL_MS = 50;

async function settled(server: number): Promise<void> {
  let before = '';
  for (let stillMs = 0; stillMs < STILL_MS; stillMs += POLL_MS) {
    const now = JSON.stringify(family(server));
    if (now !== before) stillMs = 0;
    before = now;
    await wait(POLL_MS);
  }
}

/** The CPU time of a process and of each of its children. */
const family = (server: number) =>
  readdirSync('/proc')
    .map(Number)
    .flatMap((pid) => {
      const times = Number.isInteger(pid) ? timesOf(pid) : undefined;
      return times && (pid === server || times.parent === server) ? [[pid, times.cpuMs]] : [];
    });
