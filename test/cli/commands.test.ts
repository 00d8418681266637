import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VERSION } from '../../src/compose.ts';
import { isRoot } from '../helpers/machine.ts';
import { type Invocation, kerntap } from './kerntap.ts';

const NOBODY = 65_534;
const asUser: Invocation = isRoot ? { uid: NOBODY, env: { HOME: '/nonexistent' } } : {};

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kerntap-cli-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('help', () => {
  test.each([[[]], [['--help']], [['-h']], [['help']]])('%j names every command', async (args) => {
    const { code, stdout, stderr } = await kerntap(args);
    expect(code).toBe(0);
    expect(stderr).toBe('');
    for (const command of ['serve', 'run', 'check', 'stdio', 'setup', 'version'])
      expect(stdout).toMatch(new RegExp(`^ {2}${command} +\\w`, 'm'));
  });

  test.each([
    ['serve', '--listen HOST:PORT', '--timeout'],
    ['run', '-t, --timeout SECONDS', '--listen'],
    ['check', '--bpftrace PATH', '--listen'],
    ['stdio', '--data-dir DIR', '--listen'],
    ['setup', '--write', '--timeout'],
  ])('of %s shows its own flags and no others, in 100 columns', async (command, own, foreign) => {
    const { code, stdout } = await kerntap([command, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain(`usage: kerntap ${command} `);
    expect(stdout).toContain(`  ${own} `);
    expect(stdout).not.toContain(`${foreign} `);
    for (const line of stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(100);
    expect((await kerntap(['help', command])).stdout).toBe(stdout);
  });

  test('the version is that of the package', async () => {
    expect(await kerntap(['version'])).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: '' });
    expect((await kerntap(['--version'])).stdout).toBe(`${VERSION}\n`);
  });
});

describe('what cannot start says so in one sentence with a remedy, and exits with 78', () => {
  test.each<[string, string[], string]>([
    ['an unknown command', ['trace'], 'There is no command "trace"; there are: serve, run, targets, check'],
    ['an unknown option', ['serve', '--port', '1'], "Unknown option '--port'. See kerntap serve --help."],
    ['an option of another command', ['run', '--listen', 'x'], "Unknown option '--listen'. See kerntap run --help."],
    ['a wrong value', ['serve', '--listen', 'here'], '--listen is "here": must be HOST:PORT'],
    ['control characters', ['serve', '\x1b[31m'], '"\\u001b[31m" belongs to no option.'],
    ['a listener that everybody reaches', ['serve', '--listen', '0.0.0.0:0'], '0.0.0.0'],
    ['a bpftrace that is not there', ['serve', '--bpftrace', '/nonexistent'], '/nonexistent could not be started'],
    ['the same for a run', ['run', '-e', 'begin { }', '--bpftrace', '/nonexistent'], '/nonexistent could not be'],
    ['the same over stdio', ['stdio', '--bpftrace', '/nonexistent'], '/nonexistent could not be started'],
    ['no program', ['run'], 'One program is needed: -e with its text, a file, or - for standard input.'],
    ['two programs', ['run', '-e', 'begin { }', 'x.bt'], 'One program is needed'],
    ['a file that is not there', ['run', '/nonexistent.bt'], '"/nonexistent.bt" cannot be read: no such file'],
    ['a folder as the program', ['run', '/'], '"/" cannot be read: '],
    ['a time of zero', ['run', '-t', '0', '-e', 'x'], '--timeout is "0": must be a whole number from 1 to 600'],
    ['a time that is no number', ['run', '-t', 'x', '-e', 'x'], '--timeout is "x"'],
    ['a form that there is not', ['run', '-f', 'xml', '-e', 'x'], '--format is "xml": must be one of table, json'],
    ['a server that is no address', ['run', '--server', 'node-7', '-e', 'x'], '--server is "node-7": must be a URL'],
    ['an unknown client', ['setup', 'emacs'], 'There is no client "emacs". Name one of: claude-code'],
    ['no client', ['setup'], 'No client is named.'],
  ])('%s', async (_what, args, sentence) => {
    const { code, stdout, stderr } = await kerntap(args);
    expect(stderr).toContain(sentence);
    expect(stderr).toMatch(/^kerntap: [^\n]+\.\n$/);
    expect(stdout).toBe('');
    expect(code).toBe(78);
  });

  test('a bpftrace that is too old', async () => {
    const old = join(folder, 'bpftrace');
    await writeFile(old, '#!/bin/sh\necho bpftrace v0.20.0\n');
    await chmod(old, 0o755);
    const { code, stdout, stderr } = await kerntap(['serve', '--bpftrace', old]);
    expect(stderr).toBe(
      `kerntap: ${old} is bpftrace 0.20.0, too old. Install bpftrace 0.24.2 or newer, or pass its path with --bpftrace.\n`,
    );
    expect(stdout).toBe('');
    expect(code).toBe(78);
  });

  test('a user who may not trace', async () => {
    const fake = join(folder, 'new-bpftrace');
    await writeFile(fake, '#!/bin/sh\necho bpftrace v0.27.0\n');
    await chmod(folder, 0o755);
    await chmod(fake, 0o755);
    const args = ['serve', '--bpftrace', fake, '--listen', '127.0.0.1:0', '--data-dir', join(folder, 'none')];
    const { code, stdout, stderr } = await kerntap(args, asUser);
    expect(stderr.split('\n').filter((line) => !line.startsWith('{'))).toEqual([
      expect.stringMatching(/^kerntap: Tracing needs CAP_.* Start as root/),
      '',
    ]);
    expect(stdout).toBe('');
    expect(code).toBe(78);
  });
});

test('a run that a remote node cannot take fails with 1', async () => {
  const { code, stdout, stderr } = await kerntap(['run', '-e', 'begin { }', '--server', 'http://127.0.0.1:1/mcp']);
  expect(stderr).toMatch(/^kerntap: No kerntap answers at http:\/\/127\.0\.0\.1:1\. Check the address[^\n]+\n$/);
  expect(stdout).toBe('');
  expect(code).toBe(1);
});

test('check says what it can where something basic is missing, and what to do', async () => {
  const { code, stdout, stderr } = await kerntap(['check', '--bpftrace', '/nonexistent']);
  expect(stdout).toMatch(/^yes {2}kernel +\d+\.\d+\S* \w+, \d+ CPUs?$/m);
  expect(stdout).toMatch(/^(?:yes|no ) {2}BTF +\w/m);
  expect(stdout).toMatch(/^no {3}bpftrace +\/nonexistent could not be started as bpftrace: install bpftrace 0\.24\.2/m);
  expect(stdout).toMatch(/^This machine cannot trace yet\.\n$/m);
  expect(stdout).not.toContain('attaches');
  expect(stderr).toBe('');
  expect(code).toBe(78);
});

test('check tells a user who may not trace to become root', async () => {
  const fake = join(folder, 'other-bpftrace');
  await writeFile(fake, '#!/bin/sh\necho bpftrace v0.27.0\n');
  await chmod(folder, 0o755);
  await chmod(fake, 0o755);
  const { code, stdout } = await kerntap(['check', '--bpftrace', fake], asUser);
  expect(stdout).toMatch(/^no {3}rights +Tracing needs CAP_.*: start as root/m);
  expect(code).toBe(78);
});
