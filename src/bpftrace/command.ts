import { execa } from 'execa';
import type { GivenDescriptor } from './target-files.ts';

/** A program with its first arguments, ready to be started without a shell. */
export type Command = readonly string[];

export interface Collected {
  readonly stdout: string;
  readonly stderr: string;
  /** Undefined when the program could not be started, was ended by a signal or took too long. */
  readonly exitCode: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
}

/** Runs a short command to its end and keeps at most 32 MB of each of its streams. Never throws. */
export async function collect(
  command: Command,
  options: {
    env: Readonly<Record<string, string>>;
    input?: string;
    /** What it is given from descriptor 3 on. */
    stdio?: readonly GivenDescriptor[];
    signal?: AbortSignal;
    timeoutMs?: number;
  },
): Promise<Collected> {
  const [file = '', ...args] = command;
  const result = await execa(file, args, {
    env: options.env,
    extendEnv: false,
    cwd: '/',
    input: options.input ?? '',
    stdio: ['pipe', 'pipe', 'pipe', ...(options.stdio ?? [])],
    reject: false,
    detached: true,
    cleanup: false,
    killSignal: 'SIGKILL',
    maxBuffer: 32_000_000,
    stripFinalNewline: false,
    timeout: options.timeoutMs ?? 60_000,
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  });
  return { stdout: result.stdout ?? '', stderr: result.stderr ?? '', exitCode: result.exitCode, signal: result.signal };
}
