import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseBtf } from '../../src/bpftrace/btf.ts';

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
