import type { RunId } from '../ids.ts';
import type { Log } from '../log.ts';
import type { PrintedProgram } from '../program/instrument.ts';
import type { Position } from '../program/lexer.ts';
import type { AppliedRule, Point, PointLookup, ScopeKernel, ScopeTarget } from '../program/scope/scope.ts';
import type { AttachPoint } from '../program/tree.ts';
import type { Value } from './value.ts';

// ---------------------------------------------------------------------------------------------------------- callers

export type Tier = 'pod' | 'node';

/** Who is calling. `local` is anybody who can reach the loopback listener or the terminal. */
export interface Caller {
  readonly name: string;
  readonly source: 'local' | 'token';
  readonly tiers: readonly Tier[];
  /** Kubernetes namespaces; `*` also covers what is outside pods. */
  readonly namespaces: readonly string[];
}

/** What a caller wants to do; each act is reviewed when it is called. */
export type Action =
  | TraceAction
  | { readonly act: 'read' | 'change'; readonly run: RunHeader }
  | { readonly act: 'metrics' };

export interface TraceAction {
  readonly act: 'trace';
  readonly tier: Tier;
  /** That of the target's pod; absent for what belongs to no pod. */
  readonly namespace?: string;
  /** What of the program needs the tier, so that a refusal can name it: a phrase such as "`curtask->` at line 3, column 5". */
  readonly because?: { readonly what: string; readonly remedy: string };
}

export interface Access {
  /** Finds who sent `authorization` (the header's text). Throws `access.unauthenticated`. */
  identify(authorization: string | undefined): Promise<Caller>;
  /** Throws `access.denied`; for a run that the caller may not see, `run.unknown`. */
  allow(caller: Caller, action: Action): Promise<void>;
}

/** How far a call has come, in our own words; `done` of `total` in milliseconds grow from call to call. */
export interface Progress {
  readonly message: string;
  readonly doneMs: number;
  readonly totalMs: number;
}

/** What every call carries. Aborting `signal` while a call waits for its run stops the run and keeps what it has. */
export interface CallContext {
  readonly caller: Caller;
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly progress: (progress: Progress) => void;
}

// --------------------------------------------------------------------------------------------------------- programs

export type { AppliedRule, AttachPoint, Point, PointLookup, Position, PrintedProgram, ScopeKernel, ScopeTarget };

/** One thing that bpftrace or kerntap says of the caller's program, in the caller's own positions. */
export interface Diagnostic {
  readonly severity: 'error' | 'warning' | 'hint';
  /** Absent for what belongs to the whole program or to its end. */
  readonly at?: Position;
  readonly message: string;
  /** What to do about it, with the nearest names where a name was unknown. */
  readonly remedy?: string;
  /** The name that bpftrace did not know; `context` is the probe (`tracepoint`) or struct type in which it was looked up. */
  readonly unknown?: { readonly kind: 'probe' | 'function' | 'field'; readonly name: string; readonly context: string };
}

// ---------------------------------------------------------------------------------------------------------- tracing

export interface TraceLimits {
  /** Milliseconds from the moment when all probes are attached. */
  readonly timeoutMs: number;
  /** What is kept of printed events and of maps, in bytes of bpftrace's own output. More is counted and dropped. */
  readonly maxEventBytes: number;
  readonly maxMapBytes: number;
}

export type PrintedType =
  | 'printf'
  | 'value'
  | 'time'
  | 'cat'
  | 'join'
  | 'errorf'
  | 'warnf'
  | 'map'
  | 'hist'
  | 'stats'
  | 'tseries';

/** One message of a printing statement. `bytes` is its size in bpftrace's own output. */
export interface PrintedEvent {
  readonly type: PrintedType;
  readonly data: Value;
  readonly bytes: number;
}

export type TraceEvent =
  | { readonly kind: 'armed'; readonly atMs: number; readonly attached: number }
  | { readonly kind: 'printed'; readonly event: PrintedEvent };

/** Takes what a trace tells while it runs. Never blocks and never throws: the trace is drained whatever happens. */
export interface Sink {
  push(event: TraceEvent): void;
}

/** Why a run was ended before its time; the `reason` of the abort signal that the tracer is given. */
export type StopCause = 'stopped' | 'cancelled' | 'client_gone' | 'drained' | 'revoked';

/** One probe's cost. `name` is the kernel's own, absent where the kernel does not tell. Times are nanoseconds. */
export interface ProbeCost {
  readonly name?: string;
  readonly runs: number;
  readonly timeNs: number;
}

