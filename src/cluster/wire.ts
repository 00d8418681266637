import * as z from 'zod';
import { KerntapError } from '../errors.ts';
import type { RunId } from '../ids.ts';
import type {
  Account,
  AppliedRule,
  CheckReport,
  Column,
  Coverage,
  CoverageAccount,
  NodeFacts,
  ProbeQuery,
  Progress,
  ResultQuery,
  RunHeader,
  RunRecord,
  RunRequest,
  Section,
  TargetPage,
} from '../trace/ports.ts';
import { toWire, type Value } from '../trace/value.ts';

/*
 * The types of /v1, the NodeApi over HTTP: names in snake_case, durations in seconds, moments as ISO 8601 in UTC, an
 * integer beyond ±2^53 as decimal text. What comes in is strict, what goes out may grow.
 */

const MAX_ROWS = 10_000;
const seconds = (ms: number): number => ms / 1000;
const millis = (s: number): number => Math.round(s * 1000);
const moment = (ms: number): string => new Date(ms).toISOString();

const Count = z.int().min(0);
const Moment = z.iso.datetime({ precision: 3 });
const Text = z.string().max(1024);
const Target = Text.meta({ description: 'such as shop/web-0 or container:ID; absent or "node": this node, unscoped' });
const Unscoped = z
  .enum(['refuse', 'allow'])
  .meta({ description: 'what becomes of probes that cannot be scoped to the target; `refuse` when absent' });
const Program = z.string().meta({ description: 'a bpftrace program, at most 16,384 bytes of UTF-8' });

// -------------------------------------------------------------------------------------------------------- requests

export const RunBody = z
  .strictObject({
    program: Program,
    target: z.exactOptional(Target),
    unscoped: z.exactOptional(Unscoped),
    control: z.exactOptional(z.boolean().meta({ description: 'count the events of others, too' })),
    timeout: z.number().min(1).max(600).default(10).meta({ description: 'seconds from the moment of attachment' }),
    wait: z
      .number()
      .min(0)
      .max(25)
      .default(25)
      .meta({ description: 'seconds to wait for the end; 0 answers when the probes are attached or refused' }),
    rows: z.int().min(1).max(MAX_ROWS).default(50).meta({ description: 'rows a section in the answer' }),
  })
  .meta({ id: 'RunRequest' });

export const CheckBody = z
  .strictObject({ program: Program, target: z.exactOptional(Target), unscoped: z.exactOptional(Unscoped) })
  .meta({ id: 'CheckRequest' });

export const ChangeBody = z
  .discriminatedUnion('action', [
    z.strictObject({ action: z.literal('keep') }),
    z.strictObject({ action: z.literal('rename'), name: z.string().min(1).max(100) }),
  ])
  .meta({ id: 'RunChange' });

/** A number in a query string; the client sends text, a person may, too. */
const QueryNumber = () => z.coerce.number<string | number>();
const Rows = (preset: number) => QueryNumber().int().min(1).max(MAX_ROWS).default(preset);
const Offset = () => QueryNumber().int().min(0).default(0);
const Flag = z.enum(['true', 'false']).default('false');

export const ResultParams = z.strictObject({
  wait: QueryNumber().min(0).max(25).default(0).meta({ description: 'seconds to wait for the end' }),
  section: z.exactOptional(Text.meta({ description: '`events` or the name of a map; absent: all' })),
  filter: z.exactOptional(Text.meta({ description: 'part of any cell, whatever its case' })),
  sort: z.exactOptional(Text.meta({ description: 'name of a column, `-` before it for the largest first' })),
  offset: Offset(),
  limit: Rows(50),
});

const RunStates = z.enum(['running', 'complete', 'truncated', 'interrupted', 'failed']);

export const RunsParams = z.strictObject({
  owner: z.exactOptional(Text),
  state: z.exactOptional(RunStates),
  limit: Rows(50),
});

export const ProbesParams = z.strictObject({
  filter: z.string().min(1).max(1024).meta({ description: 'a glob, words, or `struct NAME [WORD]`' }),
  kind: z.exactOptional(Text),
  target: z.exactOptional(Text.meta({ description: 'whose binaries and libraries are searched' })),
  fields: Flag.meta({ description: 'with argument names and types' }),
  offset: Offset(),
  limit: Rows(20),
});

