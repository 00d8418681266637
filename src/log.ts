/** Values that may stand in a log line: ids, counts and our own words, never traced text, tokens or program text. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Log {
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  /** `error` is anything that was caught: its stack goes to the log and nowhere else. */
  error(event: string, error: unknown, fields?: LogFields): void;
}

/** Writes one JSON line an event by `write`, usually to standard error. */
export function createLog(write: (line: string) => void): Log {
  const line = (level: string, event: string, fields: LogFields = {}) =>
    write(`${JSON.stringify({ time: new Date().toISOString(), level, event, ...fields })}\n`);
  return {
    info: (event, fields) => line('info', event, fields),
    warn: (event, fields) => line('warn', event, fields),
    error: (event, error, fields) =>
      line('error', event, {
        ...fields,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      }),
  };
}

/** A log that keeps nothing, for tests and for commands that answer on the terminal. */
export const silentLog: Log = createLog(() => {});