/** What the probes cost the node. `cpuShare` is of one CPU, 0.25 = 25 %. Absent figures could not be read. */
export interface NodeCost {
  readonly timeNs: number;
  readonly runs: number;
  readonly cpuShare: number;
  readonly probes: readonly ProbeCost[];
}

/** Losses and oddities that the reader of bpftrace's output counted. */
export interface OutputCounts {
  /** Events bpftrace printed: kept + dropped by limit. */
  readonly printed: number;
  readonly kept: number;
  readonly dropped: { readonly events: number; readonly bytes: number };
  /** Maps that were over the budget and are absent. */
  readonly droppedMaps: number;
  /** What bpftrace itself admits to have lost: a lower bound. */
  readonly lostReported: number;
  /** How often a printing statement ran, by the program's own count; absent when that count did not come out. */
  readonly seen?: number;
  /** What was printed that `seen` counts: without maps, which are printed at the end. */
  readonly printedOfSeen: number;
  /** Updates that a map had no room for, and other helper errors, one row a place in the caller's program. */
  readonly helperErrors: readonly CountedMessage[];
  readonly runtimeErrors: readonly CountedMessage[];
  /** Lines that are no message of bpftrace. */
  readonly malformed: number;
  /** Keys that bpftrace's JSON cannot tell apart from others of their map. */
  readonly ambiguousKeys: number;
  /** Strings that held bytes which are no UTF-8. */
  readonly repairedStrings: number;
}
export interface CountedMessage {
  readonly message: string;
  readonly helper?: string;
  readonly code?: number;
  readonly at?: Position;
  readonly count: number;
}

/** How a trace ended. It never throws for what the caller's program did. */
export interface TraceEnd {
  readonly state: Verdict;
  readonly reason: Reason;
  readonly armedMs?: number;
  readonly endedMs: number;
  /** Attach points of the caller's program, without our own. */
  readonly attached: number;
  readonly maps: readonly Section[];
  readonly counts: OutputCounts;
  /** What our own probes and predicates counted, by the name of their hidden map without its prefix. */
  readonly hidden: ReadonlyMap<string, number>;
  readonly diagnostics: readonly Diagnostic[];
  readonly cost?: NodeCost;
  /** Probe executions that the kernel skipped because of recursion. */
  readonly missed?: number;
}

export interface Tracer {
  /**
   * Runs `program` until its time is over, it ends by itself or `signal` aborts (its reason is a `StopCause`), and
   * resolves when the process is reaped. Throws `trace.unavailable`, `trace.launch`.
   */
  run(program: PrintedProgram, limits: TraceLimits, sink: Sink, signal: AbortSignal): Promise<TraceEnd>;
  /** Compiles without loading or attaching; an empty list means that bpftrace accepts it. */
  check(program: PrintedProgram, signal: AbortSignal): Promise<readonly Diagnostic[]>;
  /** What the launch chain holds back from bpftrace on this machine. */
  readonly sandbox: SandboxFacts;
  /** Ends the warm spare and waits until nothing of this tracer is left. */
  close(): Promise<void>;
}

// --------------------------------------------------------------------------------------------------------- the node

export interface SandboxFacts {
  readonly state: 'full' | 'degraded';
  /** What is missing, each with its reason, such as `landlock: the kernel has none`. */
  readonly missing: readonly string[];
  /** What is weaker than it could be and does not degrade the sandbox. */
  readonly notes: readonly string[];
}

export interface ProbeKindFact {
  /** `tracepoint`, `rawtracepoint`, `kprobe`, `kretprobe`, `fentry`, `uprobe`, `uretprobe`, `usdt`, `profile`, `interval`, `software`, `hardware`, `iter`, `watchpoint`. */
  readonly kind: string;
  readonly available: boolean;
  /** Why not, in our own words. */
  readonly why?: string;
}

export interface KernelFacts {
  readonly kernel: { readonly release: string; readonly arch: string; readonly cpus: number };
  readonly btf: boolean;
  readonly tracefs: boolean;
  /** `none`, `integrity`, `confidentiality`, or `unknown` where the kernel does not say. */
  readonly lockdown: string;
  readonly landlock: boolean;
  readonly cgroups: { readonly layout: 'v2' | 'hybrid' | 'v1' | 'none'; readonly path?: string };
  readonly bpftrace: { readonly version: string; readonly bundled: boolean };
  readonly probeKinds: readonly ProbeKindFact[];
  /** As `bpftrace --info` has them: kernel helpers, map types, program types that this kernel accepts. */
  readonly features: {
    readonly helpers: readonly string[];
    readonly maps: readonly string[];
    readonly programs: readonly string[];
  };
  readonly checkedMs: number;
}

