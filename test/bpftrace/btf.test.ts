import { existsSync, readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { createKernelTypes, parseBtf } from '../../src/bpftrace/btf.ts';
import { forAll } from '../helpers/for-all.ts';
import { machine } from '../helpers/machine-folder.ts';
import { btfFile, FUNC, INT, POINTER, PROTOTYPE, STRUCT, TYPEDEF } from './btf-file.ts';

const PATH = '/sys/kernel/btf/vmlinux';
const missing = !existsSync(PATH);
const read = () => {
  const btf = parseBtf(readFileSync(PATH));
  if (btf === undefined) throw new Error(`${PATH} is no BTF`);
  return btf;
};

test.skipIf(missing)('the fields of a struct have their types [needs a kernel with BTF]', () => {
  const fields = new Map(
    read()
      .fields('struct task_struct', 0)
      ?.map(({ name, type }) => [name, type]),
  );
  expect(fields.get('pid')).toBe('pid_t');
  expect(fields.get('comm')).toBe('char[16]');
  expect(fields.get('mm')).toBe('struct mm_struct *');
  expect(fields.get('se')).toBe('struct sched_entity');
});

test.skipIf(missing)('fields of unnamed parts belong to their struct [needs a kernel with BTF]', () => {
  const fields = new Map(
    read()
      .fields('struct sock_common', 0)
      ?.map(({ name, type }) => [name, type]),
  );
  expect(fields.get('skc_daddr')).toBe('__be32');
  expect(fields.get('skc_reuse')).toBe('unsigned char : 4');
  expect(fields.get('skc_state')).toBe('volatile unsigned char');
});

test.skipIf(missing)('fields of embedded structs are dotted paths [needs a kernel with BTF]', () => {
  const btf = read();
  const names = (depth: number) => btf.fields('struct sock', depth)?.map((field) => field.name);
  expect(names(1)).toContain('__sk_common.skc_state');
  expect(names(0)).not.toContain('__sk_common.skc_state');
});

test.skipIf(missing)('a pointer to a function shows what it takes [needs a kernel with BTF]', () => {
  const fields = new Map(
    read()
      .fields('struct file_operations', 0)
      ?.map(({ name, type }) => [name, type]),
  );
  expect(fields.get('release')).toBe('int (*)(struct inode *, struct file *)');
});

test.skipIf(missing)('structs and unions are listed, and what is none has no fields [needs a kernel with BTF]', () => {
  const btf = read();
  expect(btf.types()).toEqual(expect.arrayContaining(['struct sock', 'union bpf_attr']));
  for (const type of ['struct nosuchthing', 'sock', 'struct ', 'int', 'union sock']) {
    expect(btf.fields(type, 1), type).toBeUndefined();
  }
});

test.skipIf(missing)('enumerators are listed by name [needs a kernel with BTF]', () => {
  expect(read().enumerators('bpf_map_type')).toContain('BPF_MAP_TYPE_HASH');
  expect(read().enumerators('nosuchenum')).toEqual([]);
});

test('what is no BTF is undefined', () => {
  for (const data of ['', 'ELF', '\x9f\xeb', 'x'.repeat(100)])
    expect(parseBtf(Buffer.from(data, 'latin1'))).toBeUndefined();
});

test.skipIf(missing)('functions are known by what they take [needs a kernel with BTF]', () => {
  const { prototypes } = read();
  const found = prototypes(['vfs_read', 'btf_trace_sched_switch', 'nosuchfunction', 'task_struct', '']);
  expect([...found.keys()].sort()).toEqual(['btf_trace_sched_switch', 'vfs_read']);
  expect(found.get('vfs_read')).toEqual([
    { name: 'file', type: 'struct file *' },
    { name: 'buf', type: 'char *' },
    { name: 'count', type: 'size_t' },
    { name: 'pos', type: 'loff_t *' },
  ]);
  expect(found.get('btf_trace_sched_switch')?.map(({ type }) => type)).toContain('struct task_struct *');
  const many = Array.from({ length: 100 }, (_, i) => `nosuchfunction${i}`);
  expect([...prototypes([...many, 'vfs_read'])]).toEqual([['vfs_read', found.get('vfs_read')]]);
});

const KERNEL = btfFile([
  ['int', INT, 0, 4, 0],
  ['file', STRUCT, 1, 4, 'flags', 1, 0],
  ['', POINTER, 0, 2],
  ['', PROTOTYPE, 1, 1, 'file', 3],
  ['file_open', FUNC, 0, 4],
]);
const MODULE = btfFile(
  [
    ['', PROTOTYPE, 2, 1, 'file', 3, 'how', 1],
    ['nfs_open', FUNC, 0, 6],
    ['', POINTER, 0, 6],
    ['btf_trace_nfs_open', TYPEDEF, 0, 8],
  ],
  KERNEL,
);

test('the types of a module go on where those of the kernel end', () => {
  const root = machine({
    'sys/kernel/btf/vmlinux': KERNEL,
    'sys/kernel/btf/nfs': MODULE,
    'sys/kernel/btf/odd': 'no BTF nfs_open',
  });
  const types = createKernelTypes(root);
  const parameters = [
    { name: 'file', type: 'struct file *' },
    { name: 'how', type: 'int' },
  ];
  expect(Object.fromEntries(types.prototypes(['file_open', 'nfs_open', 'btf_trace_nfs_open', 'none']))).toEqual({
    file_open: [parameters[0]],
    nfs_open: parameters,
    btf_trace_nfs_open: parameters,
  });
  expect(types.kernel()?.fields('struct file', 0)).toEqual([{ name: 'flags', type: 'int' }]);
});

test('a machine without types has none', () => {
  const types = createKernelTypes(machine({}));
  expect(types.kernel()).toBeUndefined();
  expect(types.prototypes(['vfs_read']).size).toBe(0);
});

test('what is cut off or changed is read without an end or an error', () => {
  const bytes = fc.record({
    at: fc.nat(MODULE.length - 1),
    value: fc.nat(255),
    end: fc.integer({ min: 0, max: MODULE.length }),
  });
  forAll(bytes, ({ at, value, end }) => {
    const data = Buffer.from(MODULE);
    data.writeUInt8(value, at);
    parseBtf(data.subarray(0, end), KERNEL)?.prototypes(['nfs_open']);
    parseBtf(data)?.fields('struct file', 1);
  });
});
