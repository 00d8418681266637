import { open, readFile } from 'node:fs/promises';
import { cpus, machine, release } from 'node:os';
import { join } from 'node:path';
import type { Log } from '../log.ts';
import type { KernelFacts, ProbeKindFact } from '../trace/ports.ts';
import type { Btf } from './btf.ts';

/** How many test probes are attached at a time. */
const TRIALS_AT_ONCE = 3;

/** A tracepoint that every kernel with tracefs has, and that fires only when a program is started. */
const QUIET_TRACEPOINT = 'sched:sched_process_exec';

/** No process maps this address (it is below vm.mmap_min_addr), so that a watchpoint there never fires. */
const UNUSED_ADDRESS = '0x1000';

export interface Attempt {
  readonly attached: boolean;
  readonly why?: string;
}

export interface FactSources {
  /** Attaches a program of ours for a moment. */
  attach(program: string, signal: AbortSignal): Promise<Attempt>;
  /** What a short bpftrace command prints on stdout. */
  query(args: readonly string[], signal: AbortSignal): Promise<string>;
  readonly bpftrace: KernelFacts['bpftrace'];
  readonly btf: Btf | undefined;
  /** As `findLockdown` found it. */
  readonly lockdown: string;
  /** Whether the launch chain could use Landlock; absent where it does not know. */
  readonly landlock: boolean | undefined;
  /** The folder in which `proc` and `sys` are. */
  readonly root: string;
  /** Told what bpftrace says of a probe kind that does not attach; the facts have our own words for it. */
  readonly log: Log;
}

/** Finds by looking and by trying what this node can do. What cannot be found out is `unknown` or false; never throws. */
export async function findFacts(sources: FactSources, signal: AbortSignal): Promise<KernelFacts> {
  const { root, btf } = sources;
  const mounts = parseMounts(await textOf(join(root, 'proc/self/mounts')));
  const cgroups = cgroupLayout(mounts);
  const tracefs = mounts.some((mount) => mount.type === 'tracefs');
  const [probeKinds, info] = await Promise.all([
    tryKinds(sources, tracefs, signal),
    sources.query(['--info'], signal).catch(() => ''),
  ]);
  return {
    kernel: { release: release(), arch: machine(), cpus: cpus().length },
    btf: btf !== undefined,
    tracefs,
    lockdown: sources.lockdown,
    landlock: sources.landlock ?? (await hasLandlock(root, btf)),
    cgroups,
    bpftrace: sources.bpftrace,
    probeKinds,
    features: featuresOf(parseInfo(info), btf),
    checkedMs: Date.now(),
  };
}

// ------------------------------------------------------------------------------------------------------- probe kinds

interface Trial {
  readonly kind: string;
  /** Absent where there is nothing to try it on. */
  readonly program?: string;
  /** The likely reason when it does not attach. */
  readonly why: string;
}

async function tryKinds(sources: FactSources, tracefs: boolean, signal: AbortSignal): Promise<ProbeKindFact[]> {
  const attempts = await inParallel(await trials(sources, tracefs, signal), TRIALS_AT_ONCE, async (trial) => ({
    trial,
    attempt:
      trial.program === undefined
        ? { attached: false }
        : await sources
            .attach(trial.program, signal)
            .catch((error: unknown): Attempt => ({ attached: false, why: messageOf(error) })),
  }));
  const uprobes = attempts.some(({ trial, attempt }) => trial.kind === 'uprobe' && attempt.attached);
  return attempts.map(({ trial: { kind, program, why }, attempt }) => {
    if (attempt.attached) return { kind, available: true };
    // A USDT probe is a uprobe at a place that the program names.
    if (kind === 'usdt' && program === undefined && uprobes) return { kind, available: true };
    sources.log.info('kernel.kind', { kind, why: attempt.why });
    return { kind, available: false, why };
  });
}

