import { lstatSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { resolveInRoot } from '../../src/targets/root.ts';
import { forAll } from '../helpers/for-all.ts';
import { machine } from '../helpers/machine-folder.ts';

/** A root folder with links as an image may have them, beside a file of the host. */
function image() {
  const folder = machine({
    'host.txt': 'host',
    'root/etc/passwd': 'inside',
    'root/usr/lib/libc.so.6': 'inside',
    'root/lib': { link: 'usr/lib' },
    'root/lib64': { link: '/usr/lib' },
    'root/usr/absolute': { link: '/etc/passwd' },
    'root/usr/up': { link: '../../../../../../../../etc/passwd' },
    'root/usr/out': { link: '../../host.txt' },
    'root/usr/chain': { link: '../lib64/../absolute' },
    'root/loop': { link: 'loop' },
    'root/ping': { link: 'pong' },
    'root/pong': { link: '/ping' },
    'root/top': { link: '/' },
  });
  return { root: join(folder, 'root') };
}

test.each([
  ['/usr/lib/libc.so.6', '/usr/lib/libc.so.6'],
  ['/lib/libc.so.6', '/usr/lib/libc.so.6'],
  ['/lib64/libc.so.6', '/usr/lib/libc.so.6'],
  ['/usr/absolute', '/etc/passwd'],
  ['/usr/up', '/etc/passwd'],
  ['/usr/chain', '/etc/passwd'],
  ['/top/top/lib/./libc.so.6', '/usr/lib/libc.so.6'],
  ['/../../../etc/passwd', '/etc/passwd'],
  ['', ''],
])('%s is %s in its root', (path, found) => {
  const { root } = image();
  expect(resolveInRoot(root, path)).toBe(root + found);
});

test.each(['/usr/out', '/loop', '/ping', '/none', '/etc/passwd/x', '/nul\0byte'])('%j is nothing there', (path) => {
  const { root } = image();
  expect(() => resolveInRoot(root, path)).toThrow();
});

test('no links whatever lead out of the root', () => {
  const names = fc.constantFrom('a', 'b', 'c', '..', '.', '', 'root', 'host.txt');
  const path = fc.array(names, { maxLength: 6 }).map((parts) => parts.join('/'));
  const links = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd/a', 'd/b'), fc.boolean(), path), { maxLength: 6 });
  forAll(
    fc.tuple(links, path),
    ([wanted, asked]) => {
      const files = Object.fromEntries(
        wanted.map(([name, absolute, to]) => [`root/${name}`, { link: `${absolute ? '/' : ''}${to || '.'}` }]),
      );
      const folder = machine({ 'host.txt': 'host', ...files });
      const root = join(folder, 'root');
      mkdirSync(join(root, 'd'), { recursive: true });
      let found: string;
      try {
        found = resolveInRoot(root, asked);
      } catch {
        return;
      }
      expect(found === root || found.startsWith(`${root}/`)).toBe(true);
      expect(lstatSync(found).isDirectory()).toBe(true); // what it found is no link
    },
    300,
  );
});
