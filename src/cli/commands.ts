import type { Accepted, CommandLine } from '../config.ts';
import type { Terminal } from './terminal.ts';

/** One command of the command line. */
export interface Command extends Accepted {
  readonly name: string;
  /** What stands after the name. */
  readonly usage: string;
  /** What it does, as one line of the general help. */
  readonly summary: string;
  /** What a person must know beside it, for its own help. */
  readonly notes?: readonly string[];
  /** Answers with the exit code of the process. */
  run(line: CommandLine, terminal: Terminal): Promise<number>;
}

/** What a start that cannot work exits with: the caller has to change something first (sysexits.h). */
export const EX_CONFIG = 78;