export interface ProbeQuery {
  /** A glob (`tracepoint:sched:*`), words (`tcp retransmit`), or `struct NAME [WORD]` for the fields of a kernel type. */
  readonly filter: string;
  readonly kind?: string;
  readonly fields: boolean;
  readonly limit: number;
  readonly offset: number;
  /** With it, the binaries, libraries, symbols and USDT probes of that target are searched. */
  readonly target?: string;
}
export interface ProbeField {
  readonly name: string;
  readonly type: string;
}
export interface Probe {
  readonly name: string;
  /** The name of a C++ or Rust function as its author wrote it. */
  readonly demangled?: string;
  readonly fields?: readonly ProbeField[];
}
export interface ProbePage {
  readonly probes: readonly Probe[];
  /** For a `struct` question instead of probes. */
  readonly struct?: { readonly name: string; readonly fields: readonly ProbeField[] };
  readonly matches: number;
  /** How many there are altogether in the kinds that were searched. */
  readonly total: number;
  /** For a miss. */
  readonly closest: readonly string[];
  /** Kinds that could not be listed here, with the reason. */
  readonly notes: readonly string[];
}

export interface Kernel {
  /** Facts found by trying, once; `refresh` tries again. */
  facts(refresh: boolean, signal: AbortSignal): Promise<KernelFacts>;
  probes(query: ProbeQuery, signal: AbortSignal): Promise<ProbePage>;
  /** Nearest existing names for one that bpftrace did not know, best first, at most three. */
  nearest(kind: 'probe' | 'field', name: string, context: string, signal: AbortSignal): Promise<readonly string[]>;
  /** What these attach points stand for on this node, wildcards expanded, with the types of what they hand over. */
  points(points: readonly AttachPoint[], signal: AbortSignal): Promise<PointLookup>;
  /** How this kernel lets programs be scoped; found once. */
  scoping(signal: AbortSignal): Promise<ScopeKernel>;
}

// ---------------------------------------------------------------------------------------------------------- targets

/** A container as a runtime or /proc shows it. */
export interface Container {
  readonly runtime: string;
  readonly id: string;
  readonly name: string;
  readonly state: 'created' | 'running' | 'exited' | 'unknown';
  readonly pod?: { readonly namespace: string; readonly name: string; readonly uid: string };
  readonly labels: Readonly<Record<string, string>>;
  readonly image?: string;
  /** Host pid of its first process, and when that was started in clock ticks since boot, so that a reused pid is found out. */
  readonly pid?: number;
  readonly startTicks?: bigint;
  /** Its cgroup in the host's view, as in /proc/PID/cgroup: `/kubepods.slice/…/cri-containerd-ID.scope`. */
  readonly cgroup?: string;
  /** The runtime handler, such as `runc`, `runsc`, `kata`; in the last two the host's kernel does not see its system calls. */
  readonly handler?: string;
  readonly startedMs?: number;
}

/** Where containers are known from: one file a runtime; `detect` decides at start. */
export interface Runtime {
  readonly name: string;
  detect(): Promise<boolean>;
  list(signal: AbortSignal): Promise<readonly Container[]>;
}

/** What the Kubernetes API knows of a pod of this node, beside what the runtime knows. */
export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly node: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The controller: `Deployment`, `StatefulSet`, …; a ReplicaSet's Deployment by its name without the pod-template-hash. */
  readonly owner?: { readonly kind: string; readonly name: string };
  readonly phase: string;
  readonly hostNetwork: boolean;
  readonly podIps: readonly string[];
  readonly containers: readonly {
    readonly name: string;
    /** Without `containerd://`; absent before it is started. */
    readonly id?: string;
    readonly restarts: number;
    /** `Running`, `CrashLoopBackOff`, `Completed`, … */
    readonly state: string;
    /** How it ended the last time: `OOMKilled (137)`. */
    readonly lastState?: string;
    readonly requests: Readonly<Record<string, string>>;
    readonly limits: Readonly<Record<string, string>>;
  }[];
}