const TargetKinds = z.enum(['pod', 'container', 'workload', 'process', 'cgroup', 'systemd', 'node']);

export const TargetsParams = z.strictObject({
  query: z.exactOptional(Text.meta({ description: 'words that occur in a name, label or image' })),
  namespace: z.exactOptional(Text),
  node: z.exactOptional(Text),
  kind: z.exactOptional(TargetKinds),
  limit: Rows(20),
});

export const FactsParams = z.strictObject({ refresh: Flag.meta({ description: 'find the facts again by trying' }) });
export const NoParams = z.strictObject({});
export const RunPath = z.strictObject({ id: z.string().meta({ description: '`<node>.<uuid>`' }) });

/** Reads what a caller sent. Throws `argument.invalid` with the place, the value and, for an unknown key, the known ones. */
export function parseInput<T extends z.ZodType>(schema: T, input: unknown, what: 'body' | 'query'): z.output<T> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const sentences = parsed.error.issues.slice(0, 5).map((issue) => {
    if (issue.code === 'unrecognized_keys')
      return `The ${what} has the unknown key ${issue.keys.map(shown).join(', ')}; expected ${keysOf(schema)}`;
    const path = issue.path.join('.');
    const value = issue.path.reduce<unknown>((inner, key) => (inner as Record<PropertyKey, unknown>)?.[key], input);
    if (path === '') return `The ${what} is ${shown(value)}: ${issue.message}`;
    return value === undefined ? `${path} is missing` : `${path} is ${shown(value)}: ${issue.message}`;
  });
  throw new KerntapError('argument.invalid', `${sentences.join('. ')}.`);
}

function keysOf(schema: z.ZodType): string {
  const objects = schema instanceof z.ZodDiscriminatedUnion ? schema.options : [schema];
  const keys = objects.flatMap((one) => (one instanceof z.ZodObject ? Object.keys(one.shape) : []));
  return keys.length === 0 ? 'none' : [...new Set(keys)].join(', ');
}

/** A caller's value in a sentence: short, and in ASCII. */
const shown = (value: unknown): string =>
  (JSON.stringify(value) ?? 'absent')
    .slice(0, 80)
    .replace(/[^\x20-\x7e]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);

export const toRunRequest = ({ timeout, wait, ...rest }: z.output<typeof RunBody>): RunRequest => ({
  ...rest,
  timeoutMs: millis(timeout),
  waitMs: millis(wait),
});
export const ofRunRequest = ({ timeoutMs, waitMs, ...rest }: RunRequest): z.input<typeof RunBody> => ({
  ...rest,
  timeout: seconds(timeoutMs),
  wait: seconds(waitMs),
});

export const toResultQuery = ({ wait, ...rest }: z.output<typeof ResultParams>): ResultQuery => ({
  ...rest,
  waitMs: millis(wait),
});
export const ofResultQuery = ({ waitMs, ...rest }: ResultQuery): z.input<typeof ResultParams> => ({
  ...rest,
  wait: seconds(waitMs),
});

export const toProbeQuery = ({ fields, ...rest }: z.output<typeof ProbesParams>): ProbeQuery => ({
  ...rest,
  fields: fields === 'true',
});
export const ofProbeQuery = ({ fields, ...rest }: ProbeQuery): z.input<typeof ProbesParams> => ({
  ...rest,
  fields: `${fields}`,
});

// ------------------------------------------------------------------------------------------------------- responses

const Position = z.object({ line: Count, column: Count });

const DiagnosticWire = z
  .object({
    severity: z.enum(['error', 'warning', 'hint']),
    at: z.exactOptional(Position),
    message: z.string(),
    remedy: z.exactOptional(z.string()),
    unknown: z.exactOptional(
      z.object({ kind: z.enum(['probe', 'function', 'field']), name: z.string(), context: z.string() }),
    ),
  })
  .meta({ id: 'Diagnostic' });

const Counted = z
  .object({
    message: z.string(),
    helper: z.exactOptional(z.string()),
    code: z.exactOptional(z.int()),
    at: z.exactOptional(Position),
    count: Count,
  })
  .meta({ id: 'CountedMessage' });

