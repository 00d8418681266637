/** Two signals within this time are one: a terminal and npm both pass Ctrl-C on. */
const SAME_MS = 500;

/** Turns SIGINT and SIGTERM into an abort: the first stops, a later one, at least half a second after it, hurries. */
export function listenForStop(): { readonly stop: AbortSignal; readonly hurry: AbortSignal } & Disposable {
  const stop = new AbortController();
  const hurry = new AbortController();
  let firstMs: number | undefined;
  const onSignal = () => {
    const nowMs = performance.now();
    firstMs ??= nowMs;
    if (!stop.signal.aborted) stop.abort('drained');
    else if (nowMs - firstMs > SAME_MS) hurry.abort('drained');
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    stop: stop.signal,
    hurry: hurry.signal,
    [Symbol.dispose]() {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}

/** Resolves when `signal` is aborted. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
