import { describe, expect, test } from 'vitest';
import { accountOf } from '../../src/trace/account.ts';
import type { TraceEnd } from '../../src/trace/ports.ts';
import { canTrace } from '../helpers/machine.ts';
import { bpftraceChildrenOf, createTestTracer, printed, scalar, startGetppid } from '../helpers/tracer.ts';
import { floodSystemCalls } from '../helpers/workload.ts';

const CALLS = 'tracepoint:raw_syscalls:sys_enter { printf("%d %s %d\\n", pid, comm, args.id); @hits = count(); }';
const LITTLE = { maxEventBytes: 100_000 };

/** The account, with the sum that it must make. */
function accounted(end: TraceEnd) {
  const account = accountOf(end, {});
  const { lost, events, droppedByLimit } = account;
  return { ...account, sum: Number(lost) + events + droppedByLimit.events };
}

describe.skipIf(!canTrace)('every run of a printing statement is accounted for [needs root and BPF]', () => {
  test.each([
    ['a statement', 'printf("x");', 1],
    ['every kind of them', 'printf("x"); print(1); print((1, "a")); time("%H"); errorf("e"); warnf("w");', 6],
    ['loops', 'for ($i : 0..7) { printf("%d", $i); } unroll(3) { print(2); }', 10],
    ['nested ones', 'for ($i : 0..7) { for ($j : 0..3) { if ($i == $j) { print($i) } } }', 3],
    ['a loop over a map', '@m[1] = 1; @m[2] = 2; for ($kv : @m) { print($kv); }', 2],
    ['branches', 'if (pid == 0) { print(1); } else if (pid != 0) { print(2); print(3); } else { print(4); }', 2],
    ['choices', 'pid == 0 ? printf("a") : printf("b");', 1],
    ['values', '$x = { print(1); 2 }; print($x);', 2],
    ['an early return', 'print(1); if (pid != 0) { return; } print(2);', 1],
    ['what follows an exit', 'print(1); if (pid != 0) { exit(); } print(2);', 1],
    ['values of maps', '@a[1] = 5; @b = count(); print(@a[1]); print((@a[1], 2));', 2],
    ['a macro', 'one(1); two(2); one(3);', 4],
  ])('%s', async (_what, statements, events) => {
    await using own = await createTestTracer();
    const macros = 'macro one(x) { printf("%d", x) } macro two(x) { one(x); if (x == 2) { one(x); } }';
    const run = own.run(`${macros} begin { ${statements} }`);
    const end = await run.end;
    expect(end).toMatchObject({ state: 'complete', reason: 'exit' });
    expect(end.counts).toMatchObject({ seen: events, printed: events, printedOfSeen: events });
    expect(accounted(end)).toMatchObject({ lost: 0, lostIsLowerBound: false, sum: events });
    expect(end.maps.filter(({ name }) => name.startsWith('@__'))).toEqual([]);
  });

  test('maps that are printed are no events of a statement, and change nothing of the sum', async () => {
    await using own = await createTestTracer();
    const source = 'begin { @a[1] = 1; @s = 1; print(@a); print(@s); clear(@a); print(@a); printf("x"); print(@s); }';
    const end = await own.run(source).end;
    expect(end.counts).toMatchObject({ seen: 1, printedOfSeen: 1 });
    expect(end.counts.printed).toBeGreaterThan(1);
    expect(accounted(end)).toMatchObject({ lost: 0, lostIsLowerBound: false });
  });

  test('what its predicate, its begin and its end print, too', async () => {
    await using own = await createTestTracer();
    const end = await own.run(
      'begin { print(1); } interval:ms:20 /({ print(2); @n = count(); 1 })/ { print(3); } end { print(4); }',
      { timeoutMs: 300 },
    ).end;
    expect(end.counts.seen).toBe(2 + 2 * Number(scalar(end, '@n')));
    expect(accounted(end)).toMatchObject({ lost: 0, sum: end.counts.seen });
  });

  test('what the library says for assert() has no count, and is not taken for one', async () => {
    await using own = await createTestTracer();
    const run = own.run('begin { printf("x"); assert(pid == 0, "not zero"); }');
    const end = await run.end;
    expect(run.events.map(({ data }) => data)).toEqual(['x', 'assert failed: not zero']);
    expect(accounted(end)).toMatchObject({ lost: 0, lostIsLowerBound: false });
  });

  test('what a full buffer has no room for is lost to the last event, whatever bpftrace admits', async () => {
    await using own = await createTestTracer();
    const source = `begin { for ($i : 0..100000) { printf("%d ${'%d '.repeat(20)}\\n", $i${', $i'.repeat(20)}); } }`;
    const end = await own.run(source, LITTLE).end;
    expect(end.counts.seen).toBe(100_000);
    expect(end.counts.printed).toBeLessThan(100_000);
    expect(accounted(end)).toMatchObject({ lost: 100_000 - end.counts.printed, lostIsLowerBound: false, sum: 100_000 });
  });

  test('a time limit holds in an endless flood, and the account is exact', async () => {
    await using _calls = await floodSystemCalls();
    await using own = await createTestTracer();
    const end = await own.run(CALLS, { timeoutMs: 1_500, ...LITTLE }).end;
    expect(end).toMatchObject({ state: 'truncated', reason: 'event_limit' }); // not `interrupted`
    expect(own.signals()).toEqual(['SIGUSR1']);
    expect(end.counts.seen).toBe(scalar(end, '@hits'));
    expect(accounted(end)).toMatchObject({ lostIsLowerBound: false, sum: scalar(end, '@hits') });
  });

  test('an exit() gets through in an endless flood, and what came behind it is counted as lost', async () => {
    await using _calls = await floodSystemCalls();
    await using own = await createTestTracer();
    const end = await own.run(`${CALLS} interval:ms:700 { printf("bye\\n"); exit(); }`, LITTLE).end;
    expect(end).toMatchObject({ state: 'truncated', reason: 'event_limit' });
    expect(own.signals()).toEqual([]);
    expect(end.counts.seen).toBe(Number(scalar(end, '@hits')) + 1);
    expect(accounted(end).sum).toBe(end.counts.seen);
  });

  test('what was in the buffer when a flood had to be interrupted is counted as lost', async () => {
    await using _calls = await floodSystemCalls();
    await using own = await createTestTracer();
    const run = own.run(CALLS, LITTLE);
    await run.armed;
    await new Promise((resolve) => setTimeout(resolve, 500));
    run.stop('stopped');
    const end = await run.end;
    expect(end.counts.seen).toBe(scalar(end, '@hits'));
    expect(accounted(end)).toMatchObject({ lostIsLowerBound: false, sum: scalar(end, '@hits') });
  });

  test('nothing is said of what was lost when bpftrace was killed', async () => {
    await using own = await createTestTracer();
    const run = own.run('interval:ms:10 { printf("x"); }');
    await run.armed;
    for (const pid of bpftraceChildrenOf()) process.kill(pid, 'SIGKILL');
    const end = await run.end;
    expect(end.counts.seen).toBeUndefined();
    expect(accountOf(end, {})).toMatchObject({ lost: 'unknown', lostIsLowerBound: true });
  });

  test('control counts tell what fired from what was the target’s, and are no maps of the caller', async () => {
    await using workload = await startGetppid(5_000);
    await using own = await createTestTracer();
    const source = 'tracepoint:syscalls:sys_enter_getppid { @mine = count(); }';
    const program = printed(source, 60_000, `pid == ${workload.pid}`);
    const run = own.run(program);
    await run.armed;
    await workload.work();
    run.stop('stopped');
    const end = await run.end;
    expect(end.hidden.get('in_0')).toBe(5_000);
    expect(end.hidden.get('all_0')).toBeGreaterThanOrEqual(5_000);
    expect(end.maps.map(({ name, rows }) => [name, rows])).toEqual([['@mine', [[5_000]]]]);
  });

  test('control counts of a probe that never fired are zero', async () => {
    await using own = await createTestTracer();
    const source = 'tracepoint:syscalls:sys_enter_swapoff { @mine = count(); }';
    const end = await own.run(printed(source, 60_000, 'pid == 1'), { timeoutMs: 100 }).end;
    expect([...end.hidden]).toEqual([
      ['all_0', 0],
      ['in_0', 0],
    ]);
  });
});
