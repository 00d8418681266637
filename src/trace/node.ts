import { KerntapError } from '../errors.ts';
import { parseRunId, type RunId } from '../ids.ts';
import { traceRight, visibleTo } from './policy.ts';
import type {
  CallContext,
  NodeApi,
  NodeFacts,
  ProbeQuery,
  ResultQuery,
  RunHeader,
  RunRecord,
  RunRequest,
  StopCause,
} from './ports.ts';
import { checkProgram, draining, type LiveRun, type RunDependencies, startRun } from './run.ts';

/** The longest that one call waits; clients give up after a minute, some hosts after 30 s. */
export const MAX_WAIT_MS = 25_000;

/** How often a waiting call tells how far its run is, and asks for a run of another server on the same folder. */
const TICK_MS = 500;

export interface NodeDependencies extends RunDependencies {
  /** Figures for `bpf_info`, such as the longest timeout. */
  readonly shownLimits: NodeFacts['limits'];
}

export interface Node extends NodeApi {
  /** How many runs of this process are not over. */
  readonly running: number;
  readonly draining: boolean;
  /** Refuses new runs, stops those that run and resolves when each has its verdict, at the latest after `graceMs`. */
  drain(graceMs: number): Promise<void>;
}

/** The `NodeApi` of this machine. */
export function createNode(deps: NodeDependencies): Node {
  const { access, kernel, slots, store, targets, tracer, now } = deps;
  const live = new Map<RunId, LiveRun>();
  const closing = new AbortController();

  async function start(request: RunRequest, call: CallContext): Promise<LiveRun> {
    closing.signal.throwIfAborted();
    const run = await startRun(request, call, deps, closing.signal);
    live.set(run.header.id, run);
    run.done.catch(() => {}).finally(() => live.delete(run.header.id));
    if (closing.signal.aborted) run.stop('drained'); // it passed the gate just before it closed
    return run;
  }

  /** The header of a run that this caller may read. */
  async function readable(text: string, call: CallContext): Promise<RunHeader> {
    const parsed = parseRunId(text);
    const shown = JSON.stringify(text.slice(0, 120));
    if (!parsed) throw new KerntapError('run.unknown', `There is no run ${shown}.`);
    if (parsed.node !== deps.node)
      throw new KerntapError(
        'run.unknown',
        `The run ${shown} belongs to the node ${parsed.node}, this is ${deps.node}.`,
      );
    const header = await store.header(parsed.id);
    if (header) {
      await access.allow(call.caller, { act: 'read', run: header });
      return header;
    }
    if (await store.expired(parsed.id)) throw new KerntapError('run.expired', `The run ${shown} is expired.`);
    throw new KerntapError('run.unknown', `There is no run ${shown}.`);
  }

  async function recordOf(id: RunId, query: Omit<ResultQuery, 'waitMs'>): Promise<RunRecord> {
    const record = await store.get(id, query);
    if (!record) throw new KerntapError('run.unknown', `There is no run ${id}: it was deleted meanwhile.`);
    return record;
  }

  /** Waits until a run of another server on this folder is over, by looking, at most `ms`. */
  async function waitForForeign(id: RunId, ms: number, signal: AbortSignal): Promise<void> {
    const until = now() + ms;
    while (!signal.aborted && now() < until) {
      const header = await store.header(id);
      if (header?.state !== 'running') return;
      await pause(TICK_MS, signal);
    }
  }

  return {
    get running() {
      return live.size;
    },
    get draining() {
      return closing.signal.aborted;
    },

    async run(request, call) {
      const askedMs = now();
      const run = await start(request, call);
      const first = { offset: 0, limit: request.rows };
      const toTheEnd = request.waitMs > 0 && request.timeoutMs <= MAX_WAIT_MS;
      const waitFor = toTheEnd ? run.done : Promise.race([run.settled, run.done]);
      const leftMs = (toTheEnd ? request.waitMs : MAX_WAIT_MS) - (now() - askedMs); // a turn in the queue counts
      await waitWhile(run, waitFor, Math.max(0, leftMs), call, now, 'stops');
      return recordOf(run.header.id, first);
    },

    async check(request, call) {
      closing.signal.throwIfAborted();
      return checkProgram(request, call, deps, closing.signal);
    },

    async result(id, { waitMs, ...query }, call) {
      const header = await readable(id, call);
      if (header.state === 'running' && waitMs > 0) {
        const run = live.get(header.id);
        const ms = Math.min(waitMs, MAX_WAIT_MS);
        if (run) await waitWhile(run, run.done, ms, call, now, 'leaves');
        else await waitForForeign(header.id, ms, call.signal);
      }
      return recordOf(header.id, query);
    },

    async stop(id, call) {
      const header = await readable(id, call);
      await access.allow(call.caller, { act: 'change', run: header });
      const run = live.get(header.id);
      if (run) {
        run.stop('stopped');
        await run.done.catch(() => {});
      } else if (header.state === 'running') {
        await store.askStop(header.id);
        await waitForForeign(header.id, MAX_WAIT_MS, call.signal);
      }
      return recordOf(header.id, { offset: 0, limit: 10 });
    },

    async runs(filter, call) {
      const headers = await store.list(filter);
      const allowed = await Promise.all(
        headers.map((run) =>
          access.allow(call.caller, { act: 'read', run }).then(
            () => true,
            () => false,
          ),
        ),
      );
      return headers.filter((_header, index) => allowed[index]);
    },

    async change(id, change, call) {
      const header = await readable(id, call);
      await access.allow(call.caller, { act: 'change', run: header });
      if (change.action === 'delete' && header.state === 'running')
        throw new KerntapError('run.running', `The run ${header.id} is not over.`);
      const changed = await store.change(header.id, change);
      if (!changed) throw new KerntapError('run.unknown', `There is no run ${header.id}: it was deleted meanwhile.`);
      return changed;
    },

    targets: (filter, call) => targets.list(filter, call.signal, visibleTo(call.caller)),

    async probes(query, call) {
      if (query.target === undefined) {
        if (namesFile(query)) await access.allow(call.caller, { act: 'trace', tier: 'node', because: FILES });
        return kernel.probes(query, call.signal);
      }
      const target = await targets.resolve(query.target, call.signal, visibleTo(call.caller));
      await access.allow(call.caller, traceRight(target));
      return kernel.probes(query, call.signal);
    },

    async describe(refresh, call) {
      return {
        ...(await kernel.facts(refresh, call.signal)),
        node: deps.node,
        kerntap: deps.versions.kerntap,
        sandbox: tracer.sandbox,
        limits: deps.shownLimits,
        slots: { taken: slots.taken, total: slots.total },
        store: store.usage(),
      };
    },

    async drain(graceMs) {
      closing.abort(draining());
      for (const run of live.values()) run.stop('drained');
      const ended = new AbortController();
      const all = Promise.allSettled([...live.values()].map((run) => run.done));
      await Promise.race([all, pause(graceMs, ended.signal)]);
      ended.abort(); // a timer that is left would keep the process alive
    },
  };
}

