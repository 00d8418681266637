/** Two signals within this time are one: a terminal and npm both pass Ctrl-C on. */
const SAME_MS = 500;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Turns SIGINT, SIGTERM and the end of the terminal into an abort: the first stops, the next hurries, a third exits. */
export function listenForStop(): { readonly stop: AbortSignal; readonly hurry: AbortSignal } & Disposable {
  const stop = new AbortController();
  const hurry = new AbortController();
  let lastMs = Number.NEGATIVE_INFINITY;
  const onSignal = () => {
    const nowMs = performance.now();
    if (nowMs - lastMs < SAME_MS) return;
    lastMs = nowMs;
    if (!stop.signal.aborted) stop.abort('drained');
    else if (!hurry.signal.aborted) hurry.abort('drained');
    else process.exit(1);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return {
    stop: stop.signal,
    hurry: hurry.signal,
    [Symbol.dispose]() {
      for (const signal of SIGNALS) process.off(signal, onSignal);
    },
  };
}

/** Resolves when `signal` is aborted. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
