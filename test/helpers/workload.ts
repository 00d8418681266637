import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

const OPEN_FILES = `
const { openSync } = require('node:fs');
const names = process.argv.slice(1).map((name) => Buffer.from(name, 'hex'));
setInterval(() => {
  for (const name of names) try { openSync(Buffer.concat([Buffer.from('/nonexistent/'), name])); } catch {}
}, 50);
`;

export interface Workload extends AsyncDisposable {
  readonly pid: number;
}

/** A process that tries every 50 ms to open files of these names, whatever bytes they hold, in a folder that is absent. */
export async function openFiles(names: readonly Uint8Array[]): Promise<Workload> {
  const args = names.map((name) => Buffer.from(name).toString('hex'));
  return workloadOf(spawn(process.execPath, ['-e', OPEN_FILES, ...args], { stdio: 'ignore' }));
}

/** A process that makes system calls without a pause. */
export async function floodSystemCalls(): Promise<Workload> {
  return workloadOf(spawn('dd', ['if=/dev/zero', 'of=/dev/null', 'bs=1'], { stdio: 'ignore' }));
}

async function workloadOf(child: ChildProcess): Promise<Workload> {
  await once(child, 'spawn');
  const ended = once(child, 'exit');
  return {
    pid: child.pid ?? Number.NaN,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
