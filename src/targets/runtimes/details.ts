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
const LIMIT_MS = 5000;

/**
 * Makes the look-up of details: it asks once for each running container, and again when its first process is another.
 * `ask` answers undefined for a container that is gone, which is then not in the map. One for which `ask` fails is there
 * with nothing known, and is asked for again the next time.
 */
export function createDetails({ procFolder, runtime, log }: DetailsOptions) {
  const known = new Map<string, Details>();

  return async (
    running: readonly string[],
    ask: (id: string, signal: AbortSignal) => Promise<Details | undefined>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Details>> => {
    const answers = new Map<string, Details>();
    for (const [id, details] of known) {
      if (!running.includes(id)) known.delete(id);
      else if (details.process !== undefined && isAlive(procFolder, details.process)) answers.set(id, details);
    }
    const queue = running.filter((id) => !answers.has(id)).values();
    const limit = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
    let failed = 0;
    const worker = async () => {
      for (const id of queue) {
        try {
          limit.throwIfAborted();
          const details = await ask(id, limit);
          if (details === undefined) continue;
          known.set(id, details);
          answers.set(id, details);
        } catch {
          failed += 1;
          answers.set(id, {});
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    signal.throwIfAborted();
    if (failed > 0) log.warn('runtime.details', { runtime, failed, running: running.length });
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
