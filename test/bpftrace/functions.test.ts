import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createFunctionNames, readFunctions } from '../../src/bpftrace/functions.ts';
import { machine } from '../helpers/machine-folder.ts';

const SYMBOLS = '0000000000000000 T do_exit\n0000000000000000 D jiffies\n0000000000000000 t nfs_open\t[nfs]\n';

test('names are written again, in the same file, when modules have come or gone, and only then', () => {
  const root = machine({ 'proc/kallsyms': '0000000000000000 T do_exit\n0000000000000000 D jiffies\n' });
  const [path, modules, kallsyms] = ['functions', 'proc/modules', 'proc/kallsyms'].map((name) => join(root, name));
  if (path === undefined || modules === undefined || kallsyms === undefined) throw new Error('unreachable');
  const names = createFunctionNames(path, root);
  const written = () => readFileSync(path, 'utf8');
  names.refresh();
  expect(written()).toBe('do_exit\n'); // a kernel without modules
  const { ino } = statSync(path);

  writeFileSync(kallsyms, SYMBOLS);
  names.refresh();
  expect(written()).toBe('do_exit\n');
  writeFileSync(modules, 'nfs 16384 0 - Live 0x0000000000000000\n');
  names.refresh();
  expect(written()).toBe('do_exit\nnfs_open [nfs]\n');

  rmSync(kallsyms);
  writeFileSync(modules, 'nfs 16384 7 - Live 0x0000000000000000\n');
  names.refresh();
  expect(written()).toBe('do_exit\nnfs_open [nfs]\n'); // it is only used more
  expect(statSync(path).ino).toBe(ino);
});

test('what the kernel says can be traced is taken before all that it has', () => {
  const traceable = 'do_exit\nrcu_eqs_enter\nvfs_rmdir.part.0\nnfs_open [nfs]\nnfs_close [nfs]\n';
  const root = machine({
    'proc/kallsyms': `${SYMBOLS}0 T vfs_caches_init\n`,
    'sys/kernel/tracing/available_filter_functions': traceable,
  });
  expect([...readFunctions(root)]).toEqual(['do_exit', 'nfs_open [nfs]', 'nfs_close [nfs]']);
  rmSync(join(root, 'sys/kernel/tracing'), { recursive: true });
  mkdirSync(join(root, 'sys/kernel/debug/tracing'), { recursive: true });
  writeFileSync(join(root, 'sys/kernel/debug/tracing/available_filter_functions'), 'do_exit\n');
  expect([...readFunctions(root)]).toEqual(['do_exit']);
});
