import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createKernelTypes } from '../../src/bpftrace/btf.ts';
import { createPoints, parseFormat } from '../../src/bpftrace/points.ts';
import { pointOf } from '../../src/program/tree.ts';
import { machine } from '../helpers/machine-folder.ts';
import { btfFile, FUNC, INT, POINTER, PROTOTYPE, STRUCT, TYPEDEF } from './btf-file.ts';

const never = new AbortController().signal;

const format = (...fields: readonly string[]) =>
  `name: x\nID: 1\nformat:\n\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n${fields
    .map((field) => `\tfield:${field};\toffset:8;\tsize:8;\tsigned:0;\n`)
    .join('')}\nprint fmt: "x"\n`;

const event = (name: string, ...fields: readonly string[]) => ({
  [`sys/kernel/tracing/events/${name}/format`]: format(...fields),
  [`sys/kernel/tracing/events/${name}/enable`]: '0\n',
});

const TYPES = btfFile([
  ['int', INT, 0, 4, 0],
  ['', POINTER, 0, 0], // void *
  ['task_struct', STRUCT, 1, 4, 'pid', 1, 0],
  ['', POINTER, 0, 3],
  ['', PROTOTYPE, 3, 0, '__data', 2, 'prev', 4, 'next', 4],
  ['__probestub_sched_switch', FUNC, 0, 5],
  ['', PROTOTYPE, 2, 0, '', 2, '', 4],
  ['', POINTER, 0, 7],
  ['btf_trace_sched_wakeup', TYPEDEF, 0, 8],
  ['', PROTOTYPE, 1, 1, 'task', 4],
  ['wake_up', FUNC, 0, 10],
]);

const MACHINE = {
  ...event('sched/sched_switch', 'char prev_comm[16]', 'pid_t prev_pid'),
  ...event('sched/sched_wakeup', '__data_loc char[] comm'),
  ...event('tcp/tcp_probe', 'const void * skaddr'),
  'sys/kernel/tracing/events/sched/enable': '0\n',
  'sys/kernel/tracing/events/ftrace/function/format': format('unsigned long ip'),
  'proc/kallsyms': [
    '0 T wake_up',
    '0 t wake_up_static.isra.0',
    '0 D wake_data',
    '0 T __probestub_sched_switch',
    '0 T __traceiter_sched_switch',
    '0 T __traceiter_sched_wakeup',
    '0 t wake_nfs\t[nfs]',
  ].join('\n'),
  'sys/kernel/btf/vmlinux': TYPES,
};

const task = { type: 'struct task_struct *' };

function finder(files: Parameters<typeof machine>[0] = MACHINE) {
  const root = machine(files);
  const points = createPoints(root, createKernelTypes(root));
  const find = async (text: string) => {
    const [kind = '', ...parts] = text.split(':');
    const point = pointOf(kind, ...parts);
    return (await points.find([point], never))(point);
  };
  return { root, find, names: async (text: string) => (await find(text)).map(({ name }) => name) };
}

test('a tracepoint has the fields of its record and the parameters of the raw one', async () => {
  expect(await finder().find('tracepoint:sched:sched_switch')).toEqual([
    {
      name: 'tracepoint:sched:sched_switch',
      fields: [
        { name: 'prev_comm', type: 'char[16]' },
        { name: 'prev_pid', type: 'pid_t' },
      ],
      parameters: [
        { name: 'prev', ...task },
        { name: 'next', ...task },
      ],
    },
  ]);
});

test('parameters without a name are counted', async () => {
  expect(await finder().find('rawtracepoint:sched_wakeup')).toMatchObject([
    { parameters: [{ name: 'arg0', ...task }] },
  ]);
});

