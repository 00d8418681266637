import { setTimeout as wait } from 'node:timers/promises';

/** Waits for a state instead of a time: on a busy machine even a closed socket is noticed seconds later. */
export async function until(state: () => boolean, what: string, limitMs = 15_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!state()) {
    if (performance.now() > end) throw new Error(`never happened within ${limitMs} ms: ${what}`);
    await wait(20);
  }
}
