import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rememberPrograms, tracesOf } from '../helpers/bpf-programs.ts';
import { callModern, modernRequest, openSession, post, rawSocket } from '../helpers/http.ts';
import { canTrace, isRoot } from '../helpers/machine.ts';
import { connect, legacyDrivers, type McpClient } from '../helpers/mcp-clients.ts';
import { connectStdio, runIdOf, runJson, type Server, startServer, temporaryFolder } from '../helpers/server.ts';
import { until } from '../helpers/until.ts';

const MIB = 1 << 20;

/** Prints and counts ten times a second; `name` tells runs apart. */
const ticks = (name: string) => `interval:ms:100 { @${name} = count(); printf("tick"); }`;

const connectLegacy = async (url: string) => (await legacyDrivers[0]?.connect(url)) ?? expect.unreachable();

const begin = async (client: McpClient, program: string, timeout = 60) =>
  runIdOf(await client.call('exec_program', { program, timeout, wait: false }));
const read = async (client: McpClient, run_id: string, waitS = 0) =>
  runJson(await client.call('get_result', { run_id, wait: waitS, format: 'json', section: 'events' }));
const stop = (client: McpClient, run_id: string) => client.call('manage_runs', { action: 'stop', run_id });

/** The run whose program holds `text`. */
async function runWith(client: McpClient, text: string): Promise<string> {
  const list = await client.call('manage_runs', { action: 'list' });
  return runIdOf({
    text: `run ${list.text
      .split('\n')
      .find((line) => line.includes(text))
      ?.trim()}`,
  });
}

const servers: number[] = [];
const programs = rememberPrograms();
const start = async (...given: Parameters<typeof startServer>) => {
  const server = await startServer(...given);
  servers.push(server.pid);
  return server;
};

afterAll(async () => {
  expect(await programs.leftOver(servers)).toEqual([]);
});

