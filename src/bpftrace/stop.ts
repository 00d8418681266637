import type { Log } from '../log.ts';
import type { Child } from './launch.ts';
import { within } from './wait.ts';

const SOFT_STOP_MS = 2_000;
// What is printed no more is still read: a full buffer holds 170,000 short events, 10 us each on a busy machine.
const READ_OUT_MS = 10_000;
const DETACH_MS = 5_000;
const INTERRUPT_MS = 2_000;
const TERMINATE_MS = 2_000;
// The kernel takes tracepoints away one by one and waits a grace period for each: 65 to 80 ms.
const PROBE_MS = 100;

/**
 * Ends an armed run so that as little as possible is lost, and resolves when its process is reaped: to `interrupt`
 * when it had to be interrupted, so that events still in its buffer are gone. `printingEnded` tells that printing is over.
 */
export async function stop(
  child: Child,
  endMarker: Promise<void>,
  { probes, printingEnded, log }: { probes: number; printingEnded: boolean; log: Log },
): Promise<'soft' | 'interrupt'> {
  const send = async (stage: string, signal: NodeJS.Signals) => {
    log.info('trace.stop', { pid: child.pid, stage, signal });
    await child.kill(signal);
  };
  let how: 'soft' | 'interrupt' = 'soft';

  // Our probe on SIGUSR1 prints the end marker and exits, both queued behind all events.
  await send('soft', 'SIGUSR1');
  if (await within(Promise.race([endMarker, child.ended]), printingEnded ? READ_OUT_MS : SOFT_STOP_MS)) {
    if (await within(child.ended, DETACH_MS + probes * PROBE_MS)) return how;
  } else {
    // In an endless flood bpftrace never comes to look at SIGUSR1; SIGINT ends it, maps printed, in 0.3 s.
    how = 'interrupt';
    await send('interrupt', 'SIGINT');
    if (await within(child.ended, INTERRUPT_MS + probes * PROBE_MS)) return how;
  }
  await send('terminate', 'SIGTERM');
  if (await within(child.ended, TERMINATE_MS)) return how;
  await send('kill', 'SIGKILL');
  await child.ended;
  return how;
}
