import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createProbeIndex, matchesGlob, parseFields } from '../../src/bpftrace/probe-index.ts';

const recorded = (name: string) => readFileSync(join(import.meta.dirname, '../fixtures/bpftrace-text', name), 'utf8');
const index = createProbeIndex(recorded('list.txt'));

const search = (filter: string, kind?: string) =>
  index.search({ filter, offset: 0, limit: 100, ...(kind === undefined ? {} : { kind }) });

test.each([
  [
    'words find the names that have them all, tracepoints first',
    'tcp retransmit skb',
    [
      'tracepoint:tcp:tcp_retransmit_skb',
      'rawtracepoint:tcp_retransmit_skb',
      'kprobe:tcp_retransmit_skb',
      'fentry:tcp_retransmit_skb',
    ],
  ],
  [
    'what is equally good is ordered by length',
    'openat',
    [
      'tracepoint:syscalls:sys_exit_openat',
      'tracepoint:syscalls:sys_enter_openat',
      'tracepoint:syscalls:sys_exit_openat2',
      'tracepoint:syscalls:sys_enter_openat2',
    ],
  ],
  [
    'a whole word stands before the beginning of one',
    'wake',
    [
      'tracepoint:sched:sched_wake_idle_without_ipi',
      'tracepoint:sched:sched_wakeup',
      'tracepoint:sched:sched_wakeup_new',
    ],
  ],
  [
    'the case of letters does not matter to words',
    'SCHED_SWITCH',
    ['tracepoint:sched:sched_switch', 'rawtracepoint:sched_switch'],
  ],
  ['a kind may be one of the words', 'rawtracepoint switch', ['rawtracepoint:sched_switch']],
  [
    'a glob has the order of its kind',
    'tracepoint:sched:sched_wak*',
    [
      'tracepoint:sched:sched_wake_idle_without_ipi',
      'tracepoint:sched:sched_wakeup',
      'tracepoint:sched:sched_wakeup_new',
      'tracepoint:sched:sched_waking',
    ],
  ],
  [
    'a short name stands for its kind',
    't:sched:sched_wakeup*',
    ['tracepoint:sched:sched_wakeup', 'tracepoint:sched:sched_wakeup_new'],
  ],
  ['the kind may be left out of a glob', 'sched:sched_switch', ['tracepoint:sched:sched_switch']],
  [
    'a glob without a colon is about the last part',
    'sched_sw*h',
    ['tracepoint:sched:sched_switch', 'rawtracepoint:sched_switch'],
  ],
  ['the module of the kernel may be named', 'rawtracepoint:vmlinux:sched_switch', ['rawtracepoint:sched_switch']],
  [
    'a function at its return is found among those at the entry',
    'kr:tcp_retransmit_skb',
    ['kretprobe:tcp_retransmit_skb'],
  ],
  [
    'events that take a number are shown with their unit',
    'interval:*',
    ['interval:hz:N', 'interval:ms:N', 'interval:s:N', 'interval:us:N'],
  ],
  ['events that can take a number are shown without it', 'software:page-faults', ['software:page-faults']],
])('%s: %s', (_, filter, names) => {
  expect(search(filter).names).toEqual(names);
});

test('a filter may be kept to one kind', () => {
  expect(search('sched_switch', 'rawtracepoint').names).toEqual(['rawtracepoint:sched_switch']);
});

test('a category alone finds all that is in it', () => {
  expect(search('tracepoint:tcp').names).toContain('tracepoint:tcp:tcp_probe');
});

test('a page is a piece of the same order', () => {
  const all = search('sched');
  const page = index.search({ filter: 'sched', offset: 3, limit: 2 });
  expect(page.names).toEqual(all.names.slice(3, 5));
  expect(page.matches).toBe(all.matches);
});

test('a miss says how many were searched and what is closest', () => {
  expect(search('tracepoint:sched:sched_swich')).toMatchObject({ names: [], matches: 0, total: 66 });
  expect(search('tracepoint:sched:sched_swich').closest[0]).toBe('tracepoint:sched:sched_switch');
});

test('where a kind has no probes, the closest names are those of the others', () => {
  const found = search('usdt:tcp_retransmit_skb');
  expect(found).toMatchObject({ matches: 0, total: 0 });
  expect(found.closest[0]).toBe('tracepoint:tcp:tcp_retransmit_skb');
});

test('odd filters find nothing and do not fail', () => {
  for (const filter of ['', ' ', ':', '::', '*', '***', 't:', 'tracepoint:', '[', '(', '\\', '*a*'.repeat(100)]) {
    expect(() => search(filter), filter).not.toThrow();
  }
  expect(search('*').matches).toBe(98);
});

test('an index of nothing answers', () => {
  const empty = createProbeIndex('').search({ filter: 'tcp', offset: 0, limit: 10 });
  expect(empty).toEqual({ names: [], matches: 0, total: 0, closest: [] });
});

test.each([
  ['*', '', true],
  ['*', 'abc', true],
  ['a*c', 'abc', true],
  ['a*c', 'ac', true],
  ['a*c', 'abcd', false],
  ['*b*', 'abc', true],
  ['a.c', 'abc', false],
  ['', 'a', false],
  ['*a*a*a*a*a*a*a*a*a*a*a*a*b', 'a'.repeat(2000), false],
])('the glob %s and the text %.20s: %s', (glob, text, matches) => {
  expect(matchesGlob(glob, text)).toBe(matches);
});

test('arguments are read with their types', () => {
  const probes = parseFields(recorded('list-verbose.txt'));
  expect(probes.get('tracepoint:sched:sched_switch')?.slice(0, 2)).toEqual([
    { name: 'prev_comm', type: 'char[16]' },
    { name: 'prev_pid', type: 'pid_t' },
  ]);
  expect(probes.get('tracepoint:sched:sched_process_exec')?.[0]).toEqual({
    name: 'filename',
    type: '__data_loc char[]',
  });
  expect(probes.get('tracepoint:syscalls:sys_enter_openat')?.[2]).toEqual({ name: 'filename', type: 'const char *' });
  expect(probes.get('rawtracepoint:sched_switch')?.[1]).toEqual({ name: 'prev', type: 'struct task_struct *' });
  expect(probes.get('rawtracepoint:cpuhp_enter')?.[3]).toEqual({ name: 'fun', type: 'int (*)(unsigned int)' });
  expect(probes.get('fexit:vfs_read')?.at(-1)).toEqual({ name: 'retval', type: 'ssize_t' });
});
