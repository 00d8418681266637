import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { inTerminal, kerntap, MAIN, nothingLeftOf } from '../cli/kerntap.ts';
import { rememberPrograms } from '../helpers/bpf-programs.ts';
import { canTrace, projectRoot } from '../helpers/machine.ts';
import { plainEnv, type Server, startServer, temporaryFolder } from '../helpers/server.ts';
import { until } from '../helpers/until.ts';

/** Starts a run that counts for a minute, and answers with its id as soon as its probes are attached. */
async function startCounting({ url }: Pick<Server, 'url'>): Promise<string> {
  const response = await fetch(`${url}/v1/runs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ program: 'interval:ms:10 { @ticks = count(); }', timeout: 60, wait: 0 }),
  });
  const run = (await response.json()) as { run_id: string; state: string };
  expect(run.state).toBe('running');
  return run.run_id;
}

let dataDir = '';
beforeEach(async () => {
  dataDir = await temporaryFolder();
});
afterEach(() => rm(dataDir, { recursive: true }));

interface StoredRun {
  readonly state: string;
  readonly reason: string;
  readonly sections: readonly { readonly name: string; readonly rows: readonly (readonly number[])[] }[];
}

/** The run as the next server on the folder has it. */
async function readLater(id: string): Promise<StoredRun> {
  await using server = await startServer({ dataDir });
  return (await (await fetch(`${server.url}/v1/runs/${id}`)).json()) as StoredRun;
}

/** Ends what a test that failed has left running. */
function endGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGTERM');
  } catch {} // it is gone, as it should be
}

const COUNTED = { name: '@ticks', rows: [[expect.any(Number)]] };

describe.skipIf(!canTrace)('kerntap serve [needs root and BPF]', () => {
  test('prints where it listens, what clients are told, and what this node can do', async () => {
    await using server = await startServer();
    await until(() => server.stdout().includes('This node'), 'the node is described', 60_000);
    const out = server.stdout();
    expect(out).toContain(`  MCP     ${server.mcp}\n`);
    expect(out).toContain(`  HTTP    ${server.url}/v1/openapi.json\n`);
    expect(out).toContain(`  health  ${server.url}/readyz\n`);
    expect(out).toContain(`  data    ${server.dataDir}\n`);
    expect(out).toContain(`  claude mcp add --transport http kerntap ${server.mcp}\n`);
    expect(out).toContain(`  { "servers": { "kerntap": { "type": "http", "url": "${server.mcp}" } } }\n`);
    expect(out).toContain(`  { "mcpServers": { "kerntap": { "url": "${server.mcp}" } } }\n`);
    expect(out).toContain(`--server-url ${server.mcp}\n`);
    expect(out).toMatch(/^ {2}kernel {4}\d+\.\d+/m);
    expect(out).toMatch(/^ {2}bpftrace {2}\d+\.\d+\.\d+/m);
    expect(out).toMatch(/^ {2}probes {4}.*\binterval\b/m);
    expect(out).not.toMatch(/\n\n\n|\x1b/);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    for (const line of server.stderr().split('\n').filter(Boolean)) expect(() => JSON.parse(line), line).not.toThrow();
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('ends with 0 at %s and leaves nothing', async (signal) => {
    const programs = rememberPrograms();
    await using server = await startServer({ dataDir });
    server.kill(signal);
    server.kill(signal); // a terminal and npm both pass it on
    expect(await server.ended).toEqual({ code: 0, signal: null });
    expect(server.stderr()).toMatch(/^stopped$/m);
    await nothingLeftOf(server.pid);
    expect(await programs.leftOver([server.pid])).toEqual([]);
  });

  test('stops a running trace softly and keeps its map', async () => {
    let id: string;
    {
      await using server = await startServer({ dataDir });
      id = await startCounting(server);
      server.kill('SIGINT');
      expect(await server.ended).toEqual({ code: 0, signal: null });
      expect(server.stderr()).toContain('stopping a running trace and keeping what there is');
    }
    expect(await readLater(id)).toMatchObject({ state: 'truncated', reason: 'drained', sections: [COUNTED] });
  });

  test('does so through npm, too, which passes options on and Ctrl-C twice', async () => {
    const args = ['start', '--', '--listen', '127.0.0.1:0', '--data-dir', dataDir];
    // A group of its own, as a shell gives to what is started in it.
    const npm = spawn('npm', args, {
      cwd: projectRoot,
      env: plainEnv(),
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = once(npm, 'close');
    let [stdout, stderr] = ['', ''];
    npm.stdout.on('data', (text: Buffer) => {
      stdout += text.toString();
    });
    npm.stderr.on('data', (text: Buffer) => {
      stderr += text.toString();
    });
    onTestFinished(() => void endGroup(npm.pid));
    const endpoint = () => /^ {2}MCP +(http:\S+)\/mcp$/m.exec(stdout)?.[1];
    await until(() => endpoint() !== undefined, 'npm start listens', 60_000);
    expect(stdout).toContain(`  data    ${dataDir}\n`);
    const id = await startCounting({ url: endpoint() ?? '' });
    if (npm.pid !== undefined) process.kill(-npm.pid, 'SIGINT');
    expect(await ended, stderr).toEqual([0, null]);
    expect(stderr).not.toMatch(/npm (?:ERR|error)/);
    expect(await readLater(id)).toMatchObject({ state: 'truncated', reason: 'drained', sections: [COUNTED] });
  });

  test('a terminal shows a person no log and no colours that he does not want', async () => {
    const serve = ['serve', '--listen', '127.0.0.1:0', '--data-dir', dataDir];
    for (const noColor of [true, false]) {
      await using terminal = inTerminal(serve, noColor ? { NO_COLOR: '1' } : {});
      await until(() => terminal.shown().includes('sandbox'), 'the node is described', 60_000);
      terminal.interrupt();
      expect(await terminal.ended).toBe(0);
      expect(terminal.shown()).not.toContain('"level"');
      expect(terminal.shown()).toContain('stopped');
      expect(terminal.shown().includes('\x1b')).toBe(!noColor);
    }
  });

  test('a reader of its output that goes away does not end it', async () => {
    const args = [MAIN, 'serve', '--listen', '127.0.0.1:0', '--data-dir', dataDir];
    const child = spawn(process.execPath, args, { env: plainEnv(), stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = once(child, 'exit');
    let log = '';
    child.stderr.on('data', (text: Buffer) => {
      log += text.toString();
    });
    onTestFinished(() => void child.kill());
    const [banner] = (await once(child.stdout, 'data')) as [Buffer];
    child.stdout.destroy();
    await until(() => log.includes('"kernel.facts"'), 'what the node can do is written', 60_000);
    const url = /http:\S+(?=\/mcp)/.exec(banner.toString())?.[0];
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    child.kill('SIGTERM');
    expect(await ended, log).toEqual([0, null]);
    expect(log).not.toContain('EPIPE');
  });

  test('a port that is taken is one sentence, exit code 78, and nothing is left', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const address = taken.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { code, stdout, stderr } = await kerntap(['serve', '--listen', `127.0.0.1:${port}`, '--data-dir', dataDir]);
    taken.close();
    const words = stderr.split('\n').filter((line) => !line.startsWith('{'));
    expect(words).toEqual([
      `kerntap: Cannot listen on 127.0.0.1:${port}: it is taken. End the process that listens there, or choose another address with --listen.`,
      '',
    ]);
    expect(stdout).toBe('');
    expect(code).toBe(78);
  });

  test('a data folder that cannot be made is one sentence and exit code 78', async () => {
    const { code, stdout, stderr } = await kerntap(['serve', '--listen', '127.0.0.1:0', '--data-dir', '/dev/null/x']);
    expect(stderr).toMatch(/^kerntap: [^\n]*\/dev\/null\/x[^\n]*--data-dir\.$/m);
    expect(stdout).toBe('');
    expect(code).toBe(78);
  });
});

describe.skipIf(!canTrace)('kerntap check [needs root and BPF]', () => {
  test('says on one line each what this machine can do, with a remedy for each no, and a summary', async () => {
    const { code, stdout, stderr } = await kerntap(['check', '--data-dir', dataDir]);
    const lines = stdout.trimEnd().split('\n');
    const summary = lines.pop();
    expect(summary).toMatch(
      /^This machine can trace: \d+ of \d+ probe kinds attach, the sandbox is (?:full|degraded)\.$/,
    );
    for (const line of lines) expect(line).toMatch(/^(?:yes {2}\w+ +\S.*|no {3}\w+ +\S.*: \S.*)$/);
    for (const name of [
      'kernel',
      'BTF',
      'tracefs',
      'lockdown',
      'Landlock',
      'cgroups',
      'bpftrace',
      'sandbox',
      'kprobe',
      'data',
    ])
      expect(lines.filter((line) => line.slice(5).startsWith(`${name} `))).toHaveLength(1);
    expect(stdout).toMatch(/^yes {2}interval +attaches$/m);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });
});
