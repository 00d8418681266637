import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createFunctionNames } from '../../src/bpftrace/functions.ts';
import { createKernel } from '../../src/bpftrace/kernel.ts';
import { parseTree } from '../../src/program/parse.ts';
import { printTree } from '../../src/program/print.ts';
import { scopeTree } from '../../src/program/scope/index.ts';
import type { AppliedRule, Scoped, ScopeKernel, ScopeTarget } from '../../src/program/scope/scope.ts';
import { bpftraceCommand } from './machine.ts';
import { temporaryFolder } from './tracer.ts';

const never = new AbortController().signal;

/** What this machine's kernel tells of itself; nothing here asks bpftrace. */
const kernel = createKernel({
  query: () => Promise.reject(new Error('bpftrace is not asked')),
  attach: () => Promise.reject(new Error('bpftrace is not asked')),
  version: '0.27.0',
  bundled: true,
  log: { info() {}, warn() {}, error() {} },
});

export interface ScopeOptions {
  readonly kernel?: Partial<ScopeKernel>;
  readonly unscoped?: 'refuse' | 'allow';
}

/** Scopes a program for this machine's kernel. */
export async function scopeHere(source: string, target: ScopeTarget, options: ScopeOptions = {}): Promise<Scoped> {
  const tree = parseTree(source);
  return scopeTree(tree, source, {
    target,
    kernel: { ...(await kernel.scoping(never)), ...options.kernel },
    points: await kernel.points(
      tree.probes.flatMap(({ points }) => points),
      never,
    ),
    unscoped: options.unscoped ?? 'refuse',
  });
}

export interface ScopedTrace extends AsyncDisposable {
  readonly text: string;
  readonly rules: readonly AppliedRule[];
  /** Ends the trace and gives its maps as bpftrace prints them: a value, or values by key. */
  maps(): Promise<Readonly<Record<string, unknown>>>;
}

/** Runs a scoped program and, beside it, `truth`, which is not scoped; resolves when all probes are attached. */
export async function traceScoped(
  source: string,
  target: ScopeTarget,
  { truth = '', command = [], ...options }: ScopeOptions & { truth?: string; command?: readonly string[] } = {},
): Promise<ScopedTrace> {
  const { tree, rules } = await scopeHere(source, target, options);
  const text = `${printTree(tree).text}\n${truth}\n`;
  const folder = temporaryFolder();
  const functions = join(folder.path, 'functions');
  createFunctionNames(functions).refresh();
  const [file = '', ...args] = [...command, ...bpftraceCommand, '-f', 'json', '--traceable-functions', functions, '-'];
  const child = spawn(file, args, { cwd: '/', env: { ...process.env, __BPFTRACE_NOTIFY_PROBES_ATTACHED: '1' } });
  const maps: Record<string, unknown> = {};
  let errors = '';
  child.stderr.on('data', (data: Buffer) => {
    errors += data;
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const armed = new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.includes('__BPFTRACE_NOTIFY_PROBES_ATTACHED')) resolve();
      if (!line.startsWith('{')) return;
      const message = JSON.parse(line) as { type: string; data: Record<string, unknown> };
      if (['map', 'hist', 'stats'].includes(message.type)) Object.assign(maps, message.data);
    });
    void ended.then(() => reject(new Error(`bpftrace ended: ${errors}\n${text}`)));
  });
  child.stdin.end(text);
  const end = async () => {
    if (child.pid !== undefined && child.exitCode === null) signal(innermost(child.pid), 'SIGINT');
    await ended;
  };
  const stop = async () => {
    await end();
    folder[Symbol.dispose]();
  };
  try {
    await armed;
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    text,
    rules,
    async maps() {
      await end();
      return maps;
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** The process at the end of a chain of only children: bpftrace itself, when a command started it. */
function innermost(pid: number): number {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  return child === undefined ? pid : innermost(Number(child));
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // ended by itself
  }
}

export interface Script extends AsyncDisposable {
  readonly pid: number;
  /** Lets it go on to its next `pause` and gives what it printed until then. */
  next(): Promise<string>;
}

/**
 * A process of Perl, waiting before its first statement. Each \`pause;\` in the script waits for \`next\`; the process lives
 * on behind the last one until it is disposed of.
 */
export async function startScript(script: string, command: readonly string[] = []): Promise<Script> {
  const source = `$| = 1; sub pause { print "\\0"; <STDIN> // exit } pause; ${script}; pause while 1`;
  const [file = '', ...args] = [...command, 'perl', '-e', source];
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let printed = '';
  let wake = () => {};
  child.stdout.on('data', (data: Buffer) => {
    printed += data;
    wake();
  });
  async function untilPause(): Promise<string> {
    while (!printed.includes('\0')) {
      await Promise.race([
        new Promise<void>((resolve) => {
          wake = resolve;
        }),
        ended.then(() => Promise.reject(new Error(`the script ended early: ${script}`))),
      ]);
    }
    const [before = '', ...rest] = printed.split('\0');
    printed = rest.join('\0');
    return before;
  }
  await untilPause();
  if (child.pid === undefined) throw new Error(`${file} could not be started`);
  return {
    pid: child.pid,
    next() {
      child.stdin.write('\n');
      return untilPause();
    },
    async [Symbol.asyncDispose]() {
      child.stdin.destroy();
      child.kill('SIGKILL');
      await ended;
    },
  };
}
