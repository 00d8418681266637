import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { demangle } from '../../src/bpftrace/demangle.ts';
import { readElf } from '../../src/bpftrace/elf.ts';
import { parseLibraries } from '../../src/bpftrace/facts.ts';
import { openFile } from '../../src/bpftrace/open-file.ts';
import { elfFile } from '../helpers/elf-file.ts';
import { forAll } from '../helpers/for-all.ts';
import { machine } from '../helpers/machine-folder.ts';

function elfOf(data: Buffer) {
  const path = join(machine({ file: data }), 'file');
  const fd = openFile(path);
  try {
    return readElf(fd);
  } finally {
    closeSync(fd);
  }
}

test('functions and USDT probes are read, nothing else', () => {
  const file = elfFile({
    functions: ['main', '_ZN3foo3barEv', 'main', 'main.(*Server).Handle', 'bad\nname', 'sp ace', 'q"uote', 'ümlaut'],
    objects: ['environ'],
    usdt: [
      ['ruby', 'gc__start'],
      ['odd name', 'x'],
    ],
  });
  expect(elfOf(file)).toEqual({
    functions: ['main', '_ZN3foo3barEv', 'main.(*Server).Handle'],
    usdt: [{ provider: 'ruby', name: 'gc__start' }],
  });
});

test('the libraries of this very process have their functions', () => {
  const libc = parseLibraries(readFileSync('/proc/self/maps', 'utf8')).find((path) =>
    /\/(libc[.-]|ld-musl-)/.test(path),
  );
  if (libc === undefined) throw new Error('no C library is mapped');
  const fd = openSync(libc, 'r');
  expect(readElf(fd)?.functions).toEqual(expect.arrayContaining(['gethostid', 'malloc', 'getppid']));
  closeSync(fd);
});

test.each([
  ['empty', Buffer.alloc(0)],
  ['text', Buffer.from('#!/bin/sh\n'.repeat(20))],
  ['32 bits', Buffer.from(`\x7fELF\x01\x01${'\0'.repeat(80)}`, 'latin1')],
  ['big-endian', Buffer.from(`\x7fELF\x02\x02${'\0'.repeat(80)}`, 'latin1')],
  ['cut off in its header', elfFile({}).subarray(0, 60)],
])('a file that is %s is no program', (_, data) => {
  expect(elfOf(data)).toBeUndefined();
});

test('a file that was made to break its reader breaks nothing', () => {
  const whole = elfFile({ functions: ['main', 'other'], usdt: [['a', 'b']] });
  const path = join(machine({ file: whole }), 'file');
  const changes = fc.record({
    bytes: fc.array(fc.tuple(fc.nat(whole.length - 1), fc.constantFrom(0, 1, 7, 0x7f, 0x80, 0xff)), { maxLength: 12 }),
    end: fc.integer({ min: 64, max: whole.length }),
  });
  forAll(
    changes,
    ({ bytes, end }) => {
      const data = Buffer.from(whole);
      for (const [at, value] of bytes) data.writeUInt8(value, at);
      writeFileSync(path, data.subarray(0, end));
      const fd = openSync(path, 'r');
      try {
        expect(readElf(fd)?.functions.length ?? 0).toBeLessThanOrEqual(2);
      } finally {
        closeSync(fd);
      }
    },
    500,
  );
});

test('sizes and places that no file has are not believed', () => {
  const file = elfFile({ functions: ['main'] });
  const section = file.length - 3 * 64; // the symbol table's
  for (const [field, value] of [
    [32, 2n ** 63n],
    [24, 2n ** 63n],
    [24, 2n ** 40n],
  ] as const) {
    const data = Buffer.from(file);
    data.writeBigUInt64LE(value, section + field);
    expect(elfOf(data)?.usdt).toEqual([]);
  }
  file.writeBigUInt64LE(2n ** 62n, 40);
  expect(elfOf(file)).toEqual({ functions: [], usdt: [] });
});

test.each([
  ['_ZN3foo3barEv', 'foo::bar'],
  ['_ZNK3foo3barEi', 'foo::bar'],
  ['_Z4funcPKc', 'func'],
  ['_ZNSt9exceptionD2Ev', 'std::exception::~exception'],
  ['_ZN4Pool6WorkerC1Ev', 'Pool::Worker::Worker'],
  ['_ZN4core3fmt9Formatter9write_fmt17h0123456789abcdefE', 'core::fmt::Formatter::write_fmt'],
  [
    '_ZN54_$LT$app..Config$u20$as$u20$core..default..Default$GT$7default17h0123456789abcdefE',
    '<app::Config as core::default::Default>::default',
  ],
  ['main', undefined],
  ['_ZN3fooIiE3barEv', undefined], // has a template
  ['_Z3fooIiEvT_', undefined],
  ['_ZNK3fooplERKS_', undefined], // is an operator
  ['_ZN9999fooE', undefined],
  ['_ZN', undefined],
  ['_Z', undefined],
])('%s is %s', (mangled, name) => {
  expect(demangle(mangled)).toBe(name);
});

test('any text is demangled or left alone', () => {
  forAll(
    fc.string({ unit: fc.constantFrom('_', 'Z', 'N', 'E', 'S', 't', 'C', '1', '3', '9', '$', 'a', 'h') }),
    (text) => {
      expect(demangle(`_ZN${text}`)?.length ?? 0).toBeLessThanOrEqual(text.length * text.length + 3);
    },
  );
});

test('below the root of a process no link is followed', () => {
  const folder = machine({
    'root/usr/lib/real.so': 'x',
    'root/secret': { link: '/etc/passwd' },
    'root/lib': { link: 'usr/lib' },
    outside: 'host',
  });
  symlinkSync('/etc', join(folder, 'root/etc'));
  symlinkSync('../../outside', join(folder, 'root/usr/up'));
  const open = (path: string) => {
    const fd = openFile(path);
    const text = readFileSync(fd, 'utf8');
    closeSync(fd);
    return text;
  };
  mkdirSync(join(folder, 'proc/1'), { recursive: true });
  renameSync(join(folder, 'root'), join(folder, 'proc/1/root'));
  const root = join(folder, 'proc/1/root');
  expect(open(`${root}/usr/lib/real.so`)).toBe('x');
  for (const path of [
    'secret',
    'etc/passwd',
    'lib/real.so',
    'usr/up',
    'usr/../usr/lib/real.so',
    'usr//lib/real.so',
    'usr/lib',
    'none',
    'usr/lib/real.so/x',
  ])
    expect(() => open(`${root}/${path}`), path).toThrow();
  rmSync(join(root, 'usr/lib/real.so'));
  expect(() => open(`${root}/usr/lib/real.so`)).toThrow('ENOENT');
});

test('what is no regular file is not opened for long', () => {
  for (const path of ['/dev/null', '/proc', '/nonexistent']) expect(() => openFile(path), path).toThrow();
});
