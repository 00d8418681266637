import { KerntapError } from '../errors.ts';
import type { Log } from '../log.ts';
import { accountOf, emptyAccount } from './account.ts';
import { type CoverageWatch, watchCoverage } from './coverage.ts';
import { explain, impossibleKinds, type NearestFunctions } from './explain.ts';
import type {
  CallContext,
  CheckReport,
  CheckRequest,
  Diagnostic,
  NewRun,
  OpenRun,
  RunFinal,
  RunHeader,
  RunRequest,
  RunStore,
  Section,
  Sink,
  StopCause,
  TraceEnd,
  TraceLimits,
  Tracer,
} from './ports.ts';
import { type PrepareDependencies, type Prepared, prepare } from './prepare.ts';
import { createRedactor, type RedactionRule } from './redact.ts';
import type { Slot, Slots } from './slots.ts';
import { withFileNames } from './user-files.ts';

/** All that a run needs; made once by `compose.ts`. */
export interface RunDependencies extends PrepareDependencies {
  readonly nearestFunctions: NearestFunctions;
  readonly slots: Slots;
  readonly store: RunStore;
  readonly tracer: Tracer;
  readonly log: Log;
  readonly limits: PrepareDependencies['limits'] & Omit<TraceLimits, 'timeoutMs'>;
  readonly redactions: readonly RedactionRule[];
  readonly node: string;
  readonly versions: NewRun['versions'];
  /** A clock in milliseconds that never goes back. */
  readonly now: () => number;
  /** Told of each run that ended, for the metrics. */
  readonly onEnd: (header: RunHeader, final: RunFinal) => void;
}

/** A run of this process that is not over yet. */
export interface LiveRun {
  readonly header: RunHeader;
  /** Resolves when the probes are attached or the run is over. */
  readonly settled: Promise<void>;
  /** Resolves when the verdict is stored and the process reaped; rejects with what the tracer threw. */
  readonly done: Promise<void>;
  /** When the probes were attached, by `now`. */
  readonly armedMs: () => number | undefined;
  readonly events: () => number;
  stop(cause: StopCause): void;
}

/**
 * From a caller's text to a live run: cheap and pure steps first, then the rights, then the slot, then the spawn. A call
 * that waits for its slot when `closing` is aborted throws the reason.
 */
export async function startRun(
  request: RunRequest,
  call: CallContext,
  deps: RunDependencies,
  closing: AbortSignal,
): Promise<LiveRun> {
  const prepared = await prepare(request, call, deps);
  const wanted = AbortSignal.any([call.signal, closing]);
  const slot = await deps.slots.take(call.caller, request.timeoutMs + GRACE_MS, wanted);
  const open = await deps.store.open(headerOf(prepared, request, call, deps)).catch((error: unknown) => {
    slot[Symbol.dispose]();
    throw error;
  });
  return trace(prepared, request.timeoutMs, open, slot, deps);
}

/** The longest that a run can last beyond its timeout: arming, the stop sequence, the slow detach. */
const GRACE_MS = 35_000;

function headerOf(
  { program, target, tier, printed }: Prepared,
  { timeoutMs }: RunRequest,
  { caller }: CallContext,
  { node, versions, tracer }: RunDependencies,
): NewRun {
  return {
    node,
    owner: caller.name,
    target: target.name,
    tier,
    source: program.source,
    printed: printed.text,
    timeoutMs,
    probes: { asked: program.attachPoints.length },
    sandbox: tracer.sandbox.state,
    versions,
  };
}