/** Pods of the API server, kept up to date by a watch; everything works without it. */
export interface PodSource {
  /** Pods of this node as last seen, with when that was; undefined when the API was never reached. */
  pods(): { readonly pods: readonly PodFacts[]; readonly asOfMs: number } | undefined;
  /** On which node a pod of another node runs; undefined when it does not exist or the API is away. */
  nodeOf(namespace: string, name: string, signal: AbortSignal): Promise<string | undefined>;
  close(): void;
}

export type TargetKind = 'pod' | 'container' | 'workload' | 'process' | 'cgroup' | 'systemd' | 'node';

/** A row of list_targets. */
export interface Target {
  /** What every tool takes as `target`. */
  readonly selector: string;
  /** A shorter one that expires: `t1`. */
  readonly id?: string;
  readonly kind: TargetKind;
  readonly namespace?: string;
  readonly name: string;
  readonly node: string;
  readonly containers: readonly { readonly name: string; readonly id: string; readonly state: Container['state'] }[];
  readonly owner?: string;
  readonly processes: number;
  readonly startedMs?: number;
  readonly restarts?: number;
  readonly lastState?: string;
  /** What a reader must know, such as that a sandbox hides its system calls. */
  readonly notes: readonly string[];
}

export interface TargetFilter {
  readonly query?: string;
  readonly namespace?: string;
  readonly node?: string;
  readonly kind?: TargetKind;
  readonly limit: number;
}

export interface TargetPage {
  readonly targets: readonly Target[];
  readonly total: number;
  /** For a miss. */
  readonly closest: readonly string[];
  /** Where the rows are from, and what was not reachable: `runtime containerd`, `no Kubernetes API`. */
  readonly sources: readonly string[];
}

/** A selector that was found, with all that scoping and the account need. */
export interface ResolvedTarget {
  readonly kind: TargetKind;
  /** Canonical, such as `shop/web-0`; what stands in the header of the answer. */
  readonly name: string;
  /** The right that it needs, whatever the program is. */
  readonly tier: Tier;
  readonly namespace?: string;
  /** Absent for the node. */
  readonly scope?: ScopeTarget;
  /** Folders of its cgroups in our own view of the mount, which are counted with what is nested below. */
  readonly cgroups: readonly string[];
  readonly containers: readonly Container[];
  /** True when a new container of the pod is counted, too. */
  readonly follows: boolean;
  /** What is not covered or must be known, one sentence each. */
  readonly notes: readonly string[];
}

/** What of a target was there at one moment. */
export interface Coverage {
  readonly atMs: number;
  readonly containers: readonly { readonly name: string; readonly id: string }[];
  readonly processes: number;
  /** Sums over its processes since they began; absent where /proc does not tell. */
  readonly contextSwitches?: number;
  readonly sockets?: number;
  /** Rings of io_uring that its processes have open: what goes through one makes no system call. */
  readonly ioUrings?: number;
}

/** Whether a caller may know of what is in a namespace; undefined is what belongs to no pod. */
export type Visible = (namespace: string | undefined) => boolean;

export interface TargetResolver {
  /**
   * What is not `visible` is as if it were not there. Throws `target.not_found`, `target.ambiguous`, `target.elsewhere`,
   * `target.gone`, `target.unsupported`, `target.invalid`.
   */
  resolve(selector: string | undefined, signal: AbortSignal, visible?: Visible): Promise<ResolvedTarget>;
  list(filter: TargetFilter, signal: AbortSignal, visible?: Visible): Promise<TargetPage>;
  /** What of it is there now; never throws, since the target may be gone. */
  look(target: ResolvedTarget): Promise<Coverage>;
  /**
   * The files that `path` (a path, or a library's or program's name) is inside the target, one an inode; without it all that
   * its processes run. Throws `target.no_file`.
   */
  files(target: ResolvedTarget, path: string | undefined): Promise<readonly TargetFile[]>;
}

/** A file of a target: where this process finds it, and what it is called inside. */
export interface TargetFile {
  readonly path: string;
  readonly shown: string;
}

export interface NodeFacts extends KernelFacts {
  readonly node: string;
  readonly kerntap: string;
  readonly sandbox: SandboxFacts;
  readonly limits: Readonly<Record<string, number>>;
  readonly slots: { readonly taken: number; readonly total: number };
  readonly store: { readonly runs: number; readonly bytes: number; readonly maxBytes: number };
}

// ------------------------------------------------------------------------------------------------------------- runs

