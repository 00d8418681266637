import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findInstallation, type Installation } from '../../src/bpftrace/installation.ts';
import { type Bpftrace, type BpftraceOptions, createBpftrace } from '../../src/bpftrace/tracer.ts';
import type { Log, LogFields } from '../../src/log.ts';
import { toPrinted } from '../../src/program/instrument.ts';
import { parseExpression } from '../../src/program/parse.ts';
import { parseProgram } from '../../src/program/program.ts';
import type { AppliedRule } from '../../src/program/scope/scope.ts';
import type { Probe } from '../../src/program/tree.ts';
import type { PrintedEvent, PrintedProgram, StopCause, TraceEnd, TraceLimits } from '../../src/trace/ports.ts';
import { projectRoot } from './machine.ts';

/** A folder that goes with its scope. */
export function temporaryFolder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'kerntap-test-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export const installed = (): Promise<Installation> =>
  findInstallation({
    cacheDir: join(projectRoot, '.cache'),
    env: process.env,
    ...(process.env.KERNTAP_BPFTRACE ? { path: process.env.KERNTAP_BPFTRACE } : {}),
  });

export type LoggedEvent = LogFields & { readonly event: string };

/** A log that tests read. */
export function recordingLog(): { log: Log; events: LoggedEvent[] } {
  const events: LoggedEvent[] = [];
  const record = (event: string, fields: LogFields = {}) => void events.push({ ...fields, event });
  return {
    log: { info: record, warn: record, error: (event, error) => record(event, { error: String(error) }) },
    events,
  };
}

export interface TestTracer extends AsyncDisposable {
  readonly tracer: Bpftrace;
  readonly runDir: string;
  readonly events: LoggedEvent[];
  /** Signals of the stop sequence in order. */
  signals(): readonly unknown[];
  run(program: string | PrintedProgram, options?: RunOptions): Run;
}

export interface RunOptions extends Partial<TraceLimits> {
  readonly onEvent?: (event: PrintedEvent) => void;
}

export interface Run {
  readonly end: Promise<TraceEnd>;
  readonly events: PrintedEvent[];
  readonly armed: Promise<void>;
  stop(cause: StopCause): void;
}

/** A caller's program with our own parts, for the whole node, or scoped by a condition and then with control counts. */
export function printed(text: string, timeoutMs = 60_000, scope?: string): PrintedProgram {
  const program = parseProgram(text);
  const printing = { timeoutMs, nonce: randomUUID(), control: scope !== undefined };
  if (scope === undefined) return toPrinted(program, { tree: program.tree, rules: [] }, printing);
  const left = parseExpression(scope);
  const probes = program.tree.probes.map((probe): Probe => {
    const right = probe.predicate;
    return { ...probe, predicate: right ? { kind: 'binary', operator: '&&', left, right } : left };
  });
  const rules = program.attachPoints.map(
    (point): AppliedRule => ({ point, class: 'T', owner: 'the condition', points: 1, notes: [] }),
  );
  return toPrinted(program, { tree: { ...program.tree, probes }, rules }, printing);
}

/** A real tracer in a folder of its own, without a spare and without the watchdog unless asked for. */
export async function createTestTracer(options: Partial<BpftraceOptions> = {}): Promise<TestTracer> {
  const installation = options.installation ?? (await installed());
  const folder = temporaryFolder();
  const { log, events } = recordingLog();
  const runDir = options.runDir ?? join(folder.path, 'run');
  const preset = { log, spare: false, watchdog: false, maxTimeoutMs: 600_000 };
  const tracer = await createBpftrace({ ...preset, ...options, installation, runDir });
  return {
    tracer,
    runDir,
    events,
    signals: () => events.filter(({ event }) => event === 'trace.stop').map(({ signal }) => signal),
    run(program, { onEvent, ...limits } = {}) {
      const kept: PrintedEvent[] = [];
      const armed = Promise.withResolvers<void>();
      const abort = new AbortController();
      const end = tracer.run(
        typeof program === 'string' ? printed(program, limits.timeoutMs) : program,
        { timeoutMs: 60_000, maxEventBytes: 64_000_000, maxMapBytes: 4_000_000, ...limits },
        {
          push(event) {
            if (event.kind === 'armed') return armed.resolve();
            kept.push(event.event);
            onEvent?.(event.event);
          },
        },
        abort.signal,
      );
      return { end, events: kept, armed: armed.promise, stop: (cause) => abort.abort(cause) };
    },
    async [Symbol.asyncDispose]() {
      await tracer.close();
      folder[Symbol.dispose]();
    },
  };
}

