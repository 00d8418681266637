import { readFileSync, readlinkSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { bpftraceOf, createCheckout, NPM } from './checkout.ts';

const changed = (root: string) =>
  ['.cache', '.cache/bin', '.cache/bpftrace', 'node_modules'].map((folder) => statSync(join(root, folder)).mtimeMs);

test('the first run brings what is missing and tells of it, the second does nothing and says nothing', async () => {
  using checkout = createCheckout();
  checkout.program('npm', NPM);
  checkout.program('bpftrace', bpftraceOf('v0.27.0'));

  const first = await checkout.run();
  expect(first.code).toBe(0);
  expect(first.text).toMatch(
    /^setup npm packages … 3 in \d+\.\d s\nsetup bpftrace 0\.27\.0 of this machine: .*\/bin\/bpftrace\n$/,
  );
  expect(readlinkSync(join(checkout.root, '.cache/bin/node'))).toBe(process.execPath);

  const before = changed(checkout.root);
  expect(await checkout.run()).toEqual({ code: 0, text: '' });
  expect(changed(checkout.root)).toEqual(before);
  expect(checkout.log('npm')).toBe('ci --include=dev\n');
});

test('a lock file that changed brings the packages again', async () => {
  using checkout = createCheckout();
  checkout.program('npm', NPM);
  await checkout.run(['node', 'packages']);
  const later = Date.now() / 1000 + 5;
  utimesSync(join(checkout.root, 'package-lock.json'), later, later);
  expect((await checkout.run(['packages'])).text).toContain('npm packages');
  expect(checkout.log('npm').split('\n')).toHaveLength(3);
});

test('npm runs on the Node of .cache/bin, with the npmrc of the machine, and knows nothing of an npm around it', async () => {
  using checkout = createCheckout();
  checkout.program('npm', `echo "PATH=$PATH_GIVEN" >"$ROOT/npm.log"; env >>"$ROOT/npm.log"; ${NPM}`);
  await checkout.run(['node', 'packages'], {
    npm_package_name: 'outer',
    npm_lifecycle_event: 'start',
    npm_execpath: '/outer/npm-cli.js',
    npm_config_registry: 'http://127.0.0.1:9/',
  });
  const env = checkout.log('npm');
  expect(env).toContain(`PATH=${join(checkout.root, '.cache/bin')}:`);
  expect(env).toContain('npm_config_registry=http://127.0.0.1:9/');
  expect(env).toContain(`npm_config_globalconfig=${join(process.execPath, '../../etc/npmrc')}`);
  expect(env).not.toMatch(/npm_package_|npm_lifecycle_|npm_execpath/);
});

test('what npm complains of is one sentence with a remedy', async () => {
  using checkout = createCheckout();
  checkout.program(
    'npm',
    "printf 'npm warn x\\nnpm error code EAI_AGAIN\\nnpm error request to http://127.0.0.1:9/zod failed, reason: getaddrinfo\\nnpm error A complete log of this run\\n' >&2; exit 1",
  );
  const { code, text } = await checkout.run(['packages']);
  expect(code).toBe(78);
  expect(text).toBe(
    'setup npm packages … failed\n' +
      'setup npm ci failed: request to http://127.0.0.1:9/zod failed, reason: getaddrinfo. ' +
      'Check the network, the proxy and the registry (npm config get registry), then run this again.\n',
  );
});

test('without npm it says so', async () => {
  using checkout = createCheckout();
  const { code, text } = await checkout.run(['packages']);
  expect(code).toBe(78);
  expect(text).toContain('npm is not on PATH. Install npm and run this again.');
});

test.each(['a:b', 'a;b', 'a"b'])('a checkout in %s is refused', async (name) => {
  using checkout = createCheckout(name);
  const { code, text } = await checkout.run();
  expect(code).toBe(78);
  expect(text).toMatch(
    /^setup kerntap cannot work in .*: .* Move the checkout to a path without these characters\.\n$/,
  );
});

test('a part that does not exist is refused with those that do', async () => {
  using checkout = createCheckout();
  const { code, text } = await checkout.run(['python']);
  expect(code).toBe(78);
  expect(text).toBe(
    'setup There is no part "python" of the set-up. Name some of: node, packages, bpftrace, containers, vm.\n',
  );
});

test('a folder that cannot be written is one sentence', async () => {
  using checkout = createCheckout();
  rmSync(join(checkout.root, '.cache'), { recursive: true });
  writeFileSync(join(checkout.root, '.cache'), '');
  const { code, text } = await checkout.run(['packages']);
  expect(code).toBe(78);
  expect(text).toMatch(/^setup The set-up could not go on: EEXIST.*\n$/);
});

test("a dead owner's lock is taken over and given back", async () => {
  using checkout = createCheckout();
  checkout.program('npm', NPM);
  const lock = join(checkout.root, '.cache/lock');
  // The process of this test, as it were after a restart of the machine: the same id with another start.
  symlinkSync(`${process.pid} 1`, lock);
  expect((await checkout.run(['packages'])).code).toBe(0);
  expect(() => readlinkSync(lock)).toThrow('ENOENT');
});

test('a live owner is waited for', async () => {
  using checkout = createCheckout();
  checkout.program('npm', NPM);
  const lock = join(checkout.root, '.cache/lock');
  const started = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ')[19];
  symlinkSync(`${process.pid} ${started}`, lock);
  const waiting = checkout.start(['packages']);
  await vi.waitFor(() => expect(waiting.text()).toContain(`process ${process.pid} is setting up`), 10_000);
  expect(checkout.log('npm')).toBe('');
  rmSync(lock);
  expect((await waiting.ended).code).toBe(0);
  expect(checkout.log('npm')).toBe('ci --include=dev\n');
});

test('of two at once one does the work', async () => {
  using checkout = createCheckout();
  checkout.program('npm', `sleep 0.5; ${NPM}`);
  const both = await Promise.all([checkout.run(['packages']), checkout.run(['packages'])]);
  expect(both.map(({ code }) => code)).toEqual([0, 0]);
  expect(checkout.log('npm')).toBe('ci --include=dev\n');
});

test('a signal ends the program that runs and gives the lock back', async () => {
  using checkout = createCheckout();
  checkout.program(
    'npm',
    'trap "echo ended >>\\"$ROOT/npm.log\\"; kill $!; exit 1" TERM; echo runs >>"$ROOT/npm.log"; sleep 60 & wait',
  );
  const setup = checkout.start(['packages']);
  await vi.waitFor(() => expect(checkout.log('npm')).toBe('runs\n'), 10_000);
  setup.child.kill('SIGTERM');
  expect((await setup.ended).code).toBe(143);
  await vi.waitFor(() => expect(checkout.log('npm')).toBe('runs\nended\n'), 10_000);
  expect(() => readlinkSync(join(checkout.root, '.cache/lock'))).toThrow('ENOENT');
});
