import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { plainProgram } from '../../src/program/instrument.ts';
import { canTrace } from '../helpers/machine.ts';
import {
  BOMB,
  bpftraceChildrenOf,
  cpuTicksOf,
  createTestTracer,
  isRunning,
  scalar,
  type TestTracer,
} from '../helpers/tracer.ts';
import { until } from '../helpers/until.ts';

/** The pid of the one bpftrace that waits for its program. */
async function waitingSpare(): Promise<number> {
  await until(() => bpftraceChildrenOf().length === 1, 'a spare that waits');
  const [pid = 0] = bpftraceChildrenOf();
  // Its command line is bpftrace's own once setpriv and prlimit are through.
  await until(() => !readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('--nnp'), 'the launch chain is through');
  return pid;
}

const runFoldersOf = ({ runDir }: TestTracer): string[] =>
  readdirSync(runDir).flatMap((own) =>
    readdirSync(join(runDir, own))
      .filter((name) => name.startsWith('run-'))
      .map((name) => join(runDir, own, name)),
  );

describe.skipIf(!canTrace)('the warm spare [needs root and BPF]', () => {
  test('comes with the first call, is used by the next one and replaced', async () => {
    await using own = await createTestTracer({ spare: true });
    expect(bpftraceChildrenOf()).toEqual([]);
    await own.run('begin { exit(); }').end;
    const spare = await waitingSpare();

    const run = own.run('interval:ms:10 { @ = count(); }');
    await run.armed;
    expect(bpftraceChildrenOf()).toContain(spare);
    run.stop('stopped');
    expect(await run.end).toMatchObject({ state: 'truncated', reason: 'stopped' });
    expect(own.events).toContainEqual(expect.objectContaining({ event: 'trace.stop', pid: spare }));

    expect(await waitingSpare()).not.toBe(spare);
    expect(runFoldersOf(own)).toHaveLength(1);
  });

  test('is neither started nor taken by a trial of what the kernel can do', async () => {
    await using own = await createTestTracer({ spare: true });
    const never = new AbortController().signal;
    const counts = plainProgram('interval:s:1 { @ = 1; }');
    expect(await own.tracer.attach(counts, never)).toEqual({ attached: true });
    expect(bpftraceChildrenOf()).toEqual([]);
    own.tracer.warm();
    const spare = await waitingSpare();
    expect(await own.tracer.attach(counts, never)).toEqual({ attached: true });
    expect(await waitingSpare()).toBe(spare);
  });

  test('that died while it waited does not harm the next run', async () => {
    await using own = await createTestTracer({ spare: true });
    own.tracer.warm();
    const spare = await waitingSpare();
    process.kill(spare, 'SIGKILL');
    const end = await own.run('begin { @a = 1; exit(); }').end; // whether it was seen to be dead or not
    expect(end).toMatchObject({ state: 'complete', reason: 'exit' });
    expect(scalar(end, '@a')).toBe(1);
  });

  test('is not tried again with a program that is too large to compile', async () => {
    await using own = await createTestTracer({ spare: true, armCpuMs: 500 });
    own.tracer.warm();
    const spare = await waitingSpare();
    const end = await own.run(BOMB).end;
    expect(end).toMatchObject({ state: 'failed', reason: 'not_armed' });
    expect(own.events).toEqual([{ event: 'trace.not_armed', pid: spare, why: 'too_large' }]);
  });

  test('that crashes while it compiles is not replaced: its program would crash the next one, too', async () => {
    await using own = await createTestTracer({ spare: true });
    own.tracer.warm();
    const spare = await waitingSpare();
    const { end } = own.run(BOMB);
    await until(() => cpuTicksOf(spare) > 80, 'it compiles');
    process.kill(spare, 'SIGSEGV');
    const { state, reason, diagnostics } = await end;
    expect({ state, reason }).toEqual({ state: 'failed', reason: 'crashed' });
    expect(diagnostics[0]?.message).toBe('bpftrace crashed while compiling this program (SIGSEGV)');
    expect(own.events.map(({ event }) => event)).not.toContain('spare.broken');
  });

  test('whose folder was removed is replaced by a cold start', async () => {
    await using own = await createTestTracer({ spare: true });
    own.tracer.warm();
    await waitingSpare();
    for (const folder of runFoldersOf(own)) rmSync(folder, { recursive: true });
    expect(await own.run('begin { exit(); }').end).toMatchObject({ state: 'complete', reason: 'exit' });
    expect(own.events).toContainEqual(expect.objectContaining({ event: 'spare.broken' }));
  });

  test('ends in order when nobody needs it, and comes back', async () => {
    await using own = await createTestTracer({ spare: true, spareIdleMs: 500 });
    own.tracer.warm();
    const spare = await waitingSpare();
    await until(() => !isRunning(spare), 'the idle spare ends');
    expect(own.events.map(({ event }) => event)).not.toContain('spare.died');
    await until(() => runFoldersOf(own).length === 0, 'its folder is gone');
    own.tracer.warm();
    expect(await waitingSpare()).not.toBe(spare);
  });

  test('is gone when the tracer is closed, with all of its folder', async () => {
    const own = await createTestTracer({ spare: true });
    own.tracer.warm();
    const spare = await waitingSpare();
    await own.tracer.close();
    expect(isRunning(spare)).toBe(false);
    expect(readdirSync(own.runDir)).toEqual([]);
    await own[Symbol.asyncDispose]();
  });
});
