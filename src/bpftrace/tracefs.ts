import { existsSync } from 'node:fs';
import { collect } from './command.ts';

const HOME = '/sys/kernel/tracing';

/** Makes sure that tracefs is there, mounting it when root: bpftrace finds tracepoints in it alone. */
export async function ensureTracefs(): Promise<'present' | 'mounted' | 'absent'> {
  const isThere = () => existsSync(`${HOME}/events`) || existsSync('/sys/kernel/debug/tracing/events');
  if (isThere()) return 'present';
  if (process.geteuid?.() !== 0) return 'absent';
  await collect(['mount', '-t', 'tracefs', '-o', 'nosuid,nodev,noexec', 'nodev', HOME], {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  return isThere() ? 'mounted' : 'absent';
}
