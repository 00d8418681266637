import type { Log } from '../log.ts';
import type { Child } from './launch.ts';
import { within } from './wait.ts';

/** One bpftrace that was started ahead and waits for its program: a trace with it is attached in 3/4 of the time. */
export interface Spare {
  /** Gives the waiting bpftrace away, if there is one that lives. */
  take(): Child | undefined;
  /** Starts one if there is none, and lets it wait for `idleMs` from now. */
  prepare(): void;
  close(): Promise<void>;
}

export function createSpare(options: { launch: () => Promise<Child>; idleMs: number; log: Log }): Spare {
  const { launch, idleMs, log } = options;
  let waiting: Child | undefined;
  let starting: Promise<void> | undefined;
  let idle: NodeJS.Timeout | undefined;
  let closed = false;

  const take = () => {
    const child = waiting;
    waiting = undefined;
    return child;
  };
  const start = async () => {
    const child = await launch();
    waiting = child;
    void child.ended.then(() => {
      if (waiting !== child) return;
      waiting = undefined;
      log.warn('spare.died', { pid: child.pid });
    });
  };
  // Any signal would end it without a word, one that it ignores later, too; the end of its input ends it in order.
  const dismiss = async () => {
    await starting;
    const child = take();
    if (child === undefined) return;
    child.send('');
    if (!(await within(child.ended, 5_000))) await child.kill('SIGKILL');
    await child.ended;
  };
  return {
    take,
    prepare() {
      if (closed) return;
      clearTimeout(idle);
      idle = setTimeout(dismiss, idleMs).unref();
      if (waiting !== undefined || starting !== undefined) return;
      starting = start()
        .catch((error: unknown) => log.error('spare.not_started', error))
        .finally(() => {
          starting = undefined;
        });
    },
    async close() {
      closed = true;
      clearTimeout(idle);
      await dismiss();
    },
  };
}
