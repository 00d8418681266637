import { readFileSync } from 'node:fs';
import { startTimeOf } from '../process-start.ts';

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
  started: startTimeOf(process.pid) ?? '',
  boot: bootId(),
});

/** True while that process lives. */
export const isAlive = (server: ServerIdentity): boolean =>
  server.boot === bootId() && startTimeOf(server.pid) === server.started;
