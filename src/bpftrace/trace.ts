import { readFileSync } from 'node:fs';
import type { Log } from '../log.ts';
import type {
  Diagnostic,
  OutputCounts,
  PrintedProgram,
  Sink,
  StopCause,
  TraceEnd,
  TraceLimits,
} from '../trace/ports.ts';
import { type CostMeter, startCostMeter } from './cost.ts';
import { parseDiagnostics } from './diagnostics.ts';
import type { Child, ChildEnd } from './launch.ts';
import { callerPlaces } from './places.ts';
import { createOutputReader } from './reader.ts';
import type { StatsSwitch } from './stats.ts';
import { stop } from './stop.ts';
import { boundedText } from './text.ts';
import { CRASHES, type EndCause, verdictOf } from './verdict.ts';
import { within } from './wait.ts';

export interface TraceOptions {
  readonly log: Log;
  readonly stats: StatsSwitch;
  readonly watchdog: boolean;
  readonly armLimitMs: number;
  /** CPU that bpftrace may use until all probes are attached. */
  readonly armCpuMs: number;
}

export interface Traced {
  readonly end: TraceEnd;
  /** Why bpftrace never came to read the program, where that is known. */
  readonly launchFailure?: string;
  /** It died without a word as soon as it was given the program, so that was not what it died of. */
  readonly diedAtOnce: boolean;
}

// SIGTERM while probes are attached is obeyed only after all of them are.
const GIVE_UP_MS = 10_000;
// One that still compiles holds nothing that it should let go of in order.
const STOP_COMPILING_MS = 2_000;
const CPU_SAMPLE_MS = 250;
const AT_ONCE_MS = 250;
/** How long a program that nobody wants any more may still take to be attached, so that it ends in order. */
const UNWANTED_MS = 2_000;

/** Sends the program to a bpftrace that waits, and follows it to its end. */
export async function trace(
  child: Child,
  program: PrintedProgram,
  limits: TraceLimits,
  sink: Sink,
  signal: AbortSignal,
  { log, stats, watchdog, armLimitMs, armCpuMs }: TraceOptions,
): Promise<Traced> {
  const armed = Promise.withResolvers<void>();
  const endMarker = Promise.withResolvers<void>();
  const watched = Promise.withResolvers<EndCause>();
  const startedMs = Date.now();
  const started = performance.now();
  const nowMs = () => startedMs + Math.round(performance.now() - started); // the wall clock may be set while the trace runs
  let attached = 0;
  let armedMs: number | undefined;
  let arming: Arming = 'settled';
  let marked = false;
  let meter: CostMeter | undefined;

  const { mayEnd, ownFirst = 0 } = program;
  const stderr = boundedText(65_536, 16_384);
  const reader = createOutputReader({
    maxEventBytes: limits.maxEventBytes,
    maxMapBytes: limits.maxMapBytes,
    placeOf: callerPlaces(program),
    endMarker: program.endMarker,
    onAttached: (count) => {
      attached = Math.max(0, count - program.ownPoints);
    },
    onArmed: () => {
      if (arming !== 'settled' || armedMs !== undefined) return;
      armedMs = nowMs();
      sink.push({ kind: 'armed', atMs: armedMs, attached });
      armed.resolve();
    },
    onEndMarker: () => {
      marked = true;
      endMarker.resolve();
    },
    push: (event) => sink.push({ kind: 'printed', event }),
  });
  child.listen({
    stdout: (chunk) => {
      reader.write(chunk);
      meter?.sample(100); // what a program that ends by itself has cost shows only while it prints its maps
    },
    stderr: (chunk) => stderr.write(chunk),
  });

  child.send(program.text);
  const timed = stats.hold(); // costs up to 2 ms, in which bpftrace compiles already
  let cause: EndCause | undefined;
  let interrupted = false;
  try {
    const settled = Promise.race([armed.promise, child.ended]);
    arming = await settlesInTime(settled, child.pid, { armLimitMs, armCpuMs }, signal);
    if (arming !== 'settled') {
      log.warn('trace.not_armed', { pid: child.pid, why: arming });
      await child.kill('SIGTERM');
      const patienceMs = arming === 'too_large' ? STOP_COMPILING_MS : GIVE_UP_MS;
      if (!(await within(child.ended, patienceMs))) await child.kill('SIGKILL');
    } else if (armedMs !== undefined && child.pid !== undefined) {
      meter = startCostMeter(child.pid, {
        own: { first: ownFirst, last: program.ownPoints - ownFirst },
        timed,
        beforeSample: stats.keep,
        onOver: watchdog ? () => watched.resolve('watchdog') : undefined,
      });
      // One that calls exit() would be asked twice, and its answer would have no end marker.
      const endsAtOnce = program.endsAtOnce && !mayEnd;
      cause = endsAtOnce ? 'over' : await causeOfEnd(child, limits.timeoutMs, watched.promise, signal);
      if (cause !== undefined) {
        meter.sample(0);
        const printingEnded = program.gated === true && cause === 'deadline';
        const how = await stop(child, endMarker.promise, { probes: attached, printingEnded, log });
        interrupted = how === 'interrupt';
      }
    }
    await child.ended; // never rejects, so the meter is always ended below
  } finally {
    stats.release();
  }

  const ended = await child.ended;
  const lifeMs = performance.now() - started;
  const late = arming !== 'settled';
  const output = reader.end();
  const said = stderr.end();
  const { counters } = program;
  const inOrder = ended.exitCode !== undefined && armedMs !== undefined;
  const hidden = new Map([...(inOrder && counters ? counters.map(notHit) : []), ...output.hidden]);
  const seen = counters && inOrder ? seenOf(hidden, output.counts.printedOfSeen) : undefined;
  const counts: OutputCounts = {
    ...output.counts,
    // The total at the end also counts what was lost after the last message about it.
    lostReported: Math.max(output.counts.lostReported, lostInAll(said)),
    ...(seen !== undefined && { seen }),
  };
  const launchFailure = armedMs === undefined && !late ? launchFailureOf(ended, output.preamble + said) : undefined;
  const verdict = verdictOf({
    armed: armedMs !== undefined,
    late,
    cause,
    mayEnd,
    interrupted,
    endMarker: marked,
    child: ended,
    counts,
  });
  const diagnostics = parseDiagnostics(said, output.preamble, program);
  const crashed = verdict.reason === 'crashed' && armedMs === undefined && launchFailure === undefined;
  return {
    end: {
      ...verdict,
      ...(armedMs === undefined ? {} : { armedMs }),
      endedMs: nowMs(),
      attached,
      maps: output.maps,
      counts,
      hidden,
      diagnostics: [
        ...(arming === 'too_large' ? [tooLarge(armCpuMs)] : []),
        ...(crashed ? [lastWords(ended)] : []),
        ...diagnostics,
      ],
      ...meter?.end(),
    },
    ...(launchFailure === undefined ? {} : { launchFailure }),
    diedAtOnce: crashed && ended.signal !== undefined && diagnostics.length === 0 && lifeMs < AT_ONCE_MS,
  };
}

