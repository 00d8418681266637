import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findInstallation } from '../../src/bpftrace/installation.ts';
import { temporaryFolder } from '../helpers/tracer.ts';

/** An executable that says its version, as bpftrace does. */
function fakeBpftrace(path: string, version: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho "bpftrace ${version}"\n`);
  chmodSync(path, 0o755);
  return path;
}

const LOADERS: Readonly<Record<string, string>> = {
  x64: 'usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2',
  arm64: 'usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1',
};

/** A root whose loader only says the version of the program that it was asked to start. */
function fakeRoot(cacheDir: string, version: string): string {
  const root = join(cacheDir, 'bpftrace/root');
  fakeBpftrace(join(root, LOADERS[process.arch] ?? 'unknown'), version);
  for (const name of ['bpftrace', 'setpriv', 'prlimit']) fakeBpftrace(join(root, 'usr/bin', name), version);
  return root;
}

describe('finding bpftrace', () => {
  test('takes the one on PATH when it is new enough, with the setpriv and prlimit beside it', async () => {
    using folder = temporaryFolder();
    const bin = join(folder.path, 'bin');
    const bpftrace = fakeBpftrace(join(bin, 'bpftrace'), 'v0.24.2');
    const setpriv = fakeBpftrace(join(bin, 'setpriv'), '-');
    fakeRoot(folder.path, 'v0.27.0');
    expect(await findInstallation({ cacheDir: folder.path, env: { PATH: `:relative:${bin}` } })).toEqual({
      version: '0.24.2',
      bundled: false,
      bpftrace: [bpftrace],
      setpriv: [setpriv],
      prlimit: undefined,
      root: bin,
    });
  });

  test.each(['v0.23.9', 'v0.24.1', 'v0.9.99'])(
    'passes over %s on PATH for the one in the cache folder',
    async (old) => {
      using folder = temporaryFolder();
      const bin = join(folder.path, 'bin');
      fakeBpftrace(join(bin, 'bpftrace'), old);
      const root = fakeRoot(folder.path, 'v0.27.0');
      const loader = join(root, LOADERS[process.arch] ?? '');
      const found = await findInstallation({ cacheDir: folder.path, env: { PATH: bin } });
      expect(found).toMatchObject({ version: '0.27.0', bundled: true, root });
      const start = (name: string) => [
        loader,
        '--library-path',
        dirname(loader),
        '--argv0',
        name,
        `${root}/usr/bin/${name}`,
      ];
      expect(found.bpftrace).toEqual(start('bpftrace'));
      expect(found.setpriv).toEqual(start('setpriv'));
      expect(found.prlimit).toEqual(start('prlimit'));
    },
  );

  test('takes the given path and no other one', async () => {
    using folder = temporaryFolder();
    const path = fakeBpftrace(join(folder.path, 'mine'), 'v1.0.0-rc1');
    const found = await findInstallation({ path, cacheDir: folder.path, env: {} });
    expect(found).toMatchObject({ version: '1.0.0', bpftrace: [path], root: folder.path });
    const old = fakeBpftrace(join(folder.path, 'old'), 'v0.20.0');
    await expect(findInstallation({ path: old, cacheDir: folder.path, env: {} })).rejects.toMatchObject({
      code: 'start.bpftrace',
      message: expect.stringContaining(`${old} is bpftrace 0.20.0`),
    });
    await expect(findInstallation({ path: '/nowhere/bpftrace', cacheDir: folder.path, env: {} })).rejects.toMatchObject(
      {
        code: 'start.bpftrace',
        message: expect.stringContaining('/nowhere/bpftrace'),
      },
    );
  });

  test('names what it found when nothing is good enough', async () => {
    using folder = temporaryFolder();
    const bin = join(folder.path, 'bin');
    const old = fakeBpftrace(join(bin, 'bpftrace'), 'v0.17.0');
    await expect(findInstallation({ cacheDir: folder.path, env: { PATH: bin } })).rejects.toMatchObject({
      code: 'start.bpftrace',
      message: expect.stringMatching(new RegExp(`0\\.24\\.2 or newer.*${old} is 0\\.17\\.0, none is in `)),
    });
    await expect(findInstallation({ cacheDir: folder.path, env: { PATH: '/nowhere' } })).rejects.toMatchObject({
      message: expect.stringContaining('none is on PATH'),
    });
  });

  test('refuses a cache folder with a colon in its path, which the loader would split', async () => {
    using folder = temporaryFolder();
    const cacheDir = join(folder.path, 'a:b');
    fakeRoot(cacheDir, 'v0.27.0');
    await expect(findInstallation({ cacheDir, env: { PATH: '/nowhere' } })).rejects.toMatchObject({
      code: 'start.bpftrace',
      message: expect.stringContaining('colon'),
    });
  });
});
