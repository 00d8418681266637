import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { canTrace, projectRoot } from '../helpers/machine.ts';
import {
  bpfProgramIds,
  bpftraceChildrenOf,
  createTestTracer,
  isRunning,
  programsOf,
  temporaryFolder,
} from '../helpers/tracer.ts';
import { until } from '../helpers/until.ts';

describe.skipIf(!canTrace)('a server that is killed with SIGKILL [needs root and BPF]', () => {
  test.each([
    ['tracepoints', 'tracepoint:sched:* { @ = count(); }'],
    ['a flood', `profile:us:50 { ${'printf("flood\\n"); '.repeat(8)} }`],
  ])('leaves nothing attached, no bpftrace and, after the next start, no folder: %s', async (_what, program) => {
    using folder = temporaryFolder();
    const statsBefore = stats();
    const script = join(projectRoot, 'test/helpers/tracer-process.ts');
    const server = spawn(process.execPath, [script, folder.path, program], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise<void>((resolve) => server.stdout.once('data', () => resolve()));
    await until(() => bpftraceChildrenOf(server.pid).length === 2, 'a run and a spare');
    const children = bpftraceChildrenOf(server.pid);
    const programs = children.flatMap(programsOf);
    expect(programs).not.toEqual([]);

    const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()));
    server.kill('SIGKILL');
    await ended;
    await until(() => !children.some(isRunning), 'every bpftrace gone');
    await until(() => !programs.some((id) => bpfProgramIds().has(id)), 'every program gone');

    const [left = ''] = readdirSync(folder.path);
    await using own = await createTestTracer({ runDir: folder.path });
    expect(own.events).toContainEqual({ event: 'sweep.removed', folder: join(folder.path, left) });
    expect(existsSync(join(folder.path, left))).toBe(false);
    expect(readdirSync(folder.path)).toHaveLength(1);
    await until(() => stats() === statsBefore, 'statistics as before');
  });

  test('is also swept by a server that started before', async () => {
    using folder = temporaryFolder();
    const statsBefore = stats();
    await using own = await createTestTracer({ runDir: folder.path, sweepEveryMs: 50 });
    const script = join(projectRoot, 'test/helpers/tracer-process.ts');
    const program = 'interval:ms:10 { @ = count(); }';
    const server = spawn(process.execPath, [script, folder.path, program], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise<void>((resolve) => server.stdout.once('data', () => resolve()));
    expect(stats()).not.toBe('0');
    server.kill('SIGKILL');
    await until(() => own.events.some(({ event }) => event === 'sweep.removed'), 'a sweep');
    await until(() => stats() === statsBefore, 'statistics as before');
    expect(readdirSync(folder.path)).toHaveLength(1);
  });

  test('is swept only when it is dead: a living one keeps its folder and its run', async () => {
    using folder = temporaryFolder();
    await using first = await createTestTracer({ runDir: folder.path });
    const run = first.run('interval:ms:10 { @ = count(); }');
    await run.armed;
    await using second = await createTestTracer({ runDir: folder.path });
    expect(second.events).toEqual([]);
    expect(readdirSync(folder.path)).toHaveLength(2);
    run.stop('stopped');
    expect(await run.end).toMatchObject({ state: 'truncated', reason: 'stopped' });
  });
});

const stats = () => readFileSync('/proc/sys/kernel/bpf_stats_enabled', 'utf8').trim();
