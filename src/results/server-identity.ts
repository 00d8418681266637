import { readFileSync } from 'node:fs';

/** Names one process of one boot: a pid alone is given again, and after a reboot the start times repeat, too. */
export interface ServerIdentity {
  readonly pid: number;
  /** Clock ticks from boot to the start of the process, as the kernel writes it. */
  readonly started: string;
  readonly boot: string;
}

const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

/** This process. */
export const thisServer = (): ServerIdentity => ({
  pid: process.pid,
  started: startOf(process.pid) ?? '',
  boot: bootId(),
});

/** True while that process lives. */
export const isAlive = (server: ServerIdentity): boolean =>
  server.boot === bootId() && startOf(server.pid) === server.started;

/** Field 22 of `/proc/PID/stat`; undefined for a process that is gone or only waits to be reaped. */
function startOf(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The second field is the command in parentheses and may hold anything, so count from the last parenthesis.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  return state === 'Z' || state === 'X' ? undefined : fields[19];
}
