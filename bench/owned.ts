import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const owned = new Set<AsyncDisposable>();

/** Something that must not outlive the bench: it ends with its `await using`, or when the bench is interrupted. */
export function own<T extends object>(thing: T, end: () => Promise<unknown>): T & AsyncDisposable {
  const mine: T & AsyncDisposable = Object.assign(thing, {
    async [Symbol.asyncDispose]() {
      if (owned.delete(mine)) await end();
    },
  });
  owned.add(mine);
  return mine;
}

/** Ends everything that is still there, what was started last first. */
export async function endAll(): Promise<void> {
  for (const thing of [...owned].reverse()) await thing[Symbol.asyncDispose]();
}

/** A folder that is removed with all that is in it. */
export async function temporaryFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'kerntap-bench-'));
  return own({ path }, () => rm(path, { recursive: true, force: true }));
}
