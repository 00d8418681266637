// The whole of kerntap in one terminal: a server, a process with a planted fault, an MCP client that asks, the answer.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { styleText } from 'node:util';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const QUESTION = `tracepoint:syscalls:sys_enter_openat /comm == "checkout"/ { @path[tid] = str(args.filename); }
tracepoint:syscalls:sys_exit_openat /@path[tid] != ""/ {
  if (args.ret < 0) { @failed_opens[comm, @path[tid], -args.ret] = count(); }
  delete(@path, tid);
}`;
// The fault: a shop that looks for its feature flags in a place where nobody has put them.
const FAULTY = 'while :; do read -r flags < flags/checkout.json; read -r load < /proc/loadavg; sleep 0.05; done';

const project = join(import.meta.dirname, '..');
const folder = await mkdtemp(join(tmpdir(), 'kerntap-demo-'));
const say = (style: Parameters<typeof styleText>[0], text: string) => console.log(styleText(style, text));
const step = (text: string) => say('cyan', `\n# ${text}`);

/** Starts a child of the demo that ends with it. */
function start(file: string, args: readonly string[], options: object): ChildProcess & AsyncDisposable {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  return Object.assign(child, {
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      await once(child, 'exit');
    },
  });
}

async function endpointOf(server: ChildProcess): Promise<URL> {
  const errors: string[] = [];
  server.stderr?.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
  if (server.stdout)
    for await (const line of createInterface({ input: server.stdout })) {
      const url = /http:\/\/\S+\/mcp/.exec(line)?.[0];
      if (url !== undefined) return new URL(url);
    }
  throw new Error(errors.join('').trim());
}

async function demo(): Promise<void> {
  step('kerntap serve, on a free port');
  const serve = [join(project, 'src/main.ts'), 'serve', '--listen', '127.0.0.1:0', '--data-dir', join(folder, 'data')];
  await using server = start(process.execPath, serve, {});
  const url = await endpointOf(server);
  server.stdout?.resume();
  say('dim', `listening on ${url}`);

  step('a process with a fault: it opens a file that is not there, and tells nobody');
  const comm = join(folder, 'checkout'); // the kernel names a process after the file that was started
  await symlink('/bin/bash', comm);
  await writeFile(join(folder, 'checkout.sh'), FAULTY);
  await using _faulty = start(comm, [join(folder, 'checkout.sh')], { cwd: folder, stdio: 'ignore' });
  say('dim', 'checkout is running');

  step('an MCP client asks the kernel for 3 seconds: exec_program');
  say('dim', QUESTION);
  const client = new Client({ name: 'kerntap-demo', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(new StreamableHTTPClientTransport(url));
  const answer = await client.callTool({ name: 'exec_program', arguments: { program: QUESTION, timeout: 3 } });
  await client.close();

  step('the answer, as a model reads it');
  for (const block of answer.content) if (block.type === 'text') console.log(block.text);
}

try {
  await demo();
  say('dim', '\nserver, process and data are gone again');
} catch (error) {
  console.error(styleText('red', error instanceof Error ? error.message : String(error), { stream: process.stderr }));
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
