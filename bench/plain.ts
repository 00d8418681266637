import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, createReadStream, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { findInstallation, type Installation } from '../src/bpftrace/installation.ts';
import { own } from './owned.ts';
import { PROJECT } from './server.ts';

/** bpftrace prints this line when all probes are attached, if it is asked to by the variable of the same name. */
const ARMED = '__BPFTRACE_NOTIFY_PROBES_ATTACHED';

/** The bpftrace that kerntap drives here. */
export const installation: Installation = await findInstallation({
  cacheDir: join(PROJECT, '.cache'),
  env: process.env,
});

/** `bpftrace -f json -e PROGRAM` as a person starts it, with its output in a pipe or in the file `to`. */
export function startPlain(program: string, to?: string): ChildProcess & AsyncDisposable & { ended: Promise<unknown> } {
  const [file = '', ...first] = installation.bpftrace;
  const output = to === undefined ? 'pipe' : openSync(to, 'w');
  const child = spawn(file, [...first, '-f', 'json', '-e', program], {
    env: { ...process.env, [ARMED]: '1' },
    stdio: ['ignore', output, 'ignore'],
  });
  if (typeof output === 'number') closeSync(output);
  const ended = once(child, 'exit');
  return own(Object.assign(child, { ended }), async () => {
    child.kill('SIGINT');
    await ended;
  });
}

/** Resolves when a bpftrace that writes to a pipe has attached its probes. */
export async function armed({ stdout }: ChildProcess): Promise<void> {
  let text = '';
  if (stdout)
    for await (const chunk of stdout.iterator({ destroyOnReturn: false })) {
      text += chunk;
      if (!text.includes(ARMED)) continue;
      stdout.resume();
      return;
    }
  throw new Error('plain bpftrace ended before its probes were attached');
}

/** The same for one that writes to a file. */
export async function armedInFile(file: string): Promise<void> {
  for (;;) {
    for await (const line of createInterface({ input: createReadStream(file, { end: 65_536 }) }))
      if (line === ARMED) return;
    await wait(20);
  }
}
