import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { toTheEnd } from '../cli/kerntap.ts';
import { rememberPrograms } from '../helpers/bpf-programs.ts';
import { canTrace, projectRoot } from '../helpers/machine.ts';

const DEMO = join(projectRoot, 'scripts/demo.ts');
const folders = () => readdirSync(tmpdir()).filter((name) => name.startsWith('kerntap-demo-'));
const running = () => readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isOfDemo(name));

function isOfDemo(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('kerntap-demo-');
  } catch {
    return false;
  }
}

test.skipIf(!canTrace)('the demo finds the planted fault and leaves nothing behind [needs root and BPF]', async () => {
  const programs = rememberPrograms();
  const before = folders();
  const { code, stdout, stderr } = await toTheEnd([process.execPath, DEMO]);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^# kerntap listens on http:\/\/127\.0\.0\.1:\d+\/mcp$/m);
  expect(stdout).toMatch(/^# An MCP client \(2026-07-28\) asks/m);
  expect(stdout).toMatch(/^@failed: 1 of 1 row\n {2}key +value\n {2}flags\/checkout\.json,2 +\d+$/m);
  expect(stdout).toMatch(/^account: /m);
  expect(stdout).not.toMatch(/\x1b|warning/);
  for (const line of stdout.split('\n').filter((text) => !text.startsWith('program on')))
    expect(line.length).toBeLessThanOrEqual(100);
  expect(folders()).toEqual(before);
  expect(running()).toEqual([]);
  expect(await programs.leftOver([])).toEqual([]);
});

test.skipIf(!canTrace)('a demo that is interrupted leaves nothing either [needs root and BPF]', async () => {
  const before = folders();
  const { code } = await toTheEnd(['timeout', '--signal=INT', '--preserve-status', '3', process.execPath, DEMO]);
  expect(code).toBe(1);
  expect(folders()).toEqual(before);
  expect(running()).toEqual([]);
});
