import { expect, test } from 'vitest';
import { editDistance, nearest } from '../../src/program/nearest.ts';

const PROBES = [
  'tracepoint:sched:sched_switch',
  'tracepoint:sched:sched_wakeup',
  'tracepoint:tcp:tcp_retransmit_skb',
  'tracepoint:syscalls:sys_enter_openat',
  'tracepoint:syscalls:sys_exit_openat',
  'rawtracepoint:sched_switch',
];

test.each([
  ['a letter that is missing', 'sched:sched_swich', 'tracepoint:sched:sched_switch'],
  ['two letters that are swapped', 'sched_siwtch', 'tracepoint:sched:sched_switch'],
  ['the last part of a name alone', 'sched_wakup', 'tracepoint:sched:sched_wakeup'],
  ['words in place of a name', 'tcp retransmit', 'tracepoint:tcp:tcp_retransmit_skb'],
  ['capital letters', 'SYS_ENTER_OPENAT', 'tracepoint:syscalls:sys_enter_openat'],
])('%s finds the probe', (_, name, found) => {
  expect(nearest(name, PROBES)[0]).toBe(found);
});

test('a field is found by the last part of its path', () => {
  const fields = ['sk_state_change', 'sk_rcvbuf', '__sk_common.skc_state', '__sk_common.skc_family'];
  expect(nearest('skc_state', fields)[0]).toBe('__sk_common.skc_state');
});

test('short names are found, too', () => {
  expect(nearest('pdi', ['pid', 'tid', 'comm', 'kstack'])[0]).toBe('pid');
});

test('a name that is like nothing has no nearest name', () => {
  expect(nearest('zzqqzz', PROBES)).toEqual([]);
  expect(nearest('', PROBES)).toEqual([]);
  expect(nearest('anything', [])).toEqual([]);
});

test('at most three names come back, and those far behind the best one do not', () => {
  expect(
    nearest(
      'sched_switch',
      Array.from({ length: 20 }, (_, i) => `sched_switch${i}`),
    ),
  ).toHaveLength(3);
  expect(nearest('sched_wakeup', ['sched_wakeup', 'net_dev_queue'])).toEqual(['sched_wakeup']);
});

test('names that are equally near keep their order', () => {
  expect(nearest('sched_swich', PROBES).slice(0, 2)).toEqual([
    'tracepoint:sched:sched_switch',
    'rawtracepoint:sched_switch',
  ]);
});

test('one name among a hundred thousand is found', () => {
  const many = Array.from({ length: 100_000 }, (_, i) => `kprobe:function_number_${i}`);
  expect(nearest('tcp_retransmit_sbk', [...many, 'kprobe:tcp_retransmit_skb'])[0]).toBe('kprobe:tcp_retransmit_skb');
});

test.each([
  ['', '', 0],
  ['', 'abc', 3],
  ['abc', 'abc', 0],
  ['abc', 'acb', 1],
  ['kitten', 'sitting', 3],
])('from %j to %j it takes %i edits', (a, b, edits) => {
  expect(editDistance(a, b)).toBe(edits);
  expect(editDistance(b, a)).toBe(edits);
});
