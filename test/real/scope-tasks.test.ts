import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { ScopeTarget } from '../../src/program/scope/scope.ts';
import { type Cgroups, makeCgroups } from '../helpers/cgroups.ts';
import { canTrace } from '../helpers/machine.ts';
import { startScript, traceScoped } from '../helpers/scoped-trace.ts';

const calls = (count: number) => `getppid for 1..${count}`;

/** A process in a cgroup that makes so many system calls when it is told to. */
async function startIn(cgroups: Cgroups, name: string, count: number) {
  const script = await startScript(calls(count));
  cgroups.enter(name, script.pid);
  return script;
}

const COUNT = 'tracepoint:syscalls:sys_enter_getppid { @mine = count(); }';

test.skipIf(!canTrace)(
  'a pod counts 1,000 + 500 + 250 calls of its containers, one of which starts during the trace, and 37 of a cgroup below, and none of a neighbour [needs root and BPF]',
  async () => {
    await using cgroups = makeCgroups(['pod/c1/sub', 'pod/c2', 'other']);
    await using one = await startIn(cgroups, 'pod/c1', 1_000);
    await using sub = await startIn(cgroups, 'pod/c1/sub', 37);
    await using two = await startIn(cgroups, 'pod/c2', 500);
    await using decoy = await startIn(cgroups, 'other', 99);
    await using trace = await traceScoped(COUNT, { groups: [cgroups.group('pod')] });
    cgroups.make('pod/c3');
    await using three = await startIn(cgroups, 'pod/c3', 250);
    for (const process of [one, sub, two, decoy, three]) await process.next();
    expect(await trace.maps()).toEqual({ '@mine': 1_787 });
  },
);

test.skipIf(!canTrace)('one container of a pod counts its own calls only [needs root and BPF]', async () => {
  await using cgroups = makeCgroups(['pod/c1', 'pod/c2']);
  await using one = await startIn(cgroups, 'pod/c1', 100);
  await using two = await startIn(cgroups, 'pod/c2', 50);
  await using trace = await traceScoped(COUNT, { groups: [cgroups.group('pod/c1')] });
  await one.next();
  await two.next();
  expect(await trace.maps()).toEqual({ '@mine': 100 });
});

test.skipIf(!canTrace)(
  'tasks of cgroups that are less deep than the target are not taken for it [needs root and BPF]',
  async () => {
    await using cgroups = makeCgroups(['a/b/c/d/pod', 'other']);
    await using own = await startIn(cgroups, 'a/b/c/d/pod', 10);
    await using foreign = await startIn(cgroups, 'other', 50);
    const target = { groups: [{ ...cgroups.group('a/b/c/d/pod'), id: 0n }, cgroups.group('a/b/c/d/pod')] };
    await using trace = await traceScoped(COUNT, target);
    await own.next();
    await foreign.next();
    expect(await trace.maps()).toEqual({ '@mine': 10 });
  },
);

test.skipIf(!canTrace)('side effects of a predicate happen for the target only [needs root and BPF]', async () => {
  await using cgroups = makeCgroups(['pod', 'other']);
  await using own = await startIn(cgroups, 'pod', 7);
  await using foreign = await startIn(cgroups, 'other', 50);
  const target = { groups: [cgroups.group('pod')] };
  const program = 'tracepoint:syscalls:sys_enter_getppid /@asked++ >= 0/ { @mine = count(); }';
  await using trace = await traceScoped(program, target);
  await own.next();
  await foreign.next();
  expect(await trace.maps()).toEqual({ '@asked': 7, '@mine': 7 });
});

test.skipIf(!canTrace).each([
  ['3 pods, which are compared one by one', 3, false],
  ['12 pods, which are looked up in a set', 12, true],
])('a workload of %s counts each of them, at whatever depth [needs root and BPF]', async (_what, pods, isSet) => {
  const names = Array.from({ length: pods }, (_, at) => `pods/${at}`);
  await using cgroups = makeCgroups([...names, 'deeper/down/pod', 'other']);
  await using first = await startIn(cgroups, 'pods/0', 10);
  await using last = await startIn(cgroups, `pods/${pods - 1}`, 20);
  await using deep = await startIn(cgroups, 'deeper/down/pod', 40);
  await using foreign = await startIn(cgroups, 'other', 400);
  const target = { groups: [...names, 'deeper/down/pod'].map(cgroups.group) };
  await using trace = await traceScoped(COUNT, target);
  expect(trace.text.includes('has_key(@__kt_set')).toBe(isSet);
  for (const process of [first, last, deep, foreign]) await process.next();
  expect(await trace.maps()).toEqual({ '@mine': 70 });
});

