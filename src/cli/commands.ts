import type { Terminal } from './terminal.ts';

/** One command of the command line; it answers with the exit code of the process. */
export interface Command {
  readonly name: string;
  readonly usage: string;
  readonly summary: string;
  run(args: readonly string[], terminal: Terminal): Promise<number>;
}
