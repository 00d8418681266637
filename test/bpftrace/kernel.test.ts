import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createKernel, type KernelOptions } from '../../src/bpftrace/kernel.ts';
import { silentLog } from '../../src/log.ts';
import { machine } from '../helpers/machine-folder.ts';
import { btfFile, INT, STRUCT } from './btf-file.ts';

const recorded = (name: string) => readFileSync(join(import.meta.dirname, '../fixtures/bpftrace-text', name), 'utf8');
const never = new AbortController().signal;
const page = { fields: false, limit: 20, offset: 0 };

const MACHINE = {
  'proc/self/mounts': 'tracefs /sys/kernel/tracing tracefs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n',
  'proc/self/maps': '7f00-7f01 r-xp 00000000 fd:00 1 /usr/lib/libc.so.6\n',
  'sys/kernel/security/lockdown': '[none] integrity confidentiality\n',
  'sys/kernel/security/lsm': 'lockdown,capability,landlock\n',
  'sys/bus/event_source/devices/uprobe/type': '9\n',
};

/** A kernel over recorded text, which attaches what `attaches` says, and what it was asked. */
function recordedKernel(options: Partial<KernelOptions> & { attaches?: (program: string) => boolean } = {}) {
  const queries: string[] = [];
  const attempts: string[] = [];
  const { attaches = (program: string) => /^(tracepoint|software|interval|profile|rawtracepoint):/.test(program) } =
    options;
  const kernel = createKernel({
    async query(args) {
      queries.push(args.join(' '));
      const text = args[0] === '--info' ? 'info.txt' : args[0] === '-l' ? 'list.txt' : 'list-verbose.txt';
      return { stdout: recorded(text), exitCode: 0 };
    },
    async attach(program) {
      attempts.push(program);
      return attaches(program) ? { attached: true } : { attached: false, why: 'Unable to attach probe' };
    },
    version: '0.27.0',
    bundled: true,
    log: silentLog,
    root: machine(MACHINE),
    ...options,
  });
  return { kernel, queries, attempts };
}

test('facts are what the files say and what attached', async () => {
  const { kernel } = recordedKernel();
  const facts = await kernel.facts(false, never);
  expect(facts).toMatchObject({
    btf: false,
    tracefs: true,
    lockdown: 'none',
    landlock: true,
    cgroups: { layout: 'v2', path: '/sys/fs/cgroup' },
    bpftrace: { version: '0.27.0', bundled: true },
  });
  const available = facts.probeKinds.filter((kind) => kind.available).map((kind) => kind.kind);
  expect(available).toEqual(['tracepoint', 'rawtracepoint', 'profile', 'interval', 'software']);
});

test('each kind that does not attach has a reason in our own words', async () => {
  const { probeKinds } = await recordedKernel().kernel.facts(false, never);
  const why = new Map(probeKinds.map((kind) => [kind.kind, kind.why]));
  expect(why.get('kprobe')).toBe('this kernel has no kprobes');
  expect(why.get('uprobe')).toBe('this kernel lets nobody attach uprobes');
  expect(why.get('hardware')).toBe('this machine has no hardware counters');
  expect(why.get('tracepoint')).toBeUndefined();
  expect([...why.values()].join()).not.toContain('Unable to attach');
});

test('a machine that shows nothing of itself has facts all the same', async () => {
  const { kernel } = recordedKernel({
    root: machine({}),
    attach: () => Promise.reject(new Error('no bpftrace')),
    query: () => Promise.reject(new Error('no bpftrace')),
  });
  expect(await kernel.facts(false, never)).toMatchObject({
    btf: false,
    tracefs: false,
    lockdown: 'unknown',
    landlock: false,
    cgroups: { layout: 'none' },
    features: { helpers: [], maps: [], programs: [] },
  });
  const { probeKinds } = await kernel.facts(false, never);
  expect(probeKinds.map((kind) => kind.available)).not.toContain(true);
  expect(probeKinds.find((kind) => kind.kind === 'tracepoint')?.why).toBe('tracefs is not mounted');
});

test('what the launch chain knows of Landlock wins', async () => {
  expect((await recordedKernel({ landlock: false }).kernel.facts(false, never)).landlock).toBe(false);
});

test('callers that come at once share one search for facts', async () => {
  const { kernel, attempts } = recordedKernel();
  const [first, second] = await Promise.all([kernel.facts(false, never), kernel.facts(true, never)]);
  expect(second).toBe(first);
  expect(new Set(attempts).size).toBe(attempts.length);
});