export type Verdict = 'complete' | 'truncated' | 'interrupted' | 'failed';
export type RunState = 'running' | Verdict;

/** Why a run is in its state; one word for programs, the sentences are in render/. */
export type Reason =
  | 'running'
  | 'deadline'
  | 'exit' // complete
  | StopCause
  | 'event_limit'
  | 'map_limit'
  | 'map_full'
  | 'watchdog'
  | 'store_full' // truncated
  | 'flood'
  | 'no_end_marker'
  | 'killed'
  | 'server_died' // interrupted
  | 'invalid'
  | 'unloadable'
  | 'not_armed'
  | 'crashed'; // failed

/** One part of a result. Every row has one cell a column. */
export interface Section {
  /** `events`, or a map's name with its `@`. */
  readonly name: string;
  readonly type: 'events' | 'map' | 'stats' | 'hist' | 'tseries';
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Value[])[];
  /** How many rows there are altogether; `rows` may be a page of them. */
  readonly total: number;
  /** What a reader must know, such as that spaces are missing from keys. */
  readonly notes: readonly string[];
}
export interface Column {
  readonly name: string;
  readonly type: 'text' | 'number';
}

/** An honest account of what is in a result and what is not. */
export interface Account {
  /** Events kept. */
  readonly events: number;
  readonly lost: number | 'unknown';
  readonly lostReported: number;
  readonly lostIsLowerBound: boolean;
  readonly droppedByLimit: { readonly events: number; readonly bytes: number };
  readonly droppedMaps: number;
  readonly mapFull: readonly CountedMessage[];
  readonly runtimeErrors: readonly CountedMessage[];
  readonly missed: number | 'unknown';
  readonly ambiguousKeys: number;
  readonly malformed: number;
  readonly repairedStrings: number;
  readonly redactions: Readonly<Record<string, number>>;
  readonly nodeCost?: NodeCost;
  /** Absent for the whole node. */
  readonly coverage?: CoverageAccount;
}

/** What of the target a run saw and what it could not see. */
export interface CoverageAccount {
  readonly rules: readonly AppliedRule[];
  /** Only with `control`: how often each rule's probes fired on the node and how often for the target, in the order of `rules`. */
  readonly control?: readonly { readonly all: number; readonly inScope: number }[];
  readonly start?: Coverage;
  readonly end?: Coverage;
  /** Containers that came or went while it ran, and other gaps, one sentence each. */
  readonly notes: readonly string[];
}

export interface RunTiming {
  /** Milliseconds since 1970. */
  readonly askedMs: number;
  readonly armedMs?: number;
  readonly endedMs?: number;
}

/** What is known of a run without its data. */
export interface RunHeader {
  readonly id: RunId;
  readonly name?: string;
  readonly node: string;
  readonly owner: string;
  readonly target: string;
  readonly tier: Tier;
  readonly source: string;
  readonly printed: string;
  readonly timeoutMs: number;
  readonly state: RunState;
  readonly reason: Reason;
  readonly timing: RunTiming;
  readonly probes: { readonly asked: number; readonly attached?: number };
  readonly sandbox: SandboxFacts['state'];
  readonly versions: { readonly kerntap: string; readonly bpftrace: string; readonly kernel: string };
  readonly kept: boolean;
  readonly expiresMs?: number;
  /** Bytes that the store holds for it. */
  readonly bytes: number;
}

export interface RunRecord extends RunHeader {
  readonly sections: readonly Section[];
  readonly account: Account;
  readonly diagnostics: readonly Diagnostic[];
}

/** What of a run to read. Without a section: every section with its first `limit` rows. */
export interface ResultQuery {
  readonly waitMs: number;
  readonly section?: string;
  /** Part of any cell, whatever its case. */
  readonly filter?: string;
  /** A column's name, with a leading `-` for the largest first. */
  readonly sort?: string;
  readonly offset: number;
  readonly limit: number;
}

export type RecordQuery = Omit<ResultQuery, 'waitMs'>;

/** What is written when a run is opened, before its program is sent. */
export type NewRun = Omit<RunHeader, 'id' | 'state' | 'reason' | 'timing' | 'kept' | 'expiresMs' | 'bytes' | 'name'>;

/** What a run is when it is over. */
export interface RunFinal {
  readonly state: Verdict;
  readonly reason: Reason;
  readonly timing: { readonly armedMs?: number; readonly endedMs: number };
  readonly attached: number;
  readonly sections: readonly Section[];
  readonly account: Account;
  readonly diagnostics: readonly Diagnostic[];
}