export const RunWire = z
  .object({
    run_id: z.string(),
    name: z.exactOptional(z.string()),
    state: RunStates,
    reason: z.enum([
      'running',
      'deadline',
      'exit',
      'stopped',
      'cancelled',
      'client_gone',
      'drained',
      'revoked',
      'event_limit',
      'map_limit',
      'map_full',
      'watchdog',
      'store_full',
      'flood',
      'no_end_marker',
      'killed',
      'server_died',
      'invalid',
      'unloadable',
      'not_armed',
      'crashed',
    ]),
    node: z.string(),
    owner: z.string(),
    target: z.string(),
    tier: z.enum(['pod', 'node']),
    source: z.string().meta({ description: 'what the caller wrote' }),
    printed: z.string().meta({ description: 'what ran' }),
    timeout: z.number(),
    timing: z.object({ asked: Moment, armed: z.exactOptional(Moment), ended: z.exactOptional(Moment) }),
    probes: z.object({ asked: Count, attached: z.exactOptional(Count) }),
    sandbox: z.enum(['full', 'degraded']),
    versions: z.object({ kerntap: z.string(), bpftrace: z.string(), kernel: z.string() }),
    kept: z.boolean(),
    expires: z.exactOptional(Moment),
    bytes: Count,
  })
  .meta({ id: 'Run' });

const Cell = z.unknown().meta({ description: 'text, number, list, object; an integer beyond 2^53 is decimal text' });

const SectionWire = z
  .object({
    name: z.string(),
    type: z.enum(['events', 'map', 'stats', 'hist', 'tseries']),
    columns: z.array(z.object({ name: z.string(), type: z.enum(['text', 'number']) })),
    rows: z.array(z.array(Cell)),
    total: Count,
    notes: z.array(z.string()),
  })
  .meta({ id: 'Section' });

const RuleWire = z
  .object({
    point: z.string().meta({ description: 'as the caller wrote it' }),
    at: z.exactOptional(Position),
    class: z.enum(['T', 'S', 'P', 'A', 'B', 'M', 'I', 'N']),
    owner: z.string().meta({ description: 'by what an event is known to be the target’s' }),
    points: Count,
    notes: z.array(z.string()),
  })
  .meta({ id: 'AppliedRule' });

const LookWire = z
  .object({
    at: Moment,
    containers: z.array(z.object({ name: z.string(), id: z.string() })),
    processes: Count,
    context_switches: z.exactOptional(Count),
    sockets: z.exactOptional(Count),
    io_urings: z.exactOptional(Count),
  })
  .meta({ id: 'Coverage', description: 'what of the target was there at one moment' });

const CoverageWire = z
  .object({
    rules: z.array(RuleWire),
    control: z.exactOptional(z.array(z.object({ all: Count, in_scope: Count }))),
    start: z.exactOptional(LookWire),
    end: z.exactOptional(LookWire),
    notes: z.array(z.string()),
  })
  .meta({ id: 'CoverageAccount' });

const AccountWire = z
  .object({
    events: Count,
    lost: z.union([Count, z.literal('unknown')]),
    lost_reported: Count,
    lost_is_lower_bound: z.boolean(),
    dropped_by_limit: z.object({ events: Count, bytes: Count }),
    dropped_maps: Count,
    map_full: z.array(Counted),
    runtime_errors: z.array(Counted),
    missed: z.union([Count, z.literal('unknown')]),
    ambiguous_keys: Count,
    malformed: Count,
    repaired_strings: Count,
    redactions: z.record(z.string(), Count),
    node_cost: z.exactOptional(
      z.object({
        time_ns: z.number(),
        runs: z.number(),
        cpu_share: z.number().meta({ description: 'of one CPU, 0.25 = 25 %' }),
        probes: z.array(z.object({ name: z.exactOptional(z.string()), runs: z.number(), time_ns: z.number() })),
      }),
    ),
    coverage: z.exactOptional(CoverageWire),
  })
  .meta({ id: 'Account' });

export const RecordWire = RunWire.extend({
  sections: z.array(SectionWire),
  account: AccountWire,
  diagnostics: z.array(DiagnosticWire),
}).meta({ id: 'RunRecord' });

export const RunsWire = z.object({ runs: z.array(RunWire) }).meta({ id: 'Runs' });

