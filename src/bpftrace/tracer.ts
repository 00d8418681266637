import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { KerntapError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Diagnostic, PrintedProgram, Sink, Tracer } from '../trace/ports.ts';
import { type Collected, collect } from './command.ts';
import { parseDiagnostics } from './diagnostics.ts';
import { createFunctionNames } from './functions.ts';
import type { Installation } from './installation.ts';
import { type Chain, type Child, environmentOf, functionNames, launch, renderChain } from './launch.ts';
import { createOwnFolder } from './own-folder.ts';
import { requirePrivileges } from './privilege.ts';
import { findSandbox } from './sandbox.ts';
import { createSpare } from './spare.ts';
import { createStatsSwitch, restoreStats } from './stats.ts';
import { noFiles, type OpenFiles, openFiles, targetFilesOf } from './target-files.ts';
import { tooLarge, trace } from './trace.ts';
import { within } from './wait.ts';

export interface Bpftrace extends Tracer {
  readonly installation: Installation;
  /** Runs a short bpftrace command (`-l`, `-lv`, `--info`, …) in the same chain. Throws `trace.launch`. */
  query(args: readonly string[], signal: AbortSignal): Promise<Collected>;
  /** Attaches a program and ends it at once: how the kernel is asked what it can do. Takes no spare and starts none. */
  attach(program: PrintedProgram, signal: AbortSignal): Promise<{ attached: boolean; why?: string }>;
  /** Starts the warm spare, if there is none, before it is needed. */
  warm(): void;
  /** Ends the spare and waits until every run has ended in order; once `hurry` aborts, what is left is made to end. */
  close(hurry?: AbortSignal): Promise<void>;
}

export interface BpftraceOptions {
  readonly installation: Installation;
  /** For what must not outlive a boot; shared by all servers of the machine. */
  readonly runDir: string;
  readonly log: Log;
  readonly spare: boolean;
  /** Ends a run whose probes cost more than their share. */
  readonly watchdog: boolean;
  readonly maxTimeoutMs: number;
  /** How long the spare waits for its program. */
  readonly spareIdleMs?: number;
  /** How long bpftrace may take to attach all probes. */
  readonly armLimitMs?: number;
  /** How much CPU it may use for that. */
  readonly armCpuMs?: number;
  /** How often what dead servers left is removed. */
  readonly sweepEveryMs?: number;
}

const HURRIED_MS = 1_000;

/**
 * Makes the tracer of this machine: finds out what the launch chain can do here and removes what dead servers left, now
 * and as long as it is open. Throws `start.privilege`, `start.data`.
 */