/** Ids of all BPF programs in the kernel, by bpf(2): Debian always has perl. */
export function bpfProgramIds(): ReadonlySet<number> {
  const nextId = `my $id = 0; for (;;) { my $attr = pack("L30", $id); last if syscall(${process.arch === 'arm64' ? 280 : 321}, 11, $attr, 120) < 0;
    $id = (unpack("LL", $attr))[1]; print "$id\\n" }`;
  const text = execFileSync('perl', ['-e', nextId], { encoding: 'utf8' });
  return new Set(text.split('\n').filter(Boolean).map(Number));
}

/** Ids of the BPF programs that a process holds. */
export function programsOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/fdinfo`).flatMap((fd) => {
    const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
    const id = /^prog_id:\s*(\d+)/m.exec(info)?.[1];
    return info.includes('prog_type:') && id !== undefined ? [Number(id)] : [];
  });
}

/** True for a process that runs; a zombie is gone. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** A program that bpftrace compiles for many seconds. */
export const BOMB = 'begin { unroll(100) { unroll(100) { @a = 1; } } }';

/** Hundredths of a second of CPU that a process has used. */
export function cpuTicksOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

/** Children of a process that have bpftrace in their command line. */
export function bpftraceChildrenOf(parent: number = process.pid): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const status = readFileSync(`/proc/${pid}/status`, 'utf8');
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return new RegExp(`^PPid:\\s*${parent}$`, 'm').test(status) && /bpftrace\0/.test(command);
      } catch {
        return false;
      }
    })
    .map(Number);
}

export interface Workload extends AsyncDisposable {
  readonly pid: number;
  /** Makes the system calls and resolves when all are made; the process lives on. */
  work(): Promise<void>;
}

/** A process that makes `count` getppid calls when told to, and no other ones. */
export async function startGetppid(count: number): Promise<Workload> {
  const script = `$| = 1; print "ready\\n"; <STDIN>; getppid for 1..${count}; print "done\\n"; <STDIN>`;
  const child = spawn('perl', ['-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const line = () => new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
  await line();
  if (child.pid === undefined) throw new Error('perl could not be started');
  return {
    pid: child.pid,
    work() {
      const done = line();
      child.stdin.write('\n');
      return done;
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await ended;
    },
  };
}

/** A shell that runs from a file which only its own mount namespace has, at `path` there; `work` makes it run a command. */
export async function startHiddenShell(): Promise<Workload & { readonly path: string }> {
  const folder = temporaryFolder();
  const path = join(folder.path, 'shell');
  const script = `mount -t tmpfs none "$1" && cp /bin/bash "$1/shell" && echo ready && exec "$1/shell"`;
  const child = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', folder.path], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const line = () => new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
  await line();
  if (child.pid === undefined) throw new Error('the shell could not be started');
  return {
    pid: child.pid,
    path,
    work() {
      const done = line();
      child.stdin.write('a=1; b=$a; echo done\n');
      return done;
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await ended;
      folder[Symbol.dispose]();
    },
  };
}

/** The first cell of a map without keys. */
export const scalar = (end: TraceEnd, name: string): unknown =>
  end.maps.find((section) => section.name === name)?.rows[0]?.at(-1);
