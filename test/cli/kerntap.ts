import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../helpers/machine.ts';
import { plainEnv } from '../helpers/server.ts';
import { until } from '../helpers/until.ts';

export const MAIN = join(projectRoot, 'src/main.ts');

export interface Output {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Invocation {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string;
  /** Another user, which only root can become. */
  readonly uid?: number;
}

/** Runs `kerntap` with `args` to its end. */
export const kerntap = (args: readonly string[], invocation: Invocation = {}): Promise<Output> =>
  toTheEnd([process.execPath, MAIN, ...args], invocation);

/** Runs any command to its end, in the environment of a person who has set nothing for kerntap. */
export async function toTheEnd(
  [file = '', ...args]: readonly string[],
  { env, cwd, input, uid }: Invocation = {},
): Promise<Output> {
  const child = spawn(file, args, {
    env: { ...plainEnv(), ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(cwd !== undefined && { cwd }),
    ...(uid !== undefined && { uid, gid: uid }),
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', () => {}).end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/** Disposing of it closes the terminal. */
export interface TerminalSession extends AsyncDisposable {
  /** All that was on the screen so far, with its control sequences. */
  shown(): string;
  /** Presses Ctrl-C. */
  interrupt(): void;
  /** The exit code. */
  readonly ended: Promise<number | null>;
}

/** Runs `kerntap` in a terminal of 80 columns and 24 rows. */
export function inTerminal(args: readonly string[], env: Readonly<Record<string, string>> = {}): TerminalSession {
  const words = [process.execPath, MAIN, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  // `script` gives the command a terminal of its own, and passes on what is typed and what it exits with.
  const child = spawn('script', ['-qefc', `stty cols 80 rows 24; exec ${words.join(' ')}`, '/dev/null'], {
    env: { ...plainEnv(), TERM: 'xterm', SHELL: '/bin/sh', ...env },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  let shown = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
  });
  const ended = once(child, 'close').then(([code]) => code as number | null);
  return {
    shown: () => shown,
    interrupt: () => void child.stdin.write('\x03'),
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** What is left of a kerntap with this pid, which is gone: processes with its folder in their environment. */
export async function nothingLeftOf(pid: number): Promise<void> {
  const left = () =>
    readdirSync('/proc').filter((name) => /^\d+$/.test(name) && environmentOf(name).includes(`/kerntap/${pid}-`));
  await until(() => left().length === 0, `the processes of ${pid} are gone`);
}

function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch {
    return '';
  }
}