export const CheckWire = z
  .object({
    ok: z.boolean(),
    attach_points: z.array(z.string()),
    diagnostics: z.array(DiagnosticWire),
    tier: z.enum(['pod', 'node']),
    rules: z.array(RuleWire),
    printed: z.string().meta({ description: 'what would run' }),
  })
  .meta({ id: 'CheckReport' });

export const TargetsWire = z
  .object({
    targets: z.array(
      z.object({
        id: z.exactOptional(z.string().meta({ description: 'a short selector that expires' })),
        selector: z.string().meta({ description: 'what every call takes as `target`' }),
        kind: TargetKinds,
        namespace: z.exactOptional(z.string()),
        name: z.string(),
        node: z.string(),
        containers: z.array(
          z.object({ name: z.string(), id: z.string(), state: z.enum(['created', 'running', 'exited', 'unknown']) }),
        ),
        owner: z.exactOptional(z.string()),
        processes: Count,
        started: z.exactOptional(Moment),
        restarts: z.exactOptional(Count),
        last_state: z.exactOptional(z.string()),
        notes: z.array(z.string()),
      }),
    ),
    total: Count,
    closest: z.array(z.string()),
    sources: z.array(z.string()),
  })
  .meta({ id: 'TargetPage' });

const Field = z.object({ name: z.string(), type: z.string() });

export const ProbesWire = z
  .object({
    probes: z.array(
      z.object({
        name: z.string(),
        demangled: z.exactOptional(z.string()),
        fields: z.exactOptional(z.array(Field)),
      }),
    ),
    struct: z.exactOptional(z.object({ name: z.string(), fields: z.array(Field) })),
    matches: Count,
    total: Count,
    closest: z.array(z.string()),
    notes: z.array(z.string()),
  })
  .meta({ id: 'ProbePage' });

export const FactsWire = z
  .object({
    node: z.string(),
    kerntap: z.string(),
    kernel: z.object({ release: z.string(), arch: z.string(), cpus: Count }),
    btf: z.boolean(),
    tracefs: z.boolean(),
    lockdown: z.string(),
    landlock: z.boolean(),
    cgroups: z.object({ layout: z.enum(['v2', 'hybrid', 'v1', 'none']), path: z.exactOptional(z.string()) }),
    bpftrace: z.object({ version: z.string(), bundled: z.boolean() }),
    probe_kinds: z.array(z.object({ kind: z.string(), available: z.boolean(), why: z.exactOptional(z.string()) })),
    features: z.object({
      helpers: z.array(z.string()),
      maps: z.array(z.string()),
      programs: z.array(z.string()),
    }),
    checked: Moment,
    sandbox: z.object({
      state: z.enum(['full', 'degraded']),
      missing: z.array(z.string()),
      notes: z.array(z.string()),
    }),
    limits: z.record(z.string(), z.number()),
    slots: z.object({ taken: Count, total: Count }),
    store: z.object({ runs: Count, bytes: Count, max_bytes: Count }),
  })
  .meta({ id: 'NodeFacts' });

/** One event of a run that is answered as text/event-stream. */
export const ProgressWire = z
  .object({ message: z.string(), done: z.number(), total: z.number() })
  .meta({ id: 'Progress', description: 'seconds done of seconds in all' });

export const ErrorWire = z
  .object({
    error: z.object({
      code: z.string().meta({ description: 'area.what; stable' }),
      message: z.string(),
      remedy: z.string().meta({ description: 'what to do, an imperative' }),
    }),
  })
  .meta({ id: 'Error' });

export const ofError = ({ code, message, remedy }: KerntapError): z.output<typeof ErrorWire> => ({
  error: { code, message, remedy },
});

export const ofProgress = ({ message, doneMs, totalMs }: Progress): z.output<typeof ProgressWire> => ({
  message,
  done: seconds(doneMs),
  total: seconds(totalMs),
});
export const toProgress = ({ message, done, total }: z.output<typeof ProgressWire>): Progress => ({
  message,
  doneMs: millis(done),
  totalMs: millis(total),
});