const memory = '/sys/fs/cgroup/memory';
test.skipIf(!canTrace || !existsSync(`${memory}/cgroup.procs`))(
  'a pod in cgroup v1 counts by its memory cgroup [needs root and BPF]',
  async () => {
    await using cgroups = makeCgroups(['pod/c1', 'other'], { mount: memory });
    await using own = await startIn(cgroups, 'pod/c1', 333);
    await using foreign = await startIn(cgroups, 'other', 50);
    const target = { groups: [cgroups.group('pod')] };
    await using trace = await traceScoped(COUNT, target, { kernel: { cgroups: 'v1_memory' } });
    await own.next();
    await foreign.next();
    expect(await trace.maps()).toEqual({ '@mine': 333 });
  },
);

test.skipIf(!canTrace)(
  'a pod without a cgroup of its own counts by how the names of its containers begin [needs root and BPF]',
  async () => {
    const prefix = `kerntap-test-${process.pid}-pod1.slice:cri-containerd:`;
    await using one = makeCgroups(['sub'], { root: `${prefix}a1` });
    await using two = makeCgroups(['sub'], { root: `${prefix.replace('pod1', 'pod2')}a1` });
    await using own = await startIn(one, 'sub', 50);
    await using foreign = await startIn(two, 'sub', 30);
    await using trace = await traceScoped(COUNT, { groups: [], namePrefix: prefix });
    await own.next();
    await foreign.next();
    expect(await trace.maps()).toEqual({ '@mine': 50 });
  },
);

test.skipIf(!canTrace)(
  'where kernel memory cannot be read, a set of ids counts the pod and what it puts below itself [needs root and BPF]',
  async () => {
    await using cgroups = makeCgroups(['pod/c1', 'other']);
    await using own = await startScript(
      `${calls(100)}; pause; mkdir '${cgroups.folder('pod/c1/new')}'; pause; ${calls(23)}`,
    );
    cgroups.enter('pod/c1', own.pid);
    await using foreign = await startIn(cgroups, 'other', 50);
    const target: ScopeTarget = { groups: [cgroups.group('pod')], nested: [cgroups.group('pod/c1').id] };
    await using trace = await traceScoped(COUNT, target, { kernel: { cgroups: 'id_set' } });
    expect(trace.text).not.toContain('curtask');
    await own.next();
    await own.next();
    cgroups.enter('pod/c1/new', own.pid);
    await own.next();
    await foreign.next();
    expect(await trace.maps()).toEqual({ '@mine': 123 });
  },
);

test.skipIf(!canTrace)(
  'an interval in the same list goes on while the tracepoint beside it is scoped [needs root and BPF]',
  async () => {
    await using cgroups = makeCgroups(['pod', 'other']);
    await using own = await startIn(cgroups, 'pod', 5);
    await using foreign = await startIn(cgroups, 'other', 50);
    const program = 'tracepoint:syscalls:sys_enter_getppid, interval:ms:10 { @[probe] = count(); }';
    await using trace = await traceScoped(program, { groups: [cgroups.group('pod')] });
    await own.next();
    await foreign.next();
    await wait(500);
    const { '@': counts } = (await trace.maps()) as { '@': Record<string, number> };
    expect(counts['tracepoint:syscalls:sys_enter_getppid']).toBe(5);
    expect(counts['interval:ms:10']).toBeGreaterThan(0);
  },
);

/** The file of the C library that a process has mapped. */
const libcOf = (pid: number): string =>
  /^\S+ r-xp .* (\/\S*\/libc[.-]\S*)$/m.exec(readFileSync(`/proc/${pid}/maps`, 'utf8'))?.[1] ?? 'none';

test.skipIf(!canTrace)(
  'a function of a library that both share counts for the target only, on entry and return [needs root and BPF]',
  async () => {
    await using cgroups = makeCgroups(['pod', 'other']);
    await using own = await startIn(cgroups, 'pod', 50);
    await using foreign = await startIn(cgroups, 'other', 30);
    const libc = libcOf(own.pid);
    const program = `
      uprobe:${libc}:getppid { @entries[pid] = count(); }
      uretprobe:${libc}:getppid { @returns = count(); }`;
    await using trace = await traceScoped(program, { groups: [cgroups.group('pod')] });
    await own.next();
    await foreign.next();
    expect(await trace.maps()).toEqual({ '@entries': { [own.pid]: 50 }, '@returns': 50 });
  },
);

test.skipIf(!canTrace)('samples of a profile are those of the target only [needs root and BPF]', async () => {
  await using cgroups = makeCgroups(['pod', 'other']);
  const busy = 'my $end = time + 2; 1 while time < $end';
  await using own = await startScript(busy);
  await using foreign = await startScript(busy);
  cgroups.enter('pod', own.pid);
  cgroups.enter('other', foreign.pid);
  await using trace = await traceScoped('profile:hz:99 { @[pid] = count(); }', { groups: [cgroups.group('pod')] });
  await Promise.all([own.next(), foreign.next()]);
  expect(Object.keys((await trace.maps())['@'] ?? {})).toEqual([String(own.pid)]);
});
