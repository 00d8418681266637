import { statSync } from 'node:fs';
import { expect, test } from 'vitest';
import { makeCgroups } from '../helpers/cgroups.ts';
import { canTrace } from '../helpers/machine.ts';
import { startScript, traceScoped } from '../helpers/scoped-trace.ts';

const NESTED = ['unshare', '-p', '--fork', 'unshare', '-p', '--fork'];
const PROGRAM = `
  tracepoint:syscalls:sys_enter_getppid { @pids[pid] = count(); @start[tid] = nsecs; }
  tracepoint:syscalls:sys_exit_getppid /@start[tid]/ { @pairs[tid()] = count(); delete(@start, tid); }`;

/** The number that the kernel gives to its first pid namespace (include/linux/proc_ns.h). */
const isInitial = statSync('/proc/self/ns/pid').ino === 0xeffffffc;

test.skipIf(!canTrace || !isInitial)(
  'in a nested pid namespace, pid and tid tell the tasks of the target apart: two processes, 30 and 12 pairs [needs root and BPF]',
  async () => {
    await using cgroups = makeCgroups(['pod']);
    await using one = await startScript('getppid for 1..30; pause; getppid for 1..30');
    await using two = await startScript('getppid for 1..12; pause; getppid for 1..12');
    for (const { pid } of [one, two]) cgroups.enter('pod', pid);
    const target = { groups: [cgroups.group('pod')] };
    const maps = async (nestedPids: boolean) => {
      await using trace = await traceScoped(PROGRAM, target, { kernel: { nestedPids }, command: NESTED });
      await Promise.all([one.next(), two.next()]);
      const { '@pids': pids, '@pairs': pairs } = await trace.maps();
      return { pids, pairs };
    };
    const counts = { [one.pid]: 30, [two.pid]: 12 };
    expect(await maps(true)).toEqual({ pids: counts, pairs: counts });
    expect((await maps(false)).pids).toEqual({ '0': 42 });
  },
);