export function ofRun(run: RunHeader): z.output<typeof RunWire> {
  const { id, timing, timeoutMs, expiresMs } = run;
  return {
    run_id: id,
    ...(run.name !== undefined && { name: run.name }),
    state: run.state,
    reason: run.reason,
    node: run.node,
    owner: run.owner,
    target: run.target,
    tier: run.tier,
    source: run.source,
    printed: run.printed,
    timeout: seconds(timeoutMs),
    timing: {
      asked: moment(timing.askedMs),
      ...(timing.armedMs !== undefined && { armed: moment(timing.armedMs) }),
      ...(timing.endedMs !== undefined && { ended: moment(timing.endedMs) }),
    },
    probes: run.probes,
    sandbox: run.sandbox,
    versions: run.versions,
    kept: run.kept,
    ...(expiresMs !== undefined && { expires: moment(expiresMs) }),
    bytes: run.bytes,
  };
}

export function toRun(wire: z.output<typeof RunWire>): RunHeader {
  const { run_id, timing, timeout, expires, ...same } = wire;
  return {
    ...same,
    id: run_id as RunId,
    timeoutMs: millis(timeout),
    timing: {
      askedMs: Date.parse(timing.asked),
      ...(timing.armed !== undefined && { armedMs: Date.parse(timing.armed) }),
      ...(timing.ended !== undefined && { endedMs: Date.parse(timing.ended) }),
    },
    ...(expires !== undefined && { expiresMs: Date.parse(expires) }),
  };
}

export const ofRecord = (record: RunRecord): z.output<typeof RecordWire> => ({
  ...ofRun(record),
  sections: record.sections.map(ofSection),
  account: ofAccount(record.account),
  diagnostics: [...record.diagnostics],
});

export function toRecord(wire: z.output<typeof RecordWire>): RunRecord {
  const { sections, account, diagnostics, ...header } = wire;
  return { ...toRun(header), sections: sections.map(toSection), account: toAccount(account), diagnostics };
}

const ofSection = ({ columns, rows, notes, ...same }: Section): z.output<typeof SectionWire> => ({
  ...same,
  columns: [...columns],
  rows: rows.map((row) => row.map(toWire)),
  notes: [...notes],
});

const toSection = (wire: z.output<typeof SectionWire>): Section => ({
  ...wire,
  rows: wire.rows.map((row) => row.map((cell, index) => toCell(cell, wire.columns[index]))),
});

/** In a column of numbers decimal text is an integer that JSON's numbers cannot hold. */
const toCell = (cell: unknown, column: Column | undefined): Value =>
  column?.type === 'number' && typeof cell === 'string' && /^-?\d+$/.test(cell) ? BigInt(cell) : toValue(cell);

function toValue(json: unknown): Value {
  if (Array.isArray(json)) return json.map(toValue);
  if (typeof json === 'object' && json !== null)
    return { record: Object.entries(json).map(([name, item]) => [name, toValue(item)] as const) };
  return json as null | boolean | number | string;
}

const ofRule = ({ notes, ...same }: AppliedRule): z.output<typeof RuleWire> => ({ ...same, notes: [...notes] });

const ofLook = ({ atMs, containers, contextSwitches, ioUrings, ...same }: Coverage): z.output<typeof LookWire> => ({
  ...same,
  at: moment(atMs),
  containers: [...containers],
  ...(contextSwitches !== undefined && { context_switches: contextSwitches }),
  ...(ioUrings !== undefined && { io_urings: ioUrings }),
});
const toLook = ({ at, context_switches, io_urings, ...same }: z.output<typeof LookWire>): Coverage => ({
  ...same,
  atMs: Date.parse(at),
  ...(context_switches !== undefined && { contextSwitches: context_switches }),
  ...(io_urings !== undefined && { ioUrings: io_urings }),
});

const ofCoverage = ({ rules, control, start, end, notes }: CoverageAccount): z.output<typeof CoverageWire> => ({
  rules: rules.map(ofRule),
  ...(control && { control: control.map(({ all, inScope }) => ({ all, in_scope: inScope })) }),
  ...(start && { start: ofLook(start) }),
  ...(end && { end: ofLook(end) }),
  notes: [...notes],
});
const toCoverage = ({ rules, control, start, end, notes }: z.output<typeof CoverageWire>): CoverageAccount => ({
  rules,
  ...(control && { control: control.map(({ all, in_scope }) => ({ all, inScope: in_scope })) }),
  ...(start && { start: toLook(start) }),
  ...(end && { end: toLook(end) }),
  notes,
});

