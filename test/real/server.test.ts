import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rememberPrograms, tracesOf } from '../helpers/bpf-programs.ts';
import { canTrace } from '../helpers/machine.ts';
import { connect, type McpClient, mcpDrivers } from '../helpers/mcp-clients.ts';
import { runIdOf, runJson, type Server, startKerntap, startServer } from '../helpers/server.ts';
import { until } from '../helpers/until.ts';

/** Prints and counts ten times a second. */
const TICKS = 'interval:ms:100 { printf("tick"); @ticks = count(); }';

describe.skipIf(!canTrace)('the tools of a server [needs root and BPF]', () => {
  let server: Server;
  let client: McpClient;
  let programs: ReturnType<typeof rememberPrograms>;

  beforeAll(async () => {
    programs = rememberPrograms();
    server = await startServer();
    client = await connect(server.mcp);
    // Its trial of the probe kinds would be taken for traces.
    await until(() => server.logged('kernel.facts'), 'the server knows its kernel', 60_000);
  });

  afterAll(async () => {
    await client.close();
    await server[Symbol.asyncDispose]();
    expect(await server.ended).toEqual({ code: 0, signal: null });
    expect(await programs.leftOver([server.pid])).toEqual([]);
  });

  const exec = (args: Record<string, unknown>) => client.call('exec_program', args);
  const manage = (action: string, run_id: string, more: object = {}) =>
    client.call('manage_runs', { action, run_id, ...more });

  test.each(mcpDrivers)(
    'a minute is answered with its run at once, polled and stopped, by the $name',
    async (driver) => {
      await using client = await driver.connect(server.mcp);
      const begun = await client.call('exec_program', { program: TICKS, timeout: 60 });
      const run_id = runIdOf(begun);
      expect(begun.text).toMatch(/, running, \d\d s left, \d+ rows? so far$/m);
      expect(begun.text).toContain(`get_result(run_id="${run_id}", wait=25)`);
      expect(tracesOf(server.pid)).toHaveLength(1);

      const told: number[] = [];
      const onProgress = ({ progress, message }: { progress: number; message?: string }) => {
        told.push(progress);
        expect(message).toMatch(/^1 attach point attached, \d+ of 60 s, \d+ events$/);
      };
      const polled = await client.call('get_result', { run_id, wait: 1.2 }, { onProgress });
      expect(polled.text).toMatch(/, running, \d\d s left, \d+ rows so far$/m);
      expect(told.length).toBeGreaterThan(1);
      expect(told).toEqual([...new Set(told)].toSorted((a, b) => a - b));

      const stopped = await client.call('manage_runs', { action: 'stop', run_id });
      expect(stopped.text).toMatch(/truncated \(.*stopped.*\), 0 lost$/m);
      expect(stopped.isError).toBe(false);
      const run = runJson(await client.call('get_result', { run_id, section: '@ticks', format: 'json' }));
      expect(run).toMatchObject({ state: 'truncated', reason: 'stopped', probes: { asked: 1, attached: 1 } });
      expect(run.sections[0]?.rows).toEqual([[run.account.events]]);
      expect(run.account.events).toBeGreaterThan(0);
      expect(tracesOf(server.pid)).toEqual([]);
    },
  );

  test('a short run is waited for, and whoever polls one learns its end when it comes', async () => {
    const [waited, begun] = await Promise.all([
      exec({ program: TICKS, timeout: 1, format: 'json' }),
      exec({ program: TICKS, timeout: 2, wait: false, format: 'json' }),
    ]);
    const run = runJson(waited);
    expect(run).toMatchObject({ state: 'complete', reason: 'deadline', account: { lost: 0 } });
    expect(Date.parse(run.timing.ended ?? '') - Date.parse(run.timing.armed ?? '')).toBeGreaterThanOrEqual(1_000);
    expect(run.account.events).toBeGreaterThan(0); // how many ticks a second has is the business of a busy machine

    expect(runJson(begun)).toMatchObject({ state: 'running', timing: { armed: expect.any(String), ended: null } });
    const polled = await client.call('get_result', { run_id: runJson(begun).run_id, wait: 25, format: 'json' });
    expect(runJson(polled)).toMatchObject({ state: 'complete', reason: 'deadline' });
  });

  test('a program that ends by itself is complete before its time', async () => {
    const answer = await exec({ program: 'interval:ms:300 { @n = 7; exit(); }', timeout: 20, format: 'json' });
    expect(runJson(answer)).toMatchObject({
      state: 'complete',
      reason: 'exit',
      sections: [{ name: '@n', rows: [[7]] }],
    });
  });

  test('execution_id and output stand beside run_id and sections, in both tools', async () => {
    const answer = await exec({ program: 'begin { printf("hello\\n"); @n = 7; }', format: 'json' });
    const run = runJson(answer);
    expect(run.execution_id).toBe(run.run_id);
    expect(run.output).toBe('hello\n@n: 7\n');
    expect(answer.structuredContent).toEqual(run);

    const { execution_id } = run;
    const read = await client.call('get_result', { execution_id, section: 'events', format: 'json' });
    expect(runJson(read)).toMatchObject({ execution_id, run_id: execution_id, output: 'hello\n' });
    expect(read.structuredContent).toEqual(runJson(read));
    const raw = await client.call('get_result', { execution_id, format: 'raw' });
    expect(raw.content[0]?.text).toBe('hello\n@n: 7\n');
  });

  test('check attaches nothing, and says what is wrong at its place', async () => {
    let seen = 0;
    const watch = setInterval(() => {
      seen += tracesOf(server.pid).length;
    }, 10);
    const good = await exec({ program: TICKS, check: true });
    const bad = await exec({ program: 'begin {\n  @n = count();\n  @n = "x"; }', check: true });
    clearInterval(watch);
    expect(good).toMatchObject({ isError: false, text: expect.stringMatching(/^ok: .*Nothing was attached/) });
    expect(bad).toMatchObject({ isError: true, text: expect.stringMatching(/^program\.invalid: 3:\d+: .*@n/) });
    expect(bad.text).toContain('Nothing was attached');
    expect(seen).toBe(0);
  });

  test('zero events are an answer', async () => {
    const answer = await exec({ program: 'tracepoint:syscalls:sys_enter_reboot { @ = count(); }', timeout: 1 });
    expect(answer.isError).toBe(false);
    expect(answer.text).toMatch(/1 probe was attached for 1\.\d s and none fired\./);
  });

  test('runs are listed, named, kept and deleted', async () => {
    const run_id = runIdOf(await exec({ program: 'begin { @n = 7; }' }));
    expect((await manage('rename', run_id, { name: 'before the fix' })).isError).toBe(false);
    expect((await manage('keep', run_id)).text).toContain('is kept');
    const line = (text: string) => text.split('\n').find((row) => row.includes(run_id)) ?? '';
    expect(line((await client.call('manage_runs', { action: 'list' })).text)).toMatch(
      /complete.*before the fix.*begin/,
    );

    expect((await manage('delete', run_id)).isError).toBe(false);
    expect(line((await client.call('manage_runs', { action: 'list' })).text)).toBe('');
    const gone = await client.call('get_result', { run_id });
    expect(gone).toMatchObject({ isError: true, text: expect.stringMatching(/^run\.unknown: There is no run /) });
  });

  test('a run that is not over cannot be deleted, and what is unknown is said to be', async () => {
    const run_id = runIdOf(await exec({ program: TICKS, timeout: 30 }));
    expect((await manage('delete', run_id)).text).toMatch(/^run\.running: .*stop it first/i);
    expect((await manage('stop', run_id)).text).toContain('truncated');
    const answers = await Promise.all([
      manage('stop', 'nonsense'),
      manage('delete', `${run_id.slice(0, -12)}000000000000`),
      client.call('get_result', { run_id: `elsewhere.${run_id.slice(-36)}` }),
      client.call('get_result', { run_id, section: '@nothing' }),
      client.call('get_result', {}),
      client.call('manage_runs', { action: 'stop' }),
    ]);
    expect(answers.map(({ isError, text }) => isError && text.split(':')[0])).toEqual([
      'run.unknown',
      'run.unknown',
      'run.unknown',
      'run.no_section',
      'argument.invalid',
      'argument.invalid',
    ]);
  });

  test('what is wrong at the start is one sentence with a remedy, and exit code 78', async () => {
    await using taken = await listening();
    const serve = ['serve', '--listen', '127.0.0.1:0', '--data-dir', server.dataDir];
    const starts = [
      [[...serve, '--listen', `127.0.0.1:${taken.port}`], `127.0.0.1:${taken.port}: it is taken`],
      [[...serve, '--listen', 'nowhere'], '"nowhere"'],
      [[...serve, '--listen', '0.0.0.0:0'], '--token-file'],
      [[...serve, '--max-timeout', '601'], '"601"'],
      [[...serve, '--nonsense'], '--nonsense'],
      [[...serve, 'stray'], '"stray"'],
      [[...serve, '--bpftrace', '/nonexistent/bpftrace'], '/nonexistent/bpftrace'],
      [[...serve, '--data-dir', '/proc/nowhere'], '/proc/nowhere'],
      [['sevre'], '"sevre"'],
    ] as const;
    await Promise.all(
      starts.map(async ([args, part]) => {
        const kerntap = startKerntap(args);
        expect(await kerntap.ended).toEqual({ code: 78, signal: null });
        const sentences = kerntap
          .stderr()
          .split('\n')
          .filter((line) => !line.startsWith('{'));
        expect(sentences).toEqual([expect.stringMatching(/^kerntap: \S.+\.$/), '']);
        expect(kerntap.stderr()).toContain(part);
        expect(kerntap.stdout()).toBe('');
      }),
    );
  });
});

async function listening(): Promise<{ port: number } & AsyncDisposable> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || address === null) return expect.unreachable();
  return {
    port: address.port,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