async function trials(sources: FactSources, tracefs: boolean, signal: AbortSignal): Promise<readonly Trial[]> {
  const { root } = sources;
  const libraries = parseLibraries(await textOf(join(root, 'proc/self/maps')));
  const libc = libraries.find((path) => /\/(libc[.-]|ld-musl-)/.test(path));
  const usdt = await findUsdt(libraries, sources, signal);
  const perf = (device: string) => textOf(join(root, 'sys/bus/event_source/devices', device, 'type'));
  const kprobes =
    (await perf('kprobe')) === '' ? 'this kernel has no kprobes' : 'this kernel lets nobody attach kprobes';
  const noFile = 'no shared C library was found to try it on';
  const counters =
    (await perf('cpu')) === '' ? 'this machine has no hardware counters' : 'the hardware counters cannot be used';
  const uprobes =
    (await perf('uprobe')) === '' ? 'this kernel has no uprobes' : 'this kernel lets nobody attach uprobes';
  const noTracefs = 'tracefs is not mounted';
  const withoutTypes = sources.btf === undefined ? 'bpftrace cannot attach them without BTF' : undefined;
  return [
    probe('tracepoint', QUIET_TRACEPOINT, tracefs ? 'tracepoints cannot be attached' : noTracefs),
    probe('rawtracepoint', QUIET_TRACEPOINT.replace(/^.*:/, ''), withoutTypes ?? 'raw tracepoints cannot be attached'),
    probe('kprobe', 'vfs_read', kprobes),
    probe('kretprobe', 'vfs_read', kprobes),
    probe('fentry', 'vfs_read', 'this kernel lets no program attach to its functions'),
    libc === undefined ? { kind: 'uprobe', why: noFile } : probe('uprobe', `${libc}:gethostid`, uprobes),
    libc === undefined ? { kind: 'uretprobe', why: noFile } : probe('uretprobe', `${libc}:gethostid`, uprobes),
    usdt === undefined ? { kind: 'usdt', why: uprobes } : probe('usdt', usdt, withoutTypes ?? uprobes),
    probe('profile', 'hz:1', 'timed sampling cannot be attached'),
    probe('interval', 's:100', 'timers cannot be attached'),
    probe('software', 'context-switches:1000000', 'software events cannot be attached'),
    probe('hardware', 'cpu-cycles:1000000000', counters),
    probe('iter', 'task', 'bpftrace finds no iterator in this kernel'),
    probe('watchpoint', `${UNUSED_ADDRESS}:8:w`, 'this machine has no debug registers to use'),
  ];
}

const probe = (kind: string, rest: string, why: string): Trial => ({
  kind,
  program: `${kind}:${rest} { @ = 1; }`,
  why,
});

/** A USDT probe in a library that this process has loaded, as `path:provider:name`. */
async function findUsdt(libraries: readonly string[], sources: FactSources, signal: AbortSignal) {
  const likely = libraries.filter((path) => /\/(libstdc\+\+|libc|ld-linux)/.test(path) && !/[,*\s]/.test(path));
  if (likely.length === 0) return undefined;
  const found = await sources.query(['-l', likely.map((path) => `usdt:${path}:*`).join(',')], signal).catch(() => '');
  return /^usdt:(\S+)$/m.exec(found)?.[1];
}

/** The shared libraries in `/proc/PID/maps`. */
export function parseLibraries(maps: string): readonly string[] {
  return [...new Set([...maps.matchAll(/\s(\/\S*\.so[.\d]*)$/gm)].map(([, path = '']) => path))];
}

// ------------------------------------------------------------------------------------------------------------ kernel

export interface Mount {
  readonly path: string;
  readonly type: string;
}

/** Reads `/proc/self/mounts`, where a space in a path is `\040`. */
export function parseMounts(text: string): readonly Mount[] {
  return text
    .split('\n')
    .map((line) => line.split(' '))
    .filter((parts) => parts.length >= 3)
    .map(([, path = '', type = '']) => ({
      path: path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
      type,
    }));
}

/** Which cgroup hierarchies are mounted, and where version 2 is. */
export function cgroupLayout(mounts: readonly Mount[]): KernelFacts['cgroups'] {
  const v2 = mounts.find((mount) => mount.type === 'cgroup2');
  const v1 = mounts.some((mount) => mount.type === 'cgroup');
  if (v2 === undefined) return { layout: v1 ? 'v1' : 'none' };
  return { layout: v1 ? 'hybrid' : 'v2', path: v2.path };
}

/**
 * The kernel's lockdown. Where securityfs is not mounted it shows in what is refused: first the list of functions that
 * can be traced, and at the highest level also the reading of kernel memory (include/linux/security.h).
 */