describe.skipIf(!canTrace)('a server goes on when others fail [needs root and BPF]', () => {
  let server: Server;
  let client: McpClient;

  beforeAll(async () => {
    server = await start();
    client = await connect(server.mcp);
    await until(() => server.logged('kernel.facts'), 'the server knows its kernel', 60_000);
  });

  afterAll(async () => {
    await client.close();
    await server[Symbol.asyncDispose]();
    expect(server.stderr()).not.toContain('"level":"error"');
  });

  const allStopped = () => until(() => tracesOf(server.pid).length === 0, 'nothing is attached');

  test('a client that vanishes ends its run in the modern era; in a session only its cancel does', async () => {
    const leave = new AbortController();
    const call = (name: string, timeout: number) => ({ program: ticks(name), timeout });
    const session = await openSession(server.mcp);
    const ask = (id: number, args: object) =>
      post(
        server.mcp,
        JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'exec_program', arguments: args } }),
        { headers: session, signal: leave.signal },
      ).then((response) => response.text());
    const calls = [
      callModern(server.mcp, 'exec_program', call('modern_cut', 20), { signal: leave.signal }).then((it) => it.text()),
      ask(1, call('session_cut', 4)),
      ask(2, call('session_cancel', 20)),
    ];
    await wait(2_000);
    const params = { requestId: 2, reason: 'not needed' };
    const cancel = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
    await post(server.mcp, cancel, { headers: session });
    leave.abort();
    await Promise.allSettled(calls);

    const [cut, sessionCut, cancelled] = await Promise.all(
      ['modern_cut', 'session_cut', 'session_cancel'].map(async (name) =>
        read(client, await runWith(client, name), 20),
      ),
    );
    expect(cut).toMatchObject({ state: 'truncated', reason: expect.stringMatching(/^(?:client_gone|cancelled)$/) });
    expect(sessionCut).toMatchObject({ state: 'complete', reason: 'deadline' });
    expect(cancelled).toMatchObject({ state: 'truncated', reason: 'cancelled' });
    for (const run of [cut, sessionCut, cancelled]) expect(run?.account.events).toBeGreaterThan(0);
    await allStopped();
  });

  test('clients that never read cost little memory and hold nobody up, and their runs end', async () => {
    const residentBytes = () =>
      Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) * 1024;
    const head = (headers: Record<string, string>, body: string) => [
      'POST /mcp HTTP/1.1',
      `host: 127.0.0.1:${server.port}`,
      'content-type: application/json',
      'accept: application/json, text/event-stream',
      `content-length: ${Buffer.byteLength(body)}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ];
    const before = residentBytes();
    const args = { program: ticks('never_read'), timeout: 3 };
    const trace = modernRequest('tools/call', { name: 'exec_program', arguments: args, _meta: { progressToken: 1 } });
    const list = modernRequest('tools/list');
    const listing = [...head(list.headers, list.body), '', list.body].join('\r\n');
    using reader = rawSocket(server.port, head(trace.headers, trace.body), trace.body);
    reader.socket.pause();
    using lister = rawSocket(server.port, head(list.headers, list.body), list.body + listing.repeat(1_000));
    lister.socket.pause();

    await until(() => tracesOf(server.pid).length === 1, 'it traces');
    expect(runJson(await client.call('exec_program', { program: 'begin { @n = 1; }', format: 'json' })).state).toBe(
      'complete',
    );
    const run = await read(client, await runWith(client, 'never_read'), 20);
    expect(['complete', 'truncated']).toContain(run.state);
    await allStopped();
    expect(residentBytes() - before).toBeLessThan(192 * MIB); // V8 takes 100 MiB before it collects, whoever asks
  });

  test('kill -9 of a bpftrace: its run is interrupted and has what it had', async () => {
    const answer = client.call('exec_program', { program: ticks('killed'), timeout: 20, format: 'json' });
    await until(() => tracesOf(server.pid).length === 1, 'it traces');
    await wait(1_000);
    const [trace] = tracesOf(server.pid);
    process.kill(trace?.pid ?? expect.unreachable(), 'SIGKILL');
    const run = runJson(await answer);
    expect(run).toMatchObject({ state: 'interrupted', reason: 'killed', account: { lost: 'unknown' } });
    expect(run.account.events).toBeGreaterThan(0);
    await allStopped();
  });

  test('with all 8 slots taken a call is told when one is free, or waits when that is soon', async () => {
    await using other = await connectLegacy(server.mcp);
    const runs = await Promise.all(
      [client, other].flatMap((it) => [1, 2, 3, 4].map(() => begin(it, 'interval:s:60 { }'))),
    );
    expect(tracesOf(server.pid)).toHaveLength(8);
    const refused = await Promise.all([client, other].map((it) => it.call('exec_program', { program: 'begin { }' })));
    for (const answer of refused) {
      expect(answer.isError).toBe(true);
      expect(answer.text).toMatch(/^limit\.runs: All 8 slots of this node are taken; the next is free in \d\d s/);
      expect(answer.text).toContain('manage_runs(action="stop")');
    }

    const [first = '', ...rest] = runs;
    await stop(client, first);
    await begin(other, 'interval:s:60 { }', 3);
    const waited = await client.call('exec_program', { program: 'begin { @n = 7; }', format: 'json' });
    expect(runJson(waited)).toMatchObject({ state: 'complete', sections: [{ name: '@n', rows: [[7]] }] });
    await Promise.all(rest.map((id) => stop(other, id)));
    await allStopped();
  });

  test('a second server and a stdio server on the same folder read and stop its runs, and harm none', async () => {
    const long = await begin(client, ticks('long'), 8);
    const stopped = await begin(client, ticks('stopped'));
    await using second = await start({ dataDir: server.dataDir });
    await using stdio = await connectStdio(server.dataDir);
    servers.push(stdio.pid);
    await using reader = await connect(second.mcp);

    expect(await read(reader, long)).toMatchObject({ state: 'running', run_id: long });
    expect(await read(stdio.client, long)).toMatchObject({ state: 'running' });
    expect((await stop(stdio.client, stopped)).text).toContain('truncated');
    const [byOwner, byReader] = await Promise.all([read(client, stopped), read(reader, stopped)]);
    expect(byReader).toEqual(byOwner);
    expect(byReader).toMatchObject({ state: 'truncated', reason: 'stopped' });

    const own = await stdio.client.call('exec_program', { program: 'begin { @n = 7; }', format: 'json' });
    expect(runJson(own)).toMatchObject({ state: 'complete', sections: [{ rows: [[7]] }] });
    const ended = await read(reader, long, 20);
    expect(ended).toMatchObject({ state: 'complete', reason: 'deadline', account: { lost: 0 } });
    expect(ended.account.events).toBeGreaterThan(0);
    await allStopped();
  });
});

describe.skipIf(!canTrace)('a server that ends [needs root and BPF]', () => {
  test('by kill -9 leaves nothing attached, and its run is there after a restart, interrupted', async () => {
    const dataDir = await temporaryFolder();
    try {
      const killed = await start({ dataDir });
      const client = await connect(killed.mcp);
      const done = runIdOf(await client.call('exec_program', { program: 'begin { @n = 7; }' }));
      const open = await begin(client, ticks('open'));
      await until(() => tracesOf(killed.pid).length > 0, 'it traces');
      await wait(2_000);
      const before = await read(client, open);
      expect(before.account.events).toBeGreaterThan(0);
      killed.kill('SIGKILL');
      await killed.ended;
      expect(await programs.leftOver([killed.pid])).toEqual([]);

      await using restarted = await start({ dataDir });
      await using again = await connect(restarted.mcp);
      const run = await read(again, open);
      expect(run).toMatchObject({ state: 'interrupted', reason: 'server_died', account: { lost: 'unknown' } });
      expect(run.account.events).toBeGreaterThan(before.account.events - 10);
      expect(run.sections[0]?.total).toBe(run.account.events);
      const whole = await again.call('get_result', { run_id: done, format: 'json' });
      expect(runJson(whole)).toMatchObject({ state: 'complete', sections: [{ name: '@n', rows: [[7]] }] });
      expect((await again.call('exec_program', { program: 'begin { @n = 7; }' })).isError).toBe(false);
    } finally {
      await rm(dataDir, { recursive: true });
    }
  });

  // Ctrl-C comes twice under npm: from the terminal, and passed on.
  test.each([
    ['SIGTERM', ['SIGTERM']],
    ['two SIGINT at once', ['SIGINT', 'SIGINT']],
  ] as const)('by %s stops its runs and gives everybody who waits what there is', async (_what, signals) => {
    await using server = await start();
    await using one = await connect(server.mcp);
    await using two = await connectLegacy(server.mcp);
    const polled = await begin(one, ticks('polled'));
    let told = 0;
    const waiting = (client: McpClient, name: string, args: object) => {
      let first = true;
      const onProgress = () => {
        if (first) told += 1;
        first = false;
      };
      return client.call(name, { ...args, format: 'json' }, { onProgress });
    };
    const answers = [
      waiting(one, 'exec_program', { program: ticks('modern'), timeout: 20 }),
      waiting(two, 'exec_program', { program: ticks('legacy'), timeout: 20 }),
      waiting(one, 'get_result', { run_id: polled, wait: 25 }),
    ];
    await until(() => told === answers.length, 'all of them trace');
    await wait(1_000);
    for (const signal of signals) server.kill(signal);
    for (const answer of await Promise.all(answers)) {
      const run = runJson(answer);
      expect(run).toMatchObject({ state: 'truncated', reason: 'drained' });
      expect(run.account.events).toBeGreaterThan(0);
    }
    expect(await server.ended).toEqual({ code: 0, signal: null });
    expect(server.stderr()).toContain('stopping 3 running traces');
    expect(server.stderr()).not.toContain('"level":"error"');
    expect(await programs.leftOver([server.pid])).toEqual([]);
  });

  test.skipIf(!isRoot)('never needs the disk for what it has: a full one refuses new runs and loses none', async () => {
    await using disk = await smallDisk(8 * MIB);
    await using server = await start({ dataDir: disk.path });
    await using client = await connect(server.mcp);
    const done = runIdOf(await client.call('exec_program', { program: 'begin { printf("x"); @n = 7; }' }));
    const open = await begin(client, ticks('open'));
    disk.fill();

    const refused = await client.call('exec_program', { program: 'begin { @n = 7; }' });
    expect(refused).toMatchObject({ isError: true, text: expect.stringMatching(/^store\.full: /) });
    expect(await read(client, done)).toMatchObject({ state: 'complete', account: { events: 1 } });
    await stop(client, open);
    const run = await read(client, open);
    expect(run).toMatchObject({ state: 'truncated', reason: expect.stringMatching(/^(?:stopped|store_full)$/) });
    expect(run.sections[0]?.total).toBe(run.account.events);

    disk.free();
    const taken = await client.call('exec_program', { program: 'begin { @n = 7; }' });
    expect(taken).toMatchObject({ isError: false });
  });
});

/** A disk of `bytes` that can be filled to its last one. */
async function smallDisk(bytes: number) {
  const path = await temporaryFolder();
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path]);
  const filler = join(path, 'filler');
  return {
    path,
    fill() {
      for (const size of [65_536, 4_096]) {
        try {
          for (;;) writeFileSync(filler, Buffer.alloc(size), { flag: 'a' });
        } catch {
          // There is no room for so much.
        }
      }
    },
    free: () => rmSync(filler),
    async [Symbol.asyncDispose]() {
      execFileSync('umount', ['--lazy', path]);
      await rm(path, { recursive: true });
    },
  };
}