export const ofTargets = ({ targets, closest, sources, total }: TargetPage): z.output<typeof TargetsWire> => ({
  targets: targets.map(({ startedMs, lastState, containers, notes, ...same }) => ({
    ...same,
    containers: [...containers],
    ...(startedMs !== undefined && { started: moment(startedMs) }),
    ...(lastState !== undefined && { last_state: lastState }),
    notes: [...notes],
  })),
  total,
  closest: [...closest],
  sources: [...sources],
});
export const toTargets = ({ targets, ...same }: z.output<typeof TargetsWire>): TargetPage => ({
  ...same,
  targets: targets.map(({ started, last_state, ...target }) => ({
    ...target,
    ...(started !== undefined && { startedMs: Date.parse(started) }),
    ...(last_state !== undefined && { lastState: last_state }),
  })),
});

function ofAccount(account: Account): z.output<typeof AccountWire> {
  const cost = account.nodeCost;
  return {
    events: account.events,
    lost: account.lost,
    lost_reported: account.lostReported,
    lost_is_lower_bound: account.lostIsLowerBound,
    dropped_by_limit: account.droppedByLimit,
    dropped_maps: account.droppedMaps,
    map_full: [...account.mapFull],
    runtime_errors: [...account.runtimeErrors],
    missed: account.missed,
    ambiguous_keys: account.ambiguousKeys,
    malformed: account.malformed,
    repaired_strings: account.repairedStrings,
    redactions: account.redactions,
    ...(cost && {
      node_cost: {
        time_ns: cost.timeNs,
        runs: cost.runs,
        cpu_share: cost.cpuShare,
        probes: cost.probes.map(({ timeNs, ...same }) => ({ ...same, time_ns: timeNs })),
      },
    }),
    ...(account.coverage && { coverage: ofCoverage(account.coverage) }),
  };
}

function toAccount(wire: z.output<typeof AccountWire>): Account {
  const cost = wire.node_cost;
  return {
    events: wire.events,
    lost: wire.lost,
    lostReported: wire.lost_reported,
    lostIsLowerBound: wire.lost_is_lower_bound,
    droppedByLimit: wire.dropped_by_limit,
    droppedMaps: wire.dropped_maps,
    mapFull: wire.map_full,
    runtimeErrors: wire.runtime_errors,
    missed: wire.missed,
    ambiguousKeys: wire.ambiguous_keys,
    malformed: wire.malformed,
    repairedStrings: wire.repaired_strings,
    redactions: wire.redactions,
    ...(cost && {
      nodeCost: {
        timeNs: cost.time_ns,
        runs: cost.runs,
        cpuShare: cost.cpu_share,
        probes: cost.probes.map(({ time_ns, ...same }) => ({ ...same, timeNs: time_ns })),
      },
    }),
    ...(wire.coverage && { coverage: toCoverage(wire.coverage) }),
  };
}

export const ofCheck = ({ attachPoints, diagnostics, rules, ...same }: CheckReport): z.output<typeof CheckWire> => ({
  ...same,
  attach_points: [...attachPoints],
  diagnostics: [...diagnostics],
  rules: rules.map(ofRule),
});
export const toCheck = ({ attach_points, ...same }: z.output<typeof CheckWire>): CheckReport => ({
  ...same,
  attachPoints: attach_points,
});

export function ofFacts(facts: NodeFacts): z.output<typeof FactsWire> {
  const { probeKinds, checkedMs, store, features, sandbox, ...same } = facts;
  return {
    ...same,
    probe_kinds: [...probeKinds],
    features: {
      helpers: [...features.helpers],
      maps: [...features.maps],
      programs: [...features.programs],
    },
    checked: moment(checkedMs),
    sandbox: { state: sandbox.state, missing: [...sandbox.missing], notes: [...sandbox.notes] },
    store: { runs: store.runs, bytes: store.bytes, max_bytes: store.maxBytes },
  };
}

export function toFacts(wire: z.output<typeof FactsWire>): NodeFacts {
  const { probe_kinds, checked, store, ...same } = wire;
  return {
    ...same,
    probeKinds: probe_kinds,
    checkedMs: Date.parse(checked),
    store: { runs: store.runs, bytes: store.bytes, maxBytes: store.max_bytes },
  };
}