test.each([
  ['tracepoint:sched:sched_*', ['tracepoint:sched:sched_switch', 'tracepoint:sched:sched_wakeup']],
  ['tracepoint:*:*_probe', ['tracepoint:tcp:tcp_probe']],
  ['rawtracepoint:sched_*', ['rawtracepoint:sched_switch', 'rawtracepoint:sched_wakeup']],
  ['rawtracepoint:vmlinux:sched_switch', ['rawtracepoint:sched_switch']],
  ['kprobe:wake_*', ['kprobe:wake_up', 'kprobe:wake_up_static.isra.0', 'kprobe:wake_nfs']],
  ['kprobe:nfs:wake_*', ['kprobe:nfs:wake_nfs']],
  ['kprobe:wake_up+4', ['kprobe:wake_up+4']],
  ['fentry:wake_*', ['fentry:wake_up']], // the others are not described
  ['fexit:vmlinux:wake_up', ['fexit:wake_up']],
  ['software:page-faults:100', ['software:page-faults']],
])('%s stands for %j', async (written, names) => {
  expect((await finder().names(written)).sort()).toEqual([...names].sort());
});

test.each([
  'tracepoint:sched:sched_swich',
  'tracepoint:sched',
  'tracepoint:ftrace:function', // only ftrace itself can switch it on
  'tracepoint:..:sched_switch',
  'tracepoint:sched/../sched:sched_switch',
  'tracepoint:sched:s?hed_switch',
  'rawtracepoint:nosuch',
  'kprobe:nosuch',
  'kprobe:wake_data',
  'kprobe:ext4:wake_up*',
  'kprobe:',
  'fentry:wake_nfs',
  'software:*',
  'interval:s:1',
  'uprobe:/bin/sh:main',
  'begin',
])('%s stands for nothing', async (written) => {
  expect(await finder().find(written)).toEqual([]);
});

test('what stands in the registers is known at the entry of a function only', async () => {
  const { find } = finder();
  expect(await find('kprobe:wake_up')).toEqual([
    { name: 'kprobe:wake_up', fields: [], parameters: [{ name: 'task', ...task }] },
  ]);
  expect(await find('kretprobe:wake_up')).toMatchObject([{ parameters: [] }]);
  expect(await find('kprobe:wake_up+4')).toMatchObject([{ parameters: [] }]);
  expect(await find('fexit:wake_up')).toMatchObject([{ fields: [{ name: 'task', ...task }] }]);
});

test('a machine without types, or with nothing at all, has what is left', async () => {
  const { 'sys/kernel/btf/vmlinux': _, ...untyped } = MACHINE;
  expect(await finder(untyped).find('tracepoint:tcp:tcp_probe')).toEqual([
    { name: 'tracepoint:tcp:tcp_probe', fields: [{ name: 'skaddr', type: 'const void *' }], parameters: [] },
  ]);
  expect(await finder(untyped).names('kprobe:wake_up')).toEqual(['kprobe:wake_up']);
  for (const written of ['tracepoint:*:*', 'rawtracepoint:*', 'kprobe:*', 'fentry:*'])
    expect(await finder({}).find(written)).toEqual([]);
});

test('what was found is remembered until modules come or go', async () => {
  const { root, find, names } = finder();
  expect(await names('tracepoint:tcp:*')).toEqual(['tracepoint:tcp:tcp_probe']);
  rmSync(join(root, 'sys/kernel/tracing/events/tcp'), { recursive: true });
  writeFileSync(join(root, 'proc/kallsyms'), '0 T wake_up\n0 T nfs_open\t[nfs]\n');
  expect(await find('tracepoint:tcp:*')).toHaveLength(1);
  expect(await find('kprobe:nfs_open')).toHaveLength(1);
  writeFileSync(join(root, 'proc/modules'), 'nfs 16384 0 - Live 0x0\n');
  expect(await find('tracepoint:tcp:*')).toEqual([]);
});

test('a lookup also answers for points that were not named before', async () => {
  const root = machine(MACHINE);
  const lookup = await createPoints(root, createKernelTypes(root)).find([], never);
  expect(lookup(pointOf('tracepoint', 'tcp', 'tcp_probe'))).toHaveLength(1);
});

test('declarations of all forms are read', () => {
  const text = format('__data_loc char[] name', 'unsigned long args[6]', 'enum skb_drop_reason reason', 'u8 saddr[4]');
  expect(parseFormat(text)).toEqual([
    { name: 'name', type: '__data_loc char[]' },
    { name: 'args', type: 'unsigned long[6]' },
    { name: 'reason', type: 'enum skb_drop_reason' },
    { name: 'saddr', type: 'u8[4]' },
  ]);
  expect(parseFormat('')).toEqual([]);
});
