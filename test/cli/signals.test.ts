import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { projectRoot } from '../helpers/machine.ts';
import { until } from '../helpers/until.ts';

const LISTEN = `
import { aborted, listenForStop } from ${JSON.stringify(join(projectRoot, 'src/cli/signals.ts'))};
const { stop, hurry } = listenForStop();
aborted(stop).then(() => process.stdout.write('stop '));
aborted(hurry).then(() => process.stdout.write('hurry '));
setInterval(() => {}, 1_000);
process.stdout.write('ready ');
`;

function listen() {
  const child = spawn(process.execPath, ['--input-type=module', '-e', LISTEN], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (text: Buffer) => {
    said += text.toString();
  });
  const ended = once(child, 'exit');
  return {
    kill: (signal: NodeJS.Signals) => void child.kill(signal),
    says: (words: string) => until(() => said === words, `it says ${words}, not ${said}`),
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

test('Ctrl-C that comes twice, from the terminal and from npm, is one; the next one hurries, a third one exits', async () => {
  await using listener = listen();
  await listener.says('ready ');
  listener.kill('SIGINT');
  listener.kill('SIGTERM'); // the same signal twice may reach a process once
  await listener.says('ready stop ');
  await wait(700);
  await listener.says('ready stop ');
  listener.kill('SIGINT');
  await listener.says('ready stop hurry ');
  await wait(700);
  listener.kill('SIGINT');
  expect(await listener.ended).toEqual([1, null]);
});

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s stops', async (signal) => {
  await using listener = listen();
  await listener.says('ready ');
  listener.kill(signal);
  await listener.says('ready stop ');
});