/** Whether it asks for the probes in a file, such as `uprobe:/usr/bin/app:*`. */
const namesFile = ({ filter }: Pick<ProbeQuery, 'filter'>): boolean => /^[^:]*:\//.test(filter.trim());

const FILES = { what: 'the files of the node', remedy: 'name a target, to look into its files' };

/**
 * Waits for `goal`, at most `ms`, telling progress meanwhile. When the call is aborted the run is stopped, and its end
 * awaited so that what it collected is stored (`stops`), or it goes on without the call (`leaves`).
 */
async function waitWhile(
  run: LiveRun,
  goal: Promise<void>,
  ms: number,
  call: CallContext,
  now: () => number,
  onAbort: 'stops' | 'leaves',
): Promise<void> {
  const waiting = new AbortController();
  const limit = AbortSignal.any([call.signal, waiting.signal, AbortSignal.timeout(Math.ceil(ms))]);
  const told = tellProgress(run, limit, call, now);
  try {
    await Promise.race([goal, pause(ms, limit)]);
    if (call.signal.aborted && onAbort === 'stops') {
      run.stop(causeOf(call.signal));
      await run.done;
    }
  } finally {
    waiting.abort();
    await told;
  }
}

const causeOf = (signal: AbortSignal): StopCause => (signal.reason === 'client_gone' ? 'client_gone' : 'cancelled');

async function tellProgress(run: LiveRun, signal: AbortSignal, call: CallContext, now: () => number): Promise<void> {
  const { timeoutMs, probes } = run.header;
  await Promise.race([run.settled, pause(MAX_WAIT_MS, signal)]);
  while (!signal.aborted) {
    const armedMs = run.armedMs();
    if (armedMs === undefined) return;
    const doneMs = Math.min(now() - armedMs, timeoutMs);
    const points = `${probes.asked} attach point${probes.asked === 1 ? '' : 's'}`;
    const message =
      doneMs < timeoutMs
        ? `${points} attached, ${Math.round(doneMs / 1000)} of ${timeoutMs / 1000} s, ${run.events()} events`
        : `${points} attached, time is over, collecting`;
    call.progress({ message, doneMs, totalMs: timeoutMs });
    await pause(TICK_MS, signal);
  }
}

/** Resolves after `ms`, or as soon as `signal` is aborted. */
const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
