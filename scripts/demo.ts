// The whole of kerntap in one terminal: a server, a process with a planted fault, an MCP client that asks, the answer.
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { styleText } from 'node:util';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

/** The fault: a shop that looks for its feature flags where nobody has put them, and goes on without a word. */
const FAULTY = 'while :; do read -r flags < flags/checkout.json; read -r load < /proc/loadavg; sleep 0.05; done';

const QUESTION = `tracepoint:syscalls:sys_enter_openat /comm == "checkout"/ { @name[tid] = str(args.filename); }
tracepoint:syscalls:sys_exit_openat /@name[tid] != ""/ {
  if (args.ret < 0) { @failed[@name[tid], -args.ret] = count(); }
  delete(@name, tid);
}`;

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort(new Error('stopped')));

const main = join(import.meta.dirname, '../src/main.ts');
const folder = await mkdtemp(join(tmpdir(), 'kerntap-demo-'));
const startMs = performance.now();
try {
  await demo();
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  say('dim', `\nServer, process and data are gone again, after ${seconds} s.`);
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode ||= 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function demo(): Promise<void> {
  const serve = ['serve', '--listen', '127.0.0.1:0', '--data-dir', join(folder, 'data')];
  await using server = start(process.execPath, [main, ...serve]);
  const url = await endpointOf(server);
  step(`kerntap listens on ${url}`);

  const checkout = join(folder, 'checkout'); // the kernel names a process after the file that was started
  await symlink('/bin/bash', checkout);
  await writeFile(join(folder, 'checkout.sh'), FAULTY);
  await using _faulty = start(checkout, ['checkout.sh'], { cwd: folder, stdio: 'ignore' });
  step('A process named checkout runs. Something that it needs is missing, and it tells nobody.');

  const client = new Client({ name: 'kerntap-demo', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(new StreamableHTTPClientTransport(url));
  step(`An MCP client (${client.getNegotiatedProtocolVersion()}) asks the kernel for 3 seconds: exec_program`);
  say('dim', QUESTION);
  const question = { name: 'exec_program', arguments: { program: QUESTION, timeout: 3 } };
  const answer = await client.callTool(question, { signal: stop.signal });
  await client.close();

  step('What the model reads');
  for (const block of answer.content) if (block.type === 'text') console.log(block.text);
}

/** Starts a child of the demo that ends with it. */
function start(file: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess & AsyncDisposable {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const ended = once(child, 'exit');
  return Object.assign(child, {
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await ended;
    },
  });
}

/** Where the server listens, from its output. Throws what it says on standard error when it cannot start. */
async function endpointOf(server: ChildProcess): Promise<URL> {
  const { stdout, stderr } = server;
  if (!stdout || !stderr) throw new Error('the server has no output');
  const ended = Promise.all([text(stderr), once(server, 'close')]);
  for await (const line of createInterface({ input: stdout })) {
    const url = /http:\/\/\S+\/mcp/.exec(line)?.[0];
    if (url === undefined) continue;
    stdout.resume();
    return new URL(url);
  }
  const [told] = await ended;
  process.exitCode = server.exitCode ?? 1;
  throw new Error(told.trim());
}

function say(style: Parameters<typeof styleText>[0], words: string): void {
  console.log(styleText(style, words));
}
function step(words: string): void {
  say('cyan', `\n# ${words}`);
}