export async function findLockdown(
  sources: Pick<FactSources, 'attach' | 'btf' | 'root'>,
  mounts: readonly Mount[],
  signal: AbortSignal,
): Promise<string> {
  const { root } = sources;
  const level = parseLockdown(await textOf(join(root, 'sys/kernel/security/lockdown')));
  if (level !== undefined) return level;
  const tracefs = mounts.find((mount) => mount.type === 'tracefs');
  if (tracefs === undefined || !(await isForbidden(join(root, tracefs.path, 'available_filter_functions')))) {
    return 'unknown';
  }
  const attach = (body: string) =>
    sources.attach(`tracepoint:${QUIET_TRACEPOINT} { ${body} }`, signal).catch((): Attempt => ({ attached: false }));
  if (sources.btf === undefined) return 'unknown'; // without types bpftrace reads no kernel memory anyway
  if ((await attach('@ = curtask->pid;')).attached) return 'integrity';
  return (await attach('@ = 1;')).attached ? 'confidentiality' : 'unknown';
}

/** Reads `none [integrity] confidentiality`. */
export const parseLockdown = (text: string): string | undefined => /\[(\w+)\]/.exec(text)?.[1];

/** Whether the kernel refuses to open a file although its mode allows it (EPERM, where a mode would give EACCES). */
async function isForbidden(path: string): Promise<boolean> {
  try {
    await (await open(path)).close();
    return false;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** Landlock is on when it is in the list of security modules; without that list, when the kernel has it at all. */
async function hasLandlock(root: string, btf: Btf | undefined): Promise<boolean> {
  const modules = await textOf(join(root, 'sys/kernel/security/lsm'));
  return modules === ''
    ? btf?.fields('struct landlock_ruleset', 0) !== undefined
    : modules.split(',').includes('landlock');
}

// ---------------------------------------------------------------------------------------------------------- features

/** What `bpftrace --info` says, by section: each name with its yes or no. */
export type Info = ReadonlyMap<string, ReadonlyMap<string, boolean>>;

/** Reads `bpftrace --info`: sections with a heading and two columns of `name: yes`. */
export function parseInfo(text: string): Info {
  const sections = new Map<string, Map<string, boolean>>();
  let section = new Map<string, boolean>();
  for (const line of text.split('\n')) {
    if (/^\S/.test(line)) {
      section = new Map();
      sections.set(line.trim().toLowerCase(), section);
    }
    for (const [, name = '', answer] of line.matchAll(/\s{2,}([\w() ]+?): (yes|no)\b/g))
      section.set(name, answer === 'yes');
  }
  return sections;
}

/** Names in `bpftrace --info` that differ from the kernel's. */
const HELPER_NAMES: Readonly<Record<string, string>> = { dpath: 'd_path', get_tai_ns: 'ktime_get_tai_ns' };

/**
 * Helpers, map types and program types of this kernel. BTF has the whole lists; what bpftrace tried and was refused is
 * taken out. Without BTF there is only what bpftrace tried.
 */
export function featuresOf(info: Info, btf: Pick<Btf, 'enumerators'> | undefined): KernelFacts['features'] {
  const tried = (section: string, answer: boolean) =>
    [...(info.get(section) ?? [])].filter(([, yes]) => yes === answer).map(([name]) => HELPER_NAMES[name] ?? name);
  const list = (section: string, enumeration: string, prefix: string) => {
    const refused = tried(section, false);
    const known = (btf?.enumerators(enumeration) ?? [])
      .filter((name) => name.startsWith(prefix))
      .map((name) =>
        name
          .slice(prefix.length)
          .toLowerCase()
          .replace(/_deprecated$/, ''),
      )
      .filter((name) => name !== 'unspec' && !refused.includes(name));
    return [...new Set([...known, ...tried(section, true)])];
  };
  return {
    helpers: list('kernel helpers', 'bpf_func_id', 'BPF_FUNC_'),
    maps: list('map types', 'bpf_map_type', 'BPF_MAP_TYPE_'),
    programs: list('program types', 'bpf_prog_type', 'BPF_PROG_TYPE_'),
  };
}

// ----------------------------------------------------------------------------------------------------------- helpers

const textOf = (path: string): Promise<string> =>
  readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => '',
  );

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Does `work` for each item, at most `limit` at a time, and keeps the order. */
async function inParallel<T, R>(items: readonly T[], limit: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const take = async () => {
    for (const [i, item] of queue) results[i] = await work(item);
  };
  await Promise.all(Array.from({ length: limit }, take));
  return results;
}
