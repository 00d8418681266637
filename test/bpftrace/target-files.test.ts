import { execFileSync } from 'node:child_process';
import { mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { targetFilesOf } from '../../src/bpftrace/target-files.ts';

const shell = realpathSync('/bin/sh');

test('the files of uprobes and USDT probes are named once, whatever the spelling', () => {
  const probes = ['uprobe:/bin/sh:main', `ur:"${shell}":main`, 'usdt:/bin/sh:*', 'tracepoint:sched:sched_switch'];
  expect(targetFilesOf(probes)).toEqual([shell]);
  expect(targetFilesOf(['-l', 'kprobe:*,uprobe:/bin/sh:x*'])).toEqual([shell]);
});

test('a file that is no program stays closed, also behind a link', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kerntap-test-'));
  try {
    const secret = join(folder, 'secret');
    writeFileSync(secret, 'root:x:0:0');
    symlinkSync(secret, join(folder, 'link'));
    const probes = [secret, join(folder, 'link'), join(folder, 'absent'), folder].map((path) => `uprobe:${path}:main`);
    expect(targetFilesOf(probes)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a pipe is not waited for', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kerntap-test-'));
  try {
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    expect(targetFilesOf([`uprobe:${join(folder, 'pipe')}:main`])).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
