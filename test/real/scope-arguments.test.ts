import { readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { makeCgroups } from '../helpers/cgroups.ts';
import { canTrace } from '../helpers/machine.ts';
import { startScript, traceScoped } from '../helpers/scoped-trace.ts';
import { until } from '../helpers/until.ts';

const NAPS = 'select(undef, undef, undef, 0.002) for 1..60';

const isAsleep = (pid: number) => /\) S /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));

/** Two processes that sleep and are woken by timers; the first is the target's. */
async function nappers() {
  const cgroups = makeCgroups(['pod/c1', 'other']);
  const own = await startScript(NAPS);
  const foreign = await startScript(NAPS);
  cgroups.enter('pod/c1', own.pid);
  cgroups.enter('other', foreign.pid);
  return {
    pid: own.pid,
    target: { groups: [cgroups.group('pod')] },
    async nap() {
      await Promise.all([own.next(), foreign.next()]);
      // Probes are detached one by one, so nothing may happen then.
      await until(() => isAsleep(own.pid), 'the process sleeps again');
      await wait(50);
    },
    async [Symbol.asyncDispose]() {
      await own[Symbol.asyncDispose]();
      await foreign[Symbol.asyncDispose]();
      await cgroups[Symbol.asyncDispose]();
    },
  };
}

const task = (argument: string) => `((struct task_struct *)${argument})`;

test.skipIf(!canTrace).each(['sched_wakeup', 'sched_waking'])(
  '%s counts by who is woken, whoever wakes: as many as its pid was woken [needs root and BPF]',
  async (name) => {
    await using naps = await nappers();
    await using trace = await traceScoped(
      `tracepoint:sched:${name} { @mine[args.pid, args.comm] = count(); }`,
      naps.target,
      { truth: `rawtracepoint:${name} /${task('arg0')}->pid == ${naps.pid}/ { @truth = count(); }` },
    );
    await naps.nap();
    const maps = await trace.maps();
    expect(maps['@truth']).toBeGreaterThanOrEqual(60);
    expect(maps['@mine']).toEqual({ [`${naps.pid},perl`]: maps['@truth'] });
  },
);

test.skipIf(!canTrace)(
  'waits from wake-up to run are those of the target, one by one, in a program that follows both sides of a switch [needs root and BPF]',
  async () => {
    await using naps = await nappers();
    const runqlat = `
      tracepoint:sched:sched_wakeup { @queued[args.pid] = nsecs; }
      tracepoint:sched:sched_switch {
        if (args.prev_state == 0) { @queued[args.prev_pid] = nsecs; }
        if (@queued[args.next_pid]) { @mine[args.next_pid] = count(); }
        delete(@queued, args.next_pid);
      }
      end { clear(@queued); }`;
    const [prev, next] = [task('arg1'), task('arg2')];
    const truth = `
      rawtracepoint:sched_wakeup /${task('arg0')}->pid == ${naps.pid}/ { @since = nsecs; }
      tracepoint:sched:sched_switch /args.prev_pid == ${naps.pid} && args.prev_state == 0/ { @since = nsecs; }
      rawtracepoint:sched_switch /${next}->pid == ${naps.pid} && ${prev}->pid != ${naps.pid}/ {
        if (@since) { @truth = count(); }
        @since = 0;
      }`;
    await using trace = await traceScoped(runqlat, naps.target, { truth });
    await naps.nap();
    const maps = await trace.maps();
    expect(maps['@truth']).toBeGreaterThanOrEqual(60);
    expect(maps['@mine']).toEqual({ [naps.pid]: maps['@truth'] });
  },
);

test.skipIf(!canTrace)(
  'switches to the target and from it are each counted by their own side [needs root and BPF]',
  async () => {
    await using naps = await nappers();
    const program = `
      tracepoint:sched:sched_switch { @from[args.prev_pid] = count(); }
      tracepoint:sched:sched_switch { @to[args.next_pid] = count(); }
      tracepoint:sched:sched_switch { @both[args.prev_pid, args.next_pid, args.next_comm] = count(); }`;
    const truth = `tracepoint:sched:sched_switch {
      if (args.prev_pid == ${naps.pid}) { @left = count(); }
      if (args.next_pid == ${naps.pid}) { @came = count(); }
    }`;
    await using trace = await traceScoped(program, naps.target, { truth });
    await naps.nap();
    const { '@left': left, '@came': came, '@from': from, '@to': to, '@both': both } = await trace.maps();
    expect(from).toEqual({ [naps.pid]: left });
    expect(to).toEqual({ [naps.pid]: came });
    expect(both).toEqual({ [`${naps.pid},-1,`]: left, [`0,${naps.pid},perl`]: came });
  },
);

test.skipIf(!canTrace)(
  'the state in which a task leaves the CPU reads as the tracepoint has it [needs root and BPF]',
  async () => {
    await using naps = await nappers();
    // Asking for both sides makes it a raw tracepoint, whose arguments hold the state in another form.
    const program = 'tracepoint:sched:sched_switch /args.next_pid == -1/ { @mine[args.prev_state] = count(); }';
    const truth = `tracepoint:sched:sched_switch /args.prev_pid == ${naps.pid}/ { @truth[args.prev_state] = count(); }`;
    await using trace = await traceScoped(program, naps.target, { truth });
    await naps.nap();
    const maps = await trace.maps();
    expect(maps['@mine']).toEqual(maps['@truth']);
    expect(Object.keys(maps['@mine'] ?? {})).toContain('1');
  },
);

test.skipIf(!canTrace)(
  '20 forks, 20 programs executed, 20 ends and 20 first wake-ups count for the target [needs root and BPF]',
  async () => {
    const script = `for (1..20) { my $pid = fork // die; if (!$pid) { exec '/bin/true' } waitpid $pid, 0 }`;
    await using cgroups = makeCgroups(['pod', 'other']);
    await using own = await startScript(script);
    await using foreign = await startScript(script);
    cgroups.enter('pod', own.pid);
    cgroups.enter('other', foreign.pid);
    const program = `
      tracepoint:sched:sched_process_fork { @forked = count(); }
      tracepoint:sched:sched_process_exec { @executed = count(); }
      tracepoint:sched:sched_process_exit { @ended = count(); }
      tracepoint:sched:sched_wakeup_new { @started[args.comm] = count(); }`;
    await using trace = await traceScoped(program, { groups: [cgroups.group('pod')] });
    await Promise.all([own.next(), foreign.next()]);
    expect(await trace.maps()).toEqual({ '@forked': 20, '@executed': 20, '@ended': 20, '@started': { perl: 20 } });
  },
);

test.skipIf(!canTrace)(
  'a wildcard over the scheduler is split by owner, and each part counts what its own probe would [needs root and BPF]',
  async () => {
    await using naps = await nappers();
    await using trace = await traceScoped(
      'tracepoint:sched:sched_wak*g, tracepoint:sched:sched_process_f* { @[probe] = count(); }',
      naps.target,
      {
        truth: `rawtracepoint:sched_waking /${task('arg0')}->pid == ${naps.pid}/ { @truth = count(); }`,
      },
    );
    await naps.nap();
    const maps = await trace.maps();
    expect(maps['@']).toEqual({ 'tracepoint:sched:sched_waking': maps['@truth'] });
    expect(trace.rules.map(({ class: rule, point }) => [rule, point])).toEqual([
      ['A', 'tracepoint:sched:sched_wak*g'],
      ['A', 'tracepoint:sched:sched_process_free'],
      ['T', 'tracepoint:sched:sched_process_fork'],
    ]);
  },
);