test('facts are kept until somebody asks to look again', async () => {
  const { kernel, attempts } = recordedKernel();
  const first = await kernel.facts(false, never);
  const tried = attempts.length;
  expect(await kernel.facts(false, never)).toBe(first);
  expect(attempts).toHaveLength(tried);
  await kernel.facts(true, never);
  expect(attempts).toHaveLength(2 * tried);
});

test('a caller who gives up does not end the search for the others', async () => {
  const { kernel } = recordedKernel();
  const impatient = new AbortController();
  const given = kernel.facts(false, impatient.signal);
  const waited = kernel.facts(false, never);
  impatient.abort(new Error('gave up'));
  await expect(given).rejects.toThrow('gave up');
  expect((await waited).tracefs).toBe(true);
});

test('the index is built once, of the kinds that work, and again after a refresh', async () => {
  const { kernel, queries } = recordedKernel();
  const lists = () => queries.filter((query) => query.startsWith('-l ') && !query.includes('usdt'));
  await Promise.all([1, 2, 3].map(() => kernel.probes({ ...page, filter: 'sched_switch' }, never)));
  expect(lists()).toEqual(['-l tracepoint:*,rawtracepoint:*,software:*,profile:*,interval:*']);
  await kernel.facts(true, never);
  await kernel.probes({ ...page, filter: 'sched_switch' }, never);
  expect(lists()).toHaveLength(2);
});

test('an index that could not be built is not kept', async () => {
  let works = false;
  const { kernel } = recordedKernel({
    query: async () => ({ stdout: works ? recorded('list.txt') : '', exitCode: works ? 0 : 139 }),
  });
  await expect(kernel.probes({ ...page, filter: 'tcp' }, never)).rejects.toMatchObject({ code: 'trace.unavailable' });
  works = true;
  expect((await kernel.probes({ ...page, filter: 'tcp' }, never)).matches).toBeGreaterThan(0);
});

test('fields are asked for once', async () => {
  const { kernel, queries } = recordedKernel();
  const ask = () => kernel.probes({ ...page, filter: 'tracepoint:sched:sched_switch', fields: true }, never);
  expect((await ask()).probes[0]?.fields?.[0]).toEqual({ name: 'prev_comm', type: 'char[16]' });
  await ask();
  expect(queries.filter((query) => query.startsWith('-lv'))).toEqual(['-lv tracepoint:sched:sched_switch']);
});

test('the fields of many probes are asked for in patterns that are no longer than the name of a file', async () => {
  const { kernel, queries } = recordedKernel();
  const { probes } = await kernel.probes({ ...page, filter: 'tracepoint:*', fields: true }, never);
  const patterns = queries.flatMap((query) => (query.startsWith('-lv ') ? query.slice(4) : []));
  expect(patterns.join()).toBe(probes.map(({ name }) => name).join());
  expect(patterns.length).toBeGreaterThan(1);
  expect(patterns.filter((pattern) => pattern.length > 255)).toEqual([]);
});

test('a question about a kind that is off says why, and what is close', async () => {
  const answer = await recordedKernel().kernel.probes({ ...page, filter: 'hardware:cpu-*' }, never);
  expect(answer.notes).toEqual(['hardware: this machine has no hardware counters']);
});

test('a kind that works but cannot be listed says so', async () => {
  const { kernel } = recordedKernel({ attaches: () => true });
  expect((await kernel.probes({ ...page, filter: 'watchpoint:*' }, never)).notes).toEqual([
    'watchpoint: bpftrace lists none here',
  ]);
});

test('a miss names the kinds that could not be searched', async () => {
  const { notes, matches } = await recordedKernel().kernel.probes({ ...page, filter: 'nosuchthing' }, never);
  expect(matches).toBe(0);
  expect(notes).toContain('kprobe: this kernel has no kprobes');
});

test('without BTF a question about a struct says so', async () => {
  const answer = await recordedKernel().kernel.probes({ ...page, filter: 'struct sock skc_' }, never);
  expect(answer).toMatchObject({ matches: 0, notes: ['struct: this kernel does not describe its types (no BTF)'] });
});

test.each([
  ['of a probe', 'probe', 'sched:sched_swich', 'tracepoint', 'tracepoint:sched:sched_switch'],
  ['of a probe with its kind', 'probe', 'tracepoint:sched:sched_swich', 'tracepoint', 'tracepoint:sched:sched_switch'],
  ['of an argument', 'field', 'prev_pidd', 'tracepoint:sched:sched_switch', 'prev_pid'],
  ['of an argument, as bpftrace has it', 'field', 'prev_pidd', 'struct tracepoint:sched:sched_switch_args', 'prev_pid'],
] as const)('the nearest name %s', async (_, kind, name, context, found) => {
  expect((await recordedKernel().kernel.nearest(kind, name, context, never))[0]).toBe(found);
});