function trace(prepared: Prepared, timeoutMs: number, open: OpenRun, slot: Slot, deps: RunDependencies): LiveRun {
  const { target, rules, printed } = prepared;
  const { log, now, limits } = deps;
  const stop = new AbortController();
  const settled = Promise.withResolvers<void>();
  const redactor = createRedactor({
    rules: deps.redactions,
    hideAddresses: prepared.tier === 'pod',
    ...(prepared.shown.length > 0 && { rename: (text) => withFileNames(text, prepared.shown) }),
  });
  const coverage = target.scope && watchCoverage(deps.targets, target, rules);
  const startedMs = now();
  let armedMs: number | undefined;
  let events = 0;

  const sink: Sink = {
    push(event) {
      switch (event.kind) {
        case 'armed':
          armedMs = now();
          coverage?.start();
          slot.until(armedMs + timeoutMs);
          open.armed(event);
          settled.resolve();
          break;
        case 'printed':
          events++;
          open.push({ ...event.event, data: redactor.redact(event.event.data) });
          break;
      }
    },
  };

  async function toTheEnd(): Promise<void> {
    using _slot = slot;
    const signal = AbortSignal.any([stop.signal, open.stopAsked]);
    try {
      const end = await deps.tracer.run(printed, { timeoutMs, ...limits }, sink, signal);
      const soon = AbortSignal.timeout(5_000);
      const diagnostics = await explain(end.diagnostics, deps.kernel, deps.nearestFunctions, soon);
      const impossible = end.state === 'failed' ? await impossibleKinds(printed.attachPoints, deps.kernel, soon) : [];
      const final = finalOf({ ...end, diagnostics: led(impossible, diagnostics).map(namingFiles(prepared)) }, redactor);
      await close(await withCoverage(final, coverage, end));
    } catch (error) {
      const endedMs = open.header.timing.askedMs + Math.round(now() - startedMs);
      await close(neverRan(endedMs)).catch((inner: unknown) => log.error('run.unfinished', inner, { runId: open.id }));
      throw error;
    }
  }

  async function close(final: RunFinal): Promise<void> {
    await open.finish(final);
    deps.onEnd(open.header, final);
    log.info('run.ended', { runId: open.id, state: final.state, reason: final.reason, events: final.account.events });
  }

  log.info('run.started', { runId: open.id, owner: open.header.owner, timeoutMs, probes: printed.attachPoints.length });
  const done = toTheEnd();
  // Whoever waits reads the error, also one who waits for the attachment: `done` rejects first. A run that nobody waits
  // for is in the log.
  done.catch(() => {}).finally(settled.resolve);
  return {
    header: open.header,
    settled: settled.promise,
    done,
    armedMs: () => armedMs,
    events: () => events,
    stop: (cause) => stop.abort(cause),
  };
}

function finalOf(end: TraceEnd, redactor: ReturnType<typeof createRedactor>): RunFinal {
  const redactSection = (section: Section): Section => ({
    ...section,
    rows: section.rows.map((row) => row.map(redactor.redact)),
  });
  return {
    state: end.state,
    reason: end.reason,
    timing: { ...(end.armedMs !== undefined && { armedMs: end.armedMs }), endedMs: end.endedMs },
    attached: end.attached,
    sections: end.maps.map(redactSection),
    account: accountOf(end, redactor.counts),
    diagnostics: end.diagnostics,
  };
}

const withCoverage = async (
  final: RunFinal,
  coverage: CoverageWatch | undefined,
  { armedMs, hidden }: TraceEnd,
): Promise<RunFinal> =>
  coverage === undefined || armedMs === undefined
    ? final
    : { ...final, account: { ...final.account, coverage: await coverage.end(hidden) } };

const neverRan = (endedMs: number): RunFinal => ({
  state: 'failed',
  reason: 'crashed',
  timing: { endedMs },
  attached: 0,
  sections: [],
  account: emptyAccount,
  diagnostics: [],
});

/** Asks bpftrace whether it accepts the program; nothing is loaded or attached, and no run is kept. */
export async function checkProgram(
  request: CheckRequest,
  call: CallContext,
  deps: RunDependencies,
  closing: AbortSignal,
): Promise<CheckReport> {
  const { program, tier, rules, printed, shown } = await prepare(
    { ...request, timeoutMs: CHECKED_TIMEOUT_MS },
    call,
    deps,
  );
  using _slot = await deps.slots.take(call.caller, CHECK_MS, AbortSignal.any([call.signal, closing]));
  const said = await deps.tracer.check(printed, AbortSignal.any([call.signal, AbortSignal.timeout(CHECK_MS)]));
  const impossible = await impossibleKinds(program.attachPoints, deps.kernel, call.signal);
  const explained = await explain(said, deps.kernel, deps.nearestFunctions, call.signal);
  const diagnostics = led(impossible, explained).map(namingFiles({ shown }));
  return {
    ok: diagnostics.every(({ severity }) => severity !== 'error'),
    attachPoints: program.attachPoints,
    diagnostics,
    tier,
    rules,
    printed: printed.text,
  };
}

const namingFiles =
  ({ shown }: Pick<Prepared, 'shown'>) =>
  ({ message, remedy, ...same }: Diagnostic): Diagnostic => ({
    ...same,
    message: withFileNames(message, shown),
    ...(remedy !== undefined && { remedy: withFileNames(remedy, shown) }),
  });

/** The time limit stands in the program. */
const CHECKED_TIMEOUT_MS = 10_000;

/** What the node cannot attach explains what bpftrace then says without a place. */
const led = (impossible: readonly Diagnostic[], said: readonly Diagnostic[]): readonly Diagnostic[] =>
  impossible.length === 0 ? said : [...impossible, ...said.filter(({ at }) => at !== undefined)];

const CHECK_MS = 60_000;

/** What a caller is told when the server is stopping. */
export const draining = (): KerntapError =>
  new KerntapError('server.draining', 'The server is stopping and starts no new run.', { retryAfterS: 30 });
