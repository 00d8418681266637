import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { plainProgram } from '../../src/program/instrument.ts';
import { canTrace } from '../helpers/machine.ts';
import {
  BOMB,
  bpfProgramIds,
  bpftraceChildrenOf,
  createTestTracer,
  isRunning,
  programsOf,
  scalar,
  startGetppid,
} from '../helpers/tracer.ts';
import { until } from '../helpers/until.ts';

// More messages a sample than bpftrace can print, on however many CPUs.
const FLOOD = `profile:us:20 { @hits = count(); ${'printf("flood %d\\n", nsecs); '.repeat(16)} }`;

/** A program that did not pass the admission, to see what the launch chain alone holds back. */
const unadmitted = (source: string) => ({ ...plainProgram(source), endsAtOnce: true });

test.skipIf(!canTrace)(
  'in traces bpftrace goes by its own name, not by that of a loader [needs root and BPF]',
  async () => {
    await using own = await createTestTracer();
    const run = own.run('interval:s:100 { }');
    await run.armed;
    const [pid = 0] = bpftraceChildrenOf();
    expect(readFileSync(`/proc/${pid}/comm`, 'utf8')).toBe('bpftrace\n');
    run.stop('stopped');
    await run.end;
  },
);

describe.skipIf(!canTrace)('a trace on the real kernel [needs root and BPF]', () => {
  test('counts exactly the system calls that were made while it was attached', async () => {
    await using workload = await startGetppid(20_000);
    await using own = await createTestTracer();
    const run = own.run(`tracepoint:syscalls:sys_enter_getppid /pid == ${workload.pid}/ { @calls = count(); }`);
    await run.armed;
    await workload.work();
    run.stop('stopped');
    const end = await run.end;
    expect(end).toMatchObject({ state: 'truncated', reason: 'stopped', attached: 1, diagnostics: [] });
    expect(scalar(end, '@calls')).toBe(20_000);
    expect(own.signals()).toEqual(['SIGUSR1']);
  });

  test('prints every event that was queued when it was stopped', async () => {
    await using workload = await startGetppid(60_000);
    await using own = await createTestTracer();
    const run = own.run(
      `tracepoint:syscalls:sys_enter_getppid /pid == ${workload.pid}/ { @calls = count(); printf("call\\n"); }`,
    );
    await run.armed;
    await workload.work();
    run.stop('stopped');
    const end = await run.end;
    expect(end.reason).toBe('stopped');
    expect(scalar(end, '@calls')).toBe(60_000);
    expect(end.counts.seen).toBe(60_000);
    expect(run.events).toHaveLength(end.counts.kept);
  });

  test('is over at its deadline, which counts from the moment when all probes are attached', async () => {
    await using own = await createTestTracer();
    const run = own.run('interval:ms:10 { @ticks = count(); }', { timeoutMs: 500 });
    const end = await run.end;
    expect(end).toMatchObject({ state: 'complete', reason: 'deadline' });
    expect(scalar(end, '@ticks')).toBeGreaterThan(0);
    expect(end.endedMs - (end.armedMs ?? Infinity)).toBeGreaterThanOrEqual(500);
  });

  test('loses none of 100,000 events that a begin probe prints, although it is stopped while they are printed', async () => {
    await using own = await createTestTracer();
    const run = own.run('begin { for ($i : 0..100000) { printf("x"); } @done = 1; }');
    const end = await run.end;
    expect(end).toMatchObject({ state: 'complete', reason: 'exit' });
    expect(run.events).toHaveLength(100_000);
    expect(scalar(end, '@done')).toBe(1);
    expect(own.signals()).toEqual(['SIGUSR1']);
  });

  test('ends by itself when its program exits, whatever exit code it chose', async () => {
    await using own = await createTestTracer();
    for (const program of ['begin { @a = 1; exit(); }', 'interval:ms:20 { @a = 1; exit(3); }']) {
      const end = await own.run(program).end;
      expect(end).toMatchObject({ state: 'complete', reason: 'exit', attached: 1 });
      expect(scalar(end, '@a')).toBe(1);
    }
    expect(own.signals()).toEqual([]);
  });

  test('a flood that never ends is over at its time, and is counted to the last event', async () => {
    await using own = await createTestTracer();
    const run = own.run(FLOOD, { timeoutMs: 1_000, maxEventBytes: 100_000 });
    const end = await run.end;
    expect(end).toMatchObject({ state: 'truncated', reason: 'event_limit' });
    expect(own.signals()).toEqual(['SIGUSR1']);
    expect(end.counts.seen).toBe(16 * Number(scalar(end, '@hits')));
    expect(end.counts.dropped.events).toBeGreaterThan(0);
    expect(end.counts.printed).toBe(end.counts.kept + end.counts.dropped.events);
  });

  test('a flood of errors that never ends is interrupted after two seconds, and its maps are kept', async () => {
    await using own = await createTestTracer();
    const run = own.run(`profile:us:20 { @hits = count(); ${'@[nsecs] = 1; '.repeat(16)} }`, { timeoutMs: 1_000 });
    const end = await run.end;
    expect(end).toMatchObject({ state: 'interrupted', reason: 'flood' });
    expect(own.signals()).toEqual(['SIGUSR1', 'SIGINT']);
    expect(scalar(end, '@hits')).toBeGreaterThan(0);
  });

  test('too many events truncate a run that is otherwise complete', async () => {
    await using own = await createTestTracer();
    const run = own.run('begin { for ($i : 0..5000) { printf("x"); } }', { maxEventBytes: 10_000 });
    const end = await run.end;
    expect(end).toMatchObject({ state: 'truncated', reason: 'event_limit' });
    expect(end.counts.printed).toBe(5_000);
    expect(run.events.length).toBeLessThan(5_000);
  });

  test('tells who stopped it, also when that was before the probes were attached', async () => {
    await using own = await createTestTracer();
    const early = own.run('interval:ms:10 { @ = count(); }');
    early.stop('client_gone');
    expect(await early.end).toMatchObject({ state: 'truncated', reason: 'client_gone', attached: 1 });
    const late = own.run('interval:ms:10 { @ = count(); }');
    await late.armed;
    late.stop('drained');
    expect(await late.end).toMatchObject({ state: 'truncated', reason: 'drained' });
  });

  test('a bpftrace that is killed leaves the events so far', async () => {
    await using own = await createTestTracer();
    const enough = Promise.withResolvers<void>();
    const run = own.run('interval:ms:10 { printf("tick\\n"); }', {
      onEvent: () => {
        if (run.events.length === 5) enough.resolve();
      },
    });
    await enough.promise;
    for (const pid of bpftraceChildrenOf()) process.kill(pid, 'SIGKILL');
    const end = await run.end;
    expect(end).toMatchObject({ state: 'interrupted', reason: 'killed', maps: [] });
    expect(end.counts.kept).toBeGreaterThanOrEqual(5);
  });

  test('a bpftrace that somebody else ends in order has not ended by itself', async () => {
    await using own = await createTestTracer();
    const run = own.run('interval:ms:10 { @ = count(); }');
    await run.armed;
    for (const pid of bpftraceChildrenOf()) process.kill(pid, 'SIGTERM');
    expect(await run.end).toMatchObject({ state: 'interrupted', reason: 'killed' });
  });

  test('a program that exits at the very moment of its deadline is complete', async () => {
    await using own = await createTestTracer();
    const end = await own.run('interval:ms:1000 { @ = count(); exit(); }', { timeoutMs: 1_000 }).end;
    expect(end).toMatchObject({ state: 'complete', reason: 'exit' });
    expect(scalar(end, '@')).toBe(1);
  });

  test('a traced text that looks like our end marker is an event like any other', async () => {
    await using own = await createTestTracer();
    const run = own.run('interval:ms:50 { print(("kt.end", 1)); } interval:ms:500 { exit(); }');
    const end = await run.end;
    expect(end).toMatchObject({ state: 'complete', reason: 'exit' });
    expect(run.events.length).toBeGreaterThan(0);
    expect(run.events[0]?.data).toEqual(['kt.end', 1]);
  });

  test('a run whose probes are not attached in time is ended before its program counts', async () => {
    await using own = await createTestTracer({ armLimitMs: 1 });
    const run = own.run('interval:ms:10 { printf("tick\\n"); }');
    expect(await run.end).toMatchObject({ state: 'failed', reason: 'not_armed', attached: 0 });
    expect(run.events).toEqual([]);
  });

  test('a program that takes too much CPU to compile is ended and told so, by a check, too', async () => {
    await using own = await createTestTracer({ armCpuMs: 1_000 });
    const end = await own.run(BOMB).end;
    expect(end).toMatchObject({ state: 'failed', reason: 'not_armed', attached: 0 });
    expect(end.diagnostics[0]).toEqual({
      severity: 'error',
      message: 'the program is too large to compile within 1 s of CPU',
      remedy: 'use fewer or smaller unroll blocks and fewer probes',
    });
    expect(bpftraceChildrenOf()).toEqual([]);
    const checked = await own.tracer.check(unadmitted(BOMB), new AbortController().signal);
    expect(checked[0]).toEqual(end.diagnostics[0]);
  });

  test('does not end before it began when the clock is set back meanwhile', async () => {
    await using own = await createTestTracer();
    const run = own.run('interval:ms:10 { @ = count(); }');
    await run.armed;
    vi.setSystemTime(0);
    try {
      run.stop('stopped');
      const { armedMs, endedMs } = await run.end;
      expect(endedMs).toBeGreaterThan(armedMs ?? Infinity);
      expect(Number.isInteger(endedMs)).toBe(true);
    } finally {
      vi.useRealTimers();
    }
  });

  test('is ended and reaped without its stop sequence when the server is in a hurry', async () => {
    const own = await createTestTracer({ spare: true });
    const flood = own.run(FLOOD);
    const compiling = own.run(BOMB);
    await flood.armed;
    const children = bpftraceChildrenOf();
    expect(children).toHaveLength(2);
    const hurry = new AbortController();
    const closed = own.tracer.close(hurry.signal);
    hurry.abort();
    await closed;
    expect(children.some(isRunning)).toBe(false);
    expect(bpftraceChildrenOf()).toEqual([]);
    expect(await flood.end).toMatchObject({ state: 'interrupted', reason: 'killed' });
    expect(await compiling.end).toMatchObject({
      state: 'failed',
      reason: 'crashed',
      diagnostics: [{ message: 'bpftrace ended before its probes were attached (SIGTERM)' }],
    });
    expect(readdirSync(own.runDir)).toEqual([]);
    await own[Symbol.asyncDispose]();
  });

  test.each([
    ['a syntax error', 'begin { @a = }', 'invalid'],
    ['a name that does not exist', 'tracepoint:kerntap:nothing { @ = count(); }', 'invalid'],
    ['more probes than are allowed', 'tracepoint:syscalls:* { @ = count(); }', 'invalid'],
    [
      'a loop that the verifier refuses',
      'begin { $i = 0; while ($i < 100000000) { @[$i] = $i; $i++; } }',
      'unloadable',
    ],
  ])('%s fails with what bpftrace says of it', async (_what, program, reason) => {
    await using own = await createTestTracer();
    const end = await own.run(unadmitted(program)).end;
    expect(end).toMatchObject({ state: 'failed', reason, attached: 0, maps: [] });
    expect(end.diagnostics.filter(({ severity }) => severity === 'error')).not.toEqual([]);
    expect(end.armedMs).toBeUndefined();
  });

  test('attaches a wildcard of 26 tracepoints and takes every one away', async () => {
    await using own = await createTestTracer();
    const { stdout } = await own.tracer.query(['-l', 'tracepoint:sched:*'], new AbortController().signal);
    const listed = stdout.split('\n').filter((line) => line.startsWith('tracepoint:sched:')).length;
    const run = own.run('tracepoint:sched:* { @ = count(); }');
    await run.armed;
    const [pid = 0] = bpftraceChildrenOf();
    const programs = programsOf(pid);
    run.stop('stopped');
    const end = await run.end;
    expect(end).toMatchObject({ state: 'truncated', reason: 'stopped', attached: listed });
    expect(listed).toBeGreaterThan(20);
    expect(programs.length).toBeGreaterThan(1);
    await until(() => !programs.some((id) => bpfProgramIds().has(id)), 'programs gone');
  });

  test('a config block cannot raise the limits of the environment', async () => {
    await using own = await createTestTracer();
    const end = await own.run(
      unadmitted('config = { max_map_keys = 100000 } begin { for ($i : 0..9000) { @[$i] = 1; } }'),
    ).end;
    expect(end).toMatchObject({ state: 'truncated', reason: 'map_full' });
    expect(end.maps[0]?.total).toBe(4_096);
  });

  test('measures what each probe cost and how often it ran', async () => {
    await using workload = await startGetppid(5_000);
    await using own = await createTestTracer();
    const run = own.run(`tracepoint:syscalls:sys_enter_getppid /pid == ${workload.pid}/ { @ = count(); }`);
    await run.armed;
    await workload.work();
    run.stop('stopped');
    const { cost, missed } = await run.end;
    const probe = cost?.probes.find(({ name }) => name === 'sys_enter_getppid');
    expect(probe?.runs).toBeGreaterThanOrEqual(5_000);
    expect(probe?.timeNs).toBeGreaterThan(0);
    expect(cost?.probes).toHaveLength(1); // not our own
    expect(cost?.timeNs).toBeGreaterThanOrEqual(probe?.timeNs ?? Infinity);
    expect(cost?.cpuShare).toBeGreaterThan(0);
    expect(missed).toBe(0);
  });

  test('the watchdog ends a run whose probes take more than a quarter of a core', async () => {
    await using own = await createTestTracer({ watchdog: true });
    const end = await own.run('profile:hz:999 { for ($i : 0..100000) { @ = $i; } }').end;
    expect(end).toMatchObject({ state: 'truncated', reason: 'watchdog' });
    expect(end.cost?.cpuShare).toBeGreaterThan(0.25);
  });

  test('runs go on beside one another', async () => {
    await using own = await createTestTracer({ spare: true });
    const runs = [1, 2, 3].map((n) => own.run(`begin { @n = ${n}; } interval:ms:100 { exit(); }`));
    const ends = await Promise.all(runs.map(({ end }) => end));
    expect(ends.map((end) => scalar(end, '@n'))).toEqual([1, 2, 3]);
  });

  test('checks a program without loading or attaching it', async () => {
    await using own = await createTestTracer();
    const { signal } = new AbortController();
    const check = async (source: string) => own.tracer.check(unadmitted(source), signal);
    expect(await check('rawtracepoint:sched_switch { @[comm] = count(); }')).toEqual([]);
    expect(await check('begin { @a = }')).toMatchObject([{ severity: 'error' }]);
    // What only the verifier refuses passes: nothing was loaded.
    const loop = await check('begin { $i = 0; while ($i < 100000000) { @[$i] = $i; $i++; } }');
    expect(loop.filter(({ severity }) => severity === 'error')).toEqual([]);
  });

  test('refuses to run when it is closed', async () => {
    const own = await createTestTracer();
    await own[Symbol.asyncDispose]();
    await expect(own.run('begin { exit(); }').end).rejects.toMatchObject({ code: 'trace.unavailable' });
  });
});