const SIMPLER = 'use fewer or smaller unroll blocks and fewer probes';

/** What is said of a program that was given up, since its compilation took more than `armCpuMs` of CPU. */
export const tooLarge = (armCpuMs: number): Diagnostic => ({
  severity: 'error',
  message: `the program is too large to compile within ${armCpuMs / 1_000} s of CPU`,
  remedy: SIMPLER,
});

function lastWords({ signal, exitCode }: ChildEnd): Diagnostic {
  const how = signal ?? `code ${exitCode}`;
  if (CRASHES.includes(signal)) {
    const message = `bpftrace crashed while compiling this program (${how})`;
    return { severity: 'error', message, remedy: SIMPLER };
  }
  return { severity: 'error', message: `bpftrace ended before its probes were attached (${how})` };
}

/** A map that never got a value is not printed at the end. */
const notHit = (name: string): [string, number] => [name, 0];

/** How often printing statements ran, by all their counters; undefined when those did not come out. */
function seenOf(hidden: ReadonlyMap<string, number>, printed: number): number | undefined {
  const seen = [...hidden].reduce((sum, [name, count]) => (name.startsWith('seen_') ? sum + count : sum), 0);
  return seen < printed ? undefined : seen;
}

const lostInAll = (stderr: string): number =>
  Number(/^WARNING: Total lost event count: (\d+)$/m.exec(stderr)?.[1] ?? 0);

/** How the wait for the probes ended; `too_large` when bpftrace used up the CPU that it may compile with. */
type Arming = 'settled' | 'late' | 'too_large';

async function settlesInTime(
  settled: Promise<unknown>,
  pid: number | undefined,
  { armLimitMs, armCpuMs }: { armLimitMs: number; armCpuMs: number },
  signal: AbortSignal,
): Promise<Arming> {
  const inTime = async (ms: number): Promise<Arming> => ((await within(settled, ms)) ? 'settled' : 'late');
  const unwanted = Promise.withResolvers<void>();
  const spent = Promise.withResolvers<Arming>();
  const onAbort = () => unwanted.resolve();
  const meter = setInterval(() => {
    if (pid !== undefined && cpuMsOf(pid) > armCpuMs) spent.resolve('too_large');
  }, CPU_SAMPLE_MS);
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([inTime(armLimitMs), unwanted.promise.then(() => inTime(UNWANTED_MS)), spent.promise]);
  } finally {
    clearInterval(meter);
    signal.removeEventListener('abort', onAbort);
  }
}

/** Waits until there is a reason to end the run; undefined when it ends by itself. */
async function causeOfEnd(
  child: Child,
  timeoutMs: number,
  watched: Promise<EndCause>,
  signal: AbortSignal,
): Promise<EndCause | undefined> {
  const asked = Promise.withResolvers<EndCause>();
  const onAbort = () => asked.resolve(stopCauseOf(signal.reason));
  const timer = setTimeout(asked.resolve, timeoutMs, 'deadline');
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([child.ended.then(() => undefined), watched, asked.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

const STOP_CAUSES: readonly StopCause[] = ['stopped', 'cancelled', 'client_gone', 'drained', 'revoked'];

/** What an abort says of itself; anything that is no cause of ours is a plain cancellation. */
export const stopCauseOf = (reason: unknown): StopCause => STOP_CAUSES.find((cause) => cause === reason) ?? 'cancelled';

/** Names the trouble of a process that ended before it read its program; undefined when the program may have been it. */
function launchFailureOf({ exitCode, started }: ChildEnd, said: string): string | undefined {
  if (!started) return 'it could not be started';
  if (exitCode === 126 || exitCode === 127) return `the launch chain ended with code ${exitCode}`;
  if (exitCode === 2 && said.includes('unable to create')) return 'it could not write its temporary files';
  return undefined;
}

const CLOCK_TICK_MS = 10; // USER_HZ, by which the kernel counts for programs, is 100 on x86 and arm

/** CPU that a process has used with all its threads; 0 for one that is gone. (Fields 14 and 15 of proc_pid_stat(5).) */
function cpuMsOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * CLOCK_TICK_MS;
  } catch {
    return 0;
  }
}
