import { createAccess } from '../../src/access/access.ts';
import { KerntapError } from '../../src/errors.ts';
import { createApp } from '../../src/http/app.ts';
import { type Listener, listen } from '../../src/http/listen.ts';
import { createV1 } from '../../src/http/v1.ts';
import { newRunId, parseRunId } from '../../src/ids.ts';
import { createLog, silentLog } from '../../src/log.ts';
import type {
  CallContext,
  CheckReport,
  NodeApi,
  NodeFacts,
  RunHeader,
  RunRecord,
  Section,
  TargetPage,
} from '../../src/trace/ports.ts';

const id = newRunId('node-7');

export const header: RunHeader = {
  id,
  name: 'before the change',
  node: 'node-7',
  owner: 'local',
  target: 'node',
  tier: 'node',
  source: 'begin { @[comm] = count(); }',
  printed: 'begin { @[comm] = count(); }\nself:signal:SIGUSR1 {}',
  timeoutMs: 1500,
  state: 'complete',
  reason: 'deadline',
  timing: { askedMs: 1_764_000_000_000, armedMs: 1_764_000_000_412, endedMs: 1_764_000_001_912 },
  probes: { asked: 1, attached: 1 },
  sandbox: 'degraded',
  versions: { kerntap: '0.1.0', bpftrace: '0.27.0', kernel: '6.18.0' },
  kept: true,
  expiresMs: 1_764_086_400_000,
  bytes: 4096,
};

const sections: readonly Section[] = [
  {
    name: 'events',
    type: 'events',
    columns: [{ name: 'value', type: 'text' }],
    rows: [
      ['18446744073709551615'],
      ['a\u0000\u202e"b'],
      [null],
      [{ record: [['pid', 1] as const] }],
      [[1, ['x', true]]],
    ],
    total: 5,
    notes: [],
  },
  {
    name: '@bytes',
    type: 'map',
    columns: [
      { name: 'key', type: 'text' },
      { name: 'value', type: 'number' },
    ],
    rows: [
      ['a', 18_446_744_073_709_551_615n],
      ['b', -9_223_372_036_854_775_808n],
      ['c', 7],
    ],
    total: 312,
    notes: ['spaces are missing from keys'],
  },
];

/** A record in which every optional part is there. */
export const record: RunRecord = {
  ...header,
  sections,
  account: {
    events: 5,
    lost: 'unknown',
    lostReported: 3,
    lostIsLowerBound: true,
    droppedByLimit: { events: 2, bytes: 300 },
    droppedMaps: 1,
    mapFull: [{ message: 'no room', helper: 'map_update_elem', code: -7, at: { line: 1, column: 9 }, count: 12 }],
    runtimeErrors: [{ message: 'divided by zero', count: 1 }],
    missed: 4,
    ambiguousKeys: 1,
    malformed: 0,
    repairedStrings: 2,
    redactions: { jwt: 1 },
    nodeCost: {
      timeNs: 12_345,
      runs: 67,
      cpuShare: 0.01,
      probes: [
        { name: 'p', runs: 67, timeNs: 12_345 },
        { runs: 0, timeNs: 0 },
      ],
    },
    coverage: {
      rules: [
        {
          point: 'tcp:tcp_retransmit_skb',
          at: { line: 2, column: 1 },
          class: 'S',
          owner: "the socket's cgroup",
          points: 1,
          notes: ['sockets in TIME_WAIT are not attributable'],
        },
        { point: 'begin', class: 'N', owner: 'nobody', points: 1, notes: [] },
      ],
      control: [
        { all: 9, inScope: 4 },
        { all: 1, inScope: 1 },
      ],
      start: { atMs: 1_764_000_000_412, containers: [{ name: 'main', id: 'c1' }], processes: 3, contextSwitches: 41 },
      end: { atMs: 1_764_000_001_912, containers: [], processes: 0, sockets: 0, ioUrings: 1 },
      notes: ['container main ended during the trace'],
    },
  },
  diagnostics: [
    {
      severity: 'warning',
      at: { line: 1, column: 2 },
      message: 'unknown field',
      remedy: 'did you mean pid',
      unknown: { kind: 'field', name: 'pidd', context: 'task_struct' },
    },
    { severity: 'hint', message: 'nothing else' },
  ],
};

/** A record in which every optional part is absent. */
export const bareRecord: RunRecord = (() => {
  const { name: _name, expiresMs: _expires, ...rest } = record;
  const { nodeCost: _cost, coverage: _coverage, ...account } = record.account;
  return {
    ...rest,
    state: 'running',
    reason: 'running',
    timing: { askedMs: header.timing.askedMs },
    probes: { asked: 1 },
    kept: false,
    account,
    sections: [],
    diagnostics: [],
  };
})();

