import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import type { Measurement } from './figures.ts';
import { own } from './owned.ts';
import { startServer } from './server.ts';

const TIMEOUT_S = 5;
const ROUNDS = 7;
const PROGRAM = 'tracepoint:raw_syscalls:sys_enter { printf("%d %s %d\\n", pid, comm, args.id); }';

/** Whether a run ends at its time while the kernel has far more to say than can be read, and goes on having it. */
export const limit: Measurement = {
  name: 'limit',
  title: `a timeout of ${TIMEOUT_S} s in an endless flood: every system call printed while dd makes them without a pause`,
  async measure(say) {
    await using server = await startServer(['--watchdog', 'off']);
    const ended: number[] = [];
    const answered: number[] = [];
    const events: number[] = [];
    for (let round = 1; round <= ROUNDS; round += 1) {
      say(`round ${round} of ${ROUNDS}`);
      await using _flood = startFlood();
      const called = performance.now();
      const { timing, account } = await server.ask('exec_program', { program: PROGRAM, timeout: TIMEOUT_S });
      answered.push((performance.now() - called) / 1_000);
      ended.push((Date.parse(timing.ended ?? '') - Date.parse(timing.armed ?? '')) / 1_000);
      events.push((account.events + account.dropped_by_limit.events) / TIMEOUT_S);
    }
    return [
      {
        what: 'attached to the verdict',
        unit: 's',
        kerntap: ended,
        goal: { of: 'median', is: 'at most', value: TIMEOUT_S + 3 },
      },
      { what: 'call to answer', unit: 's', kerntap: answered },
      { what: '  events read meanwhile', unit: '1/s', kerntap: events },
    ];
  },
};

function startFlood(): AsyncDisposable {
  const child = spawn('dd', ['if=/dev/zero', 'of=/dev/null', 'bs=1'], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  return own({}, async () => {
    child.kill('SIGTERM');
    await exited;
  });
}