test('what is in no known place has no nearest name', async () => {
  const { kernel } = recordedKernel();
  expect(await kernel.nearest('field', 'x', 'struct nosuchthing', never)).toEqual([]);
  expect(await kernel.nearest('field', 'x', '$(reboot)', never)).toEqual([]);
  expect(await kernel.nearest('probe', '', '', never)).toEqual([]);
});

test.each([
  ['x'.repeat(600), undefined],
  ['tracepoint:a\nkprobe:b', undefined],
  ['tcp', 'nosuchkind'],
  ['uprobe:/nonexistent/file:*', undefined],
  ['uprobe:/dev/null:*', undefined],
  ['uprobe:/etc/*:*', undefined],
  ['usdt:/tmp,tracepoint', undefined],
])('the question %.40j is refused with a sentence', async (filter, kind) => {
  const { kernel, queries } = recordedKernel({ attaches: () => true });
  const asked = { ...page, filter, ...(kind === undefined ? {} : { kind }) };
  await expect(async () => kernel.probes(asked, never)).rejects.toMatchObject({ code: 'argument.invalid' });
  expect(queries.join()).not.toContain(filter);
});

test('a probe in a file needs the path of the file', async () => {
  const { kernel } = recordedKernel({ attaches: () => true });
  expect((await kernel.probes({ ...page, filter: 'uprobe:malloc' }, never)).notes[0]).toContain('absolute path');
});

const cgroupWith = (field: string) =>
  btfFile([
    ['int', INT, 0, 4, 0],
    ['cgroup', STRUCT, 1, 4, field, 1, 0],
  ]);
const V1 = 'cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n';

test.each([
  ['from 6.1 on by the ancestors of its cgroup', 'ancestors', { 'sys/kernel/btf/vmlinux': cgroupWith('ancestors') }],
  ['before by the numbers of its ancestors', 'ancestor_ids', { 'sys/kernel/btf/vmlinux': cgroupWith('ancestor_ids') }],
  [
    'on a node with version 1 alone by the hierarchy of memory',
    'v1_memory',
    { 'sys/kernel/btf/vmlinux': cgroupWith('ancestors'), 'proc/self/mounts': V1 },
  ],
  [
    'where kernel memory cannot be read by a set of numbers',
    'id_set',
    {
      'sys/kernel/btf/vmlinux': cgroupWith('ancestors'),
      'sys/kernel/security/lockdown': 'none integrity [confidentiality]\n',
    },
  ],
  ['without types by a set of numbers', 'id_set', {}],
])('a task is known to be the target’s %s', async (_, cgroups, files) => {
  const { kernel } = recordedKernel({ root: machine({ ...MACHINE, ...files }) });
  expect((await kernel.scoping(never)).cgroups).toBe(cgroups);
});

test('lockdown that shows nowhere is found by trying to read kernel memory', async () => {
  const root = machine({
    ...MACHINE,
    'sys/kernel/btf/vmlinux': cgroupWith('ancestors'),
    'sys/kernel/security/lockdown': '',
  });
  const { kernel, attempts } = recordedKernel({ root });
  expect((await kernel.scoping(never)).cgroups).toBe('ancestors');
  await kernel.scoping(never);
  expect(attempts).toEqual([]); // the list of functions can be opened
});

test.each([
  ['pid:[4026531836]', false],
  ['pid:[4026532201]', true],
])('in the pid namespace %s process ids are nested: %j', async (link, nested) => {
  const { kernel } = recordedKernel({ root: machine({ ...MACHINE, 'proc/self/ns/pid': { link } }) });
  expect((await kernel.scoping(never)).nestedPids).toBe(nested);
});

test('a type has the fields that the kernel describes', async () => {
  const root = machine({ ...MACHINE, 'sys/kernel/btf/vmlinux': cgroupWith('ancestors') });
  const { has } = await recordedKernel({ root }).kernel.scoping(never);
  expect(has('struct cgroup', 'ancestors')).toBe(true);
  expect(has('struct cgroup', 'ancestor_ids')).toBe(false);
  expect(has('struct sock', 'sk_cgrp_data')).toBe(false);
});
