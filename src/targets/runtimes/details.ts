import type { Log } from '../../log.ts';
import { type FirstProcess, isAlive } from './first-process.ts';

/** What a runtime tells of a running container only when it is asked for that one. */
export interface Details {
  /** Absent when this server's /proc does not show it. */
  readonly process?: FirstProcess;
  /** As the runtime was told to make it, for where `process` is absent. */
  readonly cgroup?: string;
  readonly handler?: string;
  readonly startedMs?: number;
}

export interface DetailsOptions {
  readonly procFolder: string;
  /** For the log. */
  readonly runtime: string;
  readonly log: Log;
}

const AT_ONCE = 8;
/** For all containers together, so that a runtime in which many of them are stuck holds nobody up. */
const LIMIT_MS = 3000;
/** How long one whose answer failed is not asked for again. */
const PAUSE_MS = 10_000;

/**
 * Makes the look-up of details: it asks once for each running container, and again when its first process is another.
 * `ask` answers undefined for a container that is gone, which is then not in the map. One for which `ask` fails is there
 * with nothing known, and is asked for again after a while.
 */
export function createDetails({ procFolder, runtime, log }: DetailsOptions) {
  const known = new Map<string, Details>();
  const failed = new Map<string, number>();

  return async (
    running: readonly string[],
    ask: (id: string, signal: AbortSignal) => Promise<Details | undefined>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Details>> => {
    const answers = new Map<string, Details>();
    const wanted = new Set(running);
    for (const [id, details] of known) {
      if (!wanted.has(id)) known.delete(id);
      else if (details.process !== undefined && isAlive(procFolder, details.process)) answers.set(id, details);
    }
    for (const [id, atMs] of failed) {
      if (!wanted.has(id) || Date.now() > atMs + PAUSE_MS) failed.delete(id);
      else answers.set(id, {});
    }
    const queue = running.filter((id) => !answers.has(id)).values();
    const limit = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
    let failures = 0;
    const worker = async () => {
      for (const id of queue) {
        try {
          const details = limit.aborted ? {} : await ask(id, limit);
          if (details === undefined) continue;
          if (!limit.aborted) known.set(id, details);
          answers.set(id, details);
        } catch {
          answers.set(id, {});
          if (signal.aborted) continue;
          failures += 1;
          failed.set(id, Date.now());
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    signal.throwIfAborted();
    if (failures > 0) log.warn('runtime.details', { runtime, failed: failures, running: running.length });
    return answers;
  };
}

/** The fields of a `Container` that come from its details; none for one that does not run. */
export function fieldsOf({ process, cgroup, handler, startedMs }: Details = {}) {
  const path = process?.cgroup ?? cgroup;
  return {
    ...(process && { pid: process.pid, startTicks: process.startTicks }),
    ...(path !== undefined && { cgroup: path }),
    ...(handler !== undefined && { handler }),
    ...(startedMs !== undefined && { startedMs }),
  };
}

/** `runsc` for containerd's name of a shim, `io.containerd.runsc.v1`; other names, such as `kata`, as they are. */
export const handlerOf = (runtime: string): string | undefined =>
  runtime.replace(/^io\.containerd\.(.+)\.v\d+$/, '$1') || undefined;