export async function createBpftrace(options: BpftraceOptions): Promise<Bpftrace> {
  const { installation, log, watchdog, spareIdleMs = 300_000, armLimitMs = 60_000, armCpuMs = 20_000 } = options;
  requirePrivileges();
  const folder = createOwnFolder(options.runDir, (dead) => {
    restoreStats(dead);
    log.info('sweep.removed', { folder: dead });
  });
  const stats = createStatsSwitch(folder.path);
  const functionsFile = join(folder.path, 'functions');
  const functions = createFunctionNames(functionsFile);
  functions.refresh();
  const maxCpuS = Math.ceil((armCpuMs + options.maxTimeoutMs) / 1_000);
  const parts = { installation, functionsFile, maxCpuS };
  const sandbox = await findSandbox(parts, folder);
  const chain: Chain = { ...parts, parts: sandbox.parts };

  const children = new Set<Child>();
  const hurried = new AbortController();
  const start = async (program?: PrintedProgram): Promise<Child> => {
    using files = program ? openFiles(program) : noFiles;
    const child = await launch(chain, folder.makeRunFolder(), files);
    children.add(child);
    void child.ended.then(() => children.delete(child));
    if (hurried.signal.aborted) void endNow(child);
    return child;
  };
  const spare = createSpare({ launch: () => start(), idleMs: spareIdleMs, log });
  const live = new Set<Promise<unknown>>();
  let closed = false;
  const sweeper = setInterval(() => {
    try {
      folder.sweep();
    } catch (error) {
      log.error('sweep.failed', error);
    }
  }, options.sweepEveryMs ?? 60_000).unref();

  const warm = () => {
    if (options.spare) spare.prepare();
  };

  /** Refuses work when closed, and lets `close` wait for what was begun. */
  function tracked<T>(work: () => Promise<T>): Promise<T> {
    if (closed) return Promise.reject(new KerntapError('trace.unavailable', 'The tracer of this server is closed.'));
    const promise = (async () => {
      functions.refresh();
      return await work();
    })();
    live.add(promise);
    const done = () => live.delete(promise);
    promise.then(done, done);
    return promise;
  }

  async function command(
    args: readonly string[],
    input: string,
    files: OpenFiles,
    signal: AbortSignal,
  ): Promise<Collected> {
    const tmp = folder.makeRunFolder();
    const short = { ...chain, maxCpuS: Math.ceil(armCpuMs / 1_000) };
    const result = await collect(renderChain(short, tmp, [...functionNames(chain), ...args], files.paths), {
      env: environmentOf(tmp),
      input,
      stdio: files.stdio,
      signal: AbortSignal.any([signal, hurried.signal]),
    });
    rmSync(tmp, { recursive: true, force: true });
    if (result.exitCode === 126 || result.exitCode === 127) {
      throw launchFailed(`the launch chain ended with code ${result.exitCode}`, log);
    }
    return result;
  }

  return {
    installation,
    sandbox: sandbox.facts,
    warm,

    run: (program, limits, sink, signal) =>
      tracked(async () => {
        const how = { log, stats, watchdog, armLimitMs, armCpuMs };
        const onArmed: typeof sink = {
          push(event) {
            sink.push(event);
            // Not earlier, so that the two do not share the CPU; the answer goes first, since a spawn holds up everything.
            if (event.kind === 'armed') setTimeout(warm, 50).unref();
          },
        };
        const hasFiles = program.files.length > 0 || targetFilesOf(program.attachPoints).length > 0;
        const waiting = !hasFiles ? spare.take() : undefined; // a spare's sandbox is closed already
        if (waiting !== undefined) {
          const { end, launchFailure, diedAtOnce } = await trace(waiting, program, limits, onArmed, signal, how);
          const why = launchFailure ?? (diedAtOnce ? 'it died while it waited' : undefined);
          if (why === undefined || signal.aborted || hurried.signal.aborted) return end;
          log.warn('spare.broken', { pid: waiting.pid, why });
        }
        const { end, launchFailure } = await trace(await start(program), program, limits, onArmed, signal, how);
        if (launchFailure !== undefined) throw launchFailed(launchFailure, log);
        return end;
      }),

    attach: (program, signal) => tracked(() => attach(program, signal)),
    check: (program, signal) => tracked(() => check(program, signal)),
    query: (args, signal) => tracked(() => command(args, '', { ...noFiles, paths: targetFilesOf(args) }, signal)),

    async close(hurry) {
      closed = true;
      clearInterval(sweeper);
      const onHurry = () => {
        hurried.abort();
        for (const child of children) void endNow(child);
      };
      hurry?.addEventListener('abort', onHurry, { once: true });
      if (hurry?.aborted) onHurry();
      await Promise.allSettled([...live, spare.close()]);
      hurry?.removeEventListener('abort', onHurry);
      folder.remove();
    },
  };

  async function attach(program: PrintedProgram, signal: AbortSignal): Promise<{ attached: boolean; why?: string }> {
    const enough = new AbortController();
    const sink: Sink = { push: (event) => event.kind === 'armed' && enough.abort('stopped') };
    const limits = { timeoutMs: armLimitMs, maxEventBytes: 0, maxMapBytes: 0 };
    const either = AbortSignal.any([signal, enough.signal]);
    const how = { log, stats, watchdog, armLimitMs, armCpuMs };
    const { end } = await trace(await start(program), program, limits, sink, either, how);
    const why = end.diagnostics.find(({ severity }) => severity === 'error')?.message;
    return { attached: end.armedMs !== undefined, ...(why !== undefined && { why }) };
  }

  async function check(program: PrintedProgram, signal: AbortSignal): Promise<readonly Diagnostic[]> {
    using files = openFiles(program);
    const result = await command(['--mode', 'codegen', '-'], program.text, files, signal);
    const diagnostics = parseDiagnostics(result.stderr, result.stdout, program);
    if (result.exitCode === 0 || diagnostics.some(({ severity }) => severity === 'error')) return diagnostics;
    if (result.signal === 'SIGXCPU') return [tooLarge(armCpuMs), ...diagnostics];
    const code = result.exitCode === undefined ? 'without a code' : `with code ${result.exitCode}`;
    return [...diagnostics, { severity: 'error', message: `bpftrace ended ${code} and said no more.` }];
  }
}

/** For a child that has no time left to end in order. */
async function endNow(child: Child): Promise<void> {
  await child.kill('SIGTERM');
  if (!(await within(child.ended, HURRIED_MS))) await child.kill('SIGKILL');
}

function launchFailed(why: string, log: Log): KerntapError {
  log.warn('trace.launch', { why });
  return new KerntapError('trace.launch', `bpftrace was not run: ${why}.`);
}