export interface OpenRun {
  readonly id: RunId;
  readonly header: RunHeader;
  /** Aborts with cause `stopped` when another server on the same data folder was asked to stop this run. */
  readonly stopAsked: AbortSignal;
  /** Keeps an event; it is on disk within 250 ms or 64 KiB. Never throws: a full disk ends the run as `store_full`. */
  push(event: PrintedEvent): void;
  armed(armed: { readonly atMs: number; readonly attached: number }): void;
  /** Writes the verdict durably. When the disk is full it stays in memory for as long as the server lives. */
  finish(final: RunFinal): Promise<void>;
}

export interface RunFilter {
  readonly owner?: string;
  readonly state?: RunState;
  readonly limit: number;
}

export type RunChange =
  | { readonly action: 'keep' }
  | { readonly action: 'rename'; readonly name: string }
  | { readonly action: 'delete' };

export interface StoreUsage {
  readonly runs: number;
  readonly bytes: number;
  readonly maxBytes: number;
}

/** Runs, durable from their first byte. Several servers may share one folder: each touches only its own open runs. */
export interface RunStore {
  /** Resolves when the header is on disk. Throws `store.full`, `store.quota`. */
  open(run: NewRun): Promise<OpenRun>;
  /** Throws `run.no_section`, `run.no_column`; undefined for an id that is unknown here. */
  get(id: RunId, query: RecordQuery): Promise<RunRecord | undefined>;
  header(id: RunId): Promise<RunHeader | undefined>;
  /** True when the id was known and its time is over. */
  expired(id: RunId): Promise<boolean>;
  list(filter: RunFilter): Promise<readonly RunHeader[]>;
  change(id: RunId, change: RunChange): Promise<RunHeader | undefined>;
  /** Asks the server that owns a running run to stop it. */
  askStop(id: RunId): Promise<void>;
  usage(): StoreUsage;
  close(): Promise<void>;
}

// ---------------------------------------------------------------------------------------------------------- the API

export interface RunRequest {
  readonly program: string;
  /** Absent or `node`: this node, unscoped. */
  readonly target?: string;
  /** What becomes of probes that no rule can scope to the target; `refuse` when absent. */
  readonly unscoped?: 'refuse' | 'allow';
  /** Whether events of others are counted, too, so that a zero can be told from a silence. */
  readonly control?: boolean;
  readonly timeoutMs: number;
  /** How long the call may wait for the end, at most 25,000; 0 answers as soon as the probes are attached or refused. */
  readonly waitMs: number;
  /** Rows a section in the answer. */
  readonly rows: number;
}

export interface CheckRequest {
  readonly program: string;
  readonly target?: string;
  readonly unscoped?: 'refuse' | 'allow';
}

/** What `check` says; `ok` means that bpftrace accepts the program (the verifier has not seen it). */
export interface CheckReport {
  readonly ok: boolean;
  readonly attachPoints: readonly string[];
  readonly diagnostics: readonly Diagnostic[];
  readonly tier: Tier;
  readonly rules: readonly AppliedRule[];
  /** What would run. */
  readonly printed: string;
}

/** All that a tool may ask of a node. A node answers itself; a gateway asks the node that has the target or the run. */
export interface NodeApi {
  /** Throws `program.*` and `limit.runs` before anything is started; what bpftrace refuses is a `failed` record. */
  run(request: RunRequest, call: CallContext): Promise<RunRecord>;
  check(request: CheckRequest, call: CallContext): Promise<CheckReport>;
  /** `query.waitMs` makes it a long poll. Throws `run.unknown`, `run.expired`, `run.no_section`, `run.no_column`. */
  result(id: string, query: ResultQuery, call: CallContext): Promise<RunRecord>;
  /** Resolves when the run is over, with what it collected. */
  stop(id: string, call: CallContext): Promise<RunRecord>;
  runs(filter: RunFilter, call: CallContext): Promise<readonly RunHeader[]>;
  change(id: string, change: RunChange, call: CallContext): Promise<RunHeader>;
  targets(filter: TargetFilter, call: CallContext): Promise<TargetPage>;
  probes(query: ProbeQuery, call: CallContext): Promise<ProbePage>;
  describe(refresh: boolean, call: CallContext): Promise<NodeFacts>;
}
