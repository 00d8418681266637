import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** write and writev, as /proc/PID/syscall begins with them. */
const WRITES: Readonly<Record<string, RegExp>> = { x64: /^(?:1|20) /, arm64: /^(?:64|66) / };
const PATIENCE_MS = 250;

/**
 * Sends a signal that bpftrace handles, at a moment when it is not in write().
 *
 * Its handlers do not restart a write that waits for room: that fails with EINTR, std::cout stays bad, and all later
 * output, the maps among it, is lost without a word. In a flood it waits there most of the time. So it is stopped first,
 * which restarts a write by itself, and let go on until it is found outside of one.
 */
export async function signalBetweenWrites(
  pid: number,
  signal: NodeJS.Signals,
  kill: (signal: NodeJS.Signals) => void,
): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  do {
    kill('SIGSTOP');
    // One that does not stop sleeps in the kernel, in no write.
    for (let waited = 0; waited < 100 && !isStopped(pid); waited++) await sleep(1);
    if (!WRITES[process.arch]?.test(read(pid, 'syscall'))) break;
    await sleep(1); // the reader makes room
    kill('SIGCONT');
    await sleep(1);
  } while (performance.now() < until);
  kill(signal);
  kill('SIGCONT');
}

/** True for one that is gone, too. */
const isStopped = (pid: number) => /^(?:T|$)/.test(read(pid, 'stat').split(') ').at(-1) ?? '');

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return '';
  }
}
