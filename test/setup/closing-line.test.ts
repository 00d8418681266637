import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from '../helpers/machine.ts';

/** Runs the real runner over `files` with the closing line as its only reporter. */
async function runnerOver(files: Readonly<Record<string, string>>, env: NodeJS.ProcessEnv = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'kerntap-runner-'));
  try {
    const helper = join(projectRoot, 'test/helpers/closing-line.ts');
    writeFileSync(
      join(folder, 'vitest.config.mjs'),
      `import { closingLine } from ${JSON.stringify(helper)};
       export default { test: { globals: true, reporters: [closingLine()] } };`,
    );
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const vitest = join(projectRoot, 'node_modules/vitest/vitest.mjs');
    const child = spawn(process.execPath, [vitest, 'run', '--root', folder], {
      env: { PATH: process.env.PATH, ...env },
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        output += chunk;
      });
    }
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, output, last: output.trimEnd().split('\n').at(-1) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const MIXED = {
  'a.test.js': `
    test('passes', () => {});
    test.skip('wants a kernel [needs root]', () => {});
    describe('group [not in CI]', () => test.skip('wants kprobes', () => {}));`,
};

test('skips are counted apart, and the run passes', async () => {
  const { code, last } = await runnerOver(MIXED);
  expect({ code, last }).toEqual({ code: 0, last: '1 passed, 0 failed, 2 skipped' });
});

test('with CI=true a skip is a failure, named, unless its title says that CI lacks it', async () => {
  const { code, last, output } = await runnerOver(MIXED, { CI: 'true' });
  expect({ code, last }).toEqual({ code: 1, last: '1 passed, 1 failed, 1 skipped' });
  expect(output).toContain('skipped, which is a failure here: a.test.js > wants a kernel [needs root]');
  expect(output).not.toContain('wants kprobes');
});

test.each([
  ['a failing test', "test('fails', () => { throw new Error('x'); });", '1 passed, 1 failed'],
  ['a module that does not load', "import './absent.js';", '1 passed, 1 failed'],
  [
    'a failing hook',
    "describe('d', () => { beforeAll(() => { throw new Error('x'); }); test('never runs', () => {}); });",
    '1 passed, 1 failed, 1 skipped',
  ],
  ['an unhandled error', "test('passes', () => { void Promise.reject(new Error('x')); });", '2 passed, 1 failed'],
])('%s is counted and fails the run', async (_what, text, line) => {
  const { code, last } = await runnerOver({ 'a.test.js': "test('passes', () => {});", 'b.test.js': text });
  expect({ code, last }).toEqual({ code: 1, last: line });
});

test('no test at all is no success', async () => {
  const { code, last } = await runnerOver({});
  expect({ code, last }).toEqual({ code: 1, last: '0 passed, 0 failed' });
});
