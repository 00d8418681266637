import { readFileSync } from 'node:fs';
import { KerntapError } from '../errors.ts';
import { parseLockdown } from './facts.ts';

/** Each capability with its bit (linux/capability.h). bpftrace keeps the first four. */
const NEEDED = {
  CAP_SYS_ADMIN: 21, // uprobes by perf_event_open, stable kernels since July 2025
  CAP_BPF: 39,
  CAP_PERFMON: 38,
  CAP_SYSLOG: 34, // names instead of addresses in /proc/kallsyms
  CAP_SETPCAP: 8, // ours alone: to take everything else from bpftrace's bounding set
} as const;

/** What bpftrace may keep, as setpriv writes it. */
export const KEPT_CAPABILITIES = ['sys_admin', 'bpf', 'perfmon', 'syslog'] as const;

/**
 * Throws `start.privilege`, which names what is missing. `status` is the text of /proc/self/status, `lockdown` that of the
 * kernel's file of this name.
 */
export function requirePrivileges(
  status: string = readFileSync('/proc/self/status', 'utf8'),
  lockdown: string = readLockdown(),
): void {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  const missing = Object.entries(NEEDED)
    .filter(([, bit]) => (effective & (1n << BigInt(bit))) === 0n)
    .map(([name]) => name);
  if (missing.length > 0) {
    throw new KerntapError('start.privilege', `Tracing needs ${missing.join(', ')}, which this process does not have.`);
  }
  const uid = /^Uid:\s*\d+\s+(\d+)/m.exec(status)?.[1];
  if (uid !== '0') {
    throw new KerntapError(
      'start.privilege',
      `Tracing needs tracefs, which root alone may read; this is user ${uid}.`,
      {
        remedy: 'start as root',
      },
    );
  }
  // Its tracefs is empty then, and without the list of events bpftrace runs no program at all, not even BEGIN.
  if (parseLockdown(lockdown) === 'confidentiality') {
    throw new KerntapError(
      'start.privilege',
      'This kernel is locked down (lockdown=confidentiality), so it hides all that could be traced, from root, too.',
      { remedy: 'boot with lockdown=integrity or without lockdown on the kernel command line' },
    );
  }
}

function readLockdown(): string {
  try {
    return readFileSync('/sys/kernel/security/lockdown', 'utf8');
  } catch {
    return ''; // no securityfs: then the first program tells
  }
}