export const facts: NodeFacts = {
  kernel: { release: '6.18.0', arch: 'x86_64', cpus: 2 },
  btf: true,
  tracefs: true,
  lockdown: 'none',
  landlock: false,
  cgroups: { layout: 'hybrid', path: '/sys/fs/cgroup/unified' },
  bpftrace: { version: '0.27.0', bundled: true },
  probeKinds: [
    { kind: 'tracepoint', available: true },
    { kind: 'kprobe', available: false, why: 'the kernel has none' },
  ],
  features: { helpers: ['probe_read'], maps: ['hash'], programs: ['tracepoint'] },
  checkedMs: 1_764_000_000_001,
  node: 'node-7',
  kerntap: '0.1.0',
  sandbox: { state: 'degraded', notes: [], missing: ['landlock: the kernel has none'] },
  limits: { max_timeout_s: 600 },
  slots: { taken: 1, total: 8 },
  store: { runs: 3, bytes: 4096, maxBytes: 8192 },
};

export interface SmallNode extends NodeApi {
  /** Every call as it came in, without its context. */
  readonly calls: unknown[][];
  /** Why calls that waited were given up. */
  readonly gone: unknown[];
  readonly callers: string[];
}

export const checked: CheckReport = {
  ok: false,
  attachPoints: ['begin'],
  diagnostics: [],
  tier: 'pod',
  rules: record.account.coverage?.rules ?? [],
  printed: 'begin\n{\n}',
};

export const targetPage: TargetPage = {
  targets: [
    {
      selector: 'shop/web-0',
      kind: 'pod',
      namespace: 'shop',
      name: 'web-0',
      node: 'dev-1',
      containers: [{ name: 'main', id: 'c1', state: 'running' }],
      owner: 'StatefulSet web',
      processes: 3,
      startedMs: Date.UTC(2026, 10, 22, 14, 2, 31),
      restarts: 2,
      lastState: 'OOMKilled (137)',
      notes: ['its runtime hides its system calls'],
    },
  ],
  total: 1,
  closest: ['shop/web-1'],
  sources: ['containerd'],
};

/**
 * A node that traces nothing. Its run ends at once; the program `hang` waits until its call is aborted, `slow` tells its
 * progress twice first, `full` has no slot and `broken` throws what no caller may read.
 */
export function createSmallNode(): SmallNode {
  const calls: unknown[][] = [];
  const gone: unknown[] = [];
  const callers: string[] = [];
  const note = (call: CallContext, ...what: unknown[]) => {
    callers.push(call.caller.name);
    calls.push(what);
  };
  const known = (text: string) => {
    if (!parseRunId(text)) throw new KerntapError('run.unknown', `There is no run ${JSON.stringify(text)}.`);
  };
  return {
    calls,
    gone,
    callers,
    async run(request, call) {
      note(call, 'run', request);
      if (request.program === 'full')
        throw new KerntapError('limit.runs', 'All 8 slots are taken.', { remedy: 'wait 7 s', retryAfterS: 7 });
      if (request.program === 'broken') throw new Error('secret path /root/x');
      if (request.program === 'slow') {
        call.progress({ message: 'attached', doneMs: 0, totalMs: 1500 });
        await new Promise((resolve) => setTimeout(resolve, 50));
        call.progress({ message: 'half', doneMs: 750, totalMs: 1500 });
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      if (request.program === 'hang') {
        await new Promise((resolve) => {
          if (call.signal.aborted) resolve(undefined);
          call.signal.addEventListener('abort', resolve);
        });
        gone.push(call.signal.reason);
      }
      return record;
    },
    async check(request, call) {
      note(call, 'check', request);
      return { ...checked, diagnostics: record.diagnostics };
    },
    async result(id, query, call) {
      note(call, 'result', id, query);
      known(id);
      return bareRecord;
    },
    async stop(id, call) {
      note(call, 'stop', id);
      known(id);
      return record;
    },
    async runs(filter, call) {
      note(call, 'runs', filter);
      return [header, bareRecord];
    },
    async change(id, change, call) {
      note(call, 'change', id, change);
      known(id);
      return header;
    },
    async targets(filter, call) {
      note(call, 'targets', filter);
      return targetPage;
    },
    async probes(query, call) {
      note(call, 'probes', query);
      return {
        probes: [
          { name: 'tracepoint:sched:sched_switch', fields: [{ name: 'prev_pid', type: 'pid_t' }] },
          { name: 'x' },
        ],
        struct: { name: 'sock', fields: [] },
        matches: 1,
        total: 2305,
        closest: [],
        notes: ['kprobe: the kernel has none'],
      };
    },
    async describe(refresh, call) {
      note(call, 'describe', refresh);
      return facts;
    },
  };
}

export interface ServedNode extends AsyncDisposable {
  readonly node: SmallNode;
  readonly url: string;
  readonly logged: readonly string[];
  readonly listener: Listener;
}

/** The product's app with the real /v1 over a small node, on a free port. */
export async function serveSmallNode(tokenFile?: string): Promise<ServedNode> {
  const node = createSmallNode();
  const logged: string[] = [];
  const log = createLog((line) => logged.push(line));
  const app = createApp({
    endpoint: { handle: async () => new Response(null, { status: 404 }) },
    v1: createV1({ node, log, version: '0.1.0' }),
    access: await createAccess({ tokenFile, log: silentLog }),
    authentication: tokenFile === undefined ? 'none' : 'bearer',
    allowedHosts: [],
    allowedOrigins: [],
    log,
  });
  const listener = await listen(app, { host: '127.0.0.1', port: 0 });
  return { node, url: listener.url, logged, listener, [Symbol.asyncDispose]: () => listener.close(1000) };
}
