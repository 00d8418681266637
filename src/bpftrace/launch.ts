import { existsSync, rmSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { execa } from 'execa';
import { isAtLeast } from '../trace/version.ts';
import type { Command } from './command.ts';
import type { Installation } from './installation.ts';
import { makePipe } from './pipe.ts';
import { KEPT_CAPABILITIES } from './privilege.ts';
import { signalBetweenWrites } from './signal.ts';
import { noFiles, type OpenFiles } from './target-files.ts';

/** What of the launch chain works here; found by trial (sandbox.ts). */
export interface ChainParts {
  /** No new privileges, death with the server, four capabilities. */
  readonly setpriv: boolean;
  /** The file of denied system calls. */
  readonly seccomp?: string;
  /** The rights that Landlock handles, as setpriv's `--landlock-access` takes them. */
  readonly landlock?: string;
  readonly prlimit: boolean;
  /** Locked memory without a limit, as which kernels before 5.11 count programs and maps of BPF. */
  readonly memlock?: boolean;
}

export interface Chain {
  readonly installation: Installation;
  readonly parts: ChainParts;
  /** The names in which bpftrace looks up functions and raw tracepoints. */
  readonly functionsFile: string;
  /** Seconds of CPU after which the kernel ends bpftrace by SIGXCPU. */
  readonly maxCpuS: number;
}

/** What bpftrace sees in every run. */
const READABLE_FOLDERS = [
  '/sys/kernel/tracing',
  '/sys/kernel/debug/tracing',
  '/sys/kernel/btf', // kernel types
  '/sys/devices/system/cpu', // without it bpftrace aborts
  '/sys/bus/event_source',
  '/sys/devices/kprobe', // where event_source leads; without it the kernel seems to refuse kprobes
  '/sys/devices/uprobe', // without it uprobes fall back to uprobe_events, which outlive a SIGKILL
];
const READABLE_FILES = [
  '/proc/kallsyms',
  '/proc/modules', // where it is there and cannot be read, bpftrace starts nothing
  '/etc/ld.so.cache',
];

/**
 * The command that starts bpftrace with `args` and no more than it needs. One exec chain: nothing may fork between
 * setpriv's parent-death signal and bpftrace, or bpftrace survives the server.
 */
export function renderChain(
  chain: Chain,
  tmp: string,
  args: readonly string[],
  readable: readonly string[] = [],
): Command {
  const { installation, parts } = chain;
  return [
    // First, since a limit is raised by a capability that setpriv takes away.
    ...(parts.memlock && installation.prlimit ? [...installation.prlimit, '--memlock=unlimited', '--'] : []),
    ...(parts.setpriv && installation.setpriv ? [...installation.setpriv, ...confinement(chain, tmp, readable)] : []),
    ...(parts.prlimit && installation.prlimit ? [...installation.prlimit, ...ceilings(chain), '--'] : []),
    ...installation.bpftrace,
    ...args,
  ];
}

function confinement(
  { installation, parts, functionsFile }: Chain,
  tmp: string,
  readable: readonly string[],
): string[] {
  const rule = (rights: string) => (path: string) => ['--landlock-rule', `path-beneath:${rights}:${path}`];
  const programs = ['/usr', '/lib', '/lib64', ...(installation.root === undefined ? [] : [installation.root])];
  const there = (paths: readonly string[]) => paths.filter((path) => existsSync(path)); // setpriv fails for an absent path
  return [
    '--nnp',
    ...['--pdeathsig', 'KILL'],
    ...['--bounding-set', ['-all', ...KEPT_CAPABILITIES.map((name) => `+${name}`)].join(',')],
    ...['--inh-caps', '-all'],
    ...(parts.seccomp === undefined ? [] : ['--seccomp-filter', parts.seccomp]),
    ...(parts.landlock === undefined
      ? []
      : [
          ...['--landlock-access', parts.landlock],
          ...there(programs).flatMap(rule('execute,read-file,read-dir')),
          ...there(READABLE_FOLDERS).flatMap(rule('read-file,read-dir')),
          ...there([...READABLE_FILES, functionsFile]).flatMap(rule('read-file')),
          ...readable.flatMap(rule('execute,read-file')), // the chain's own descriptors among them
          ...rule('read-file,write-file')('/dev/null'),
          ...rule('make-reg,write-file,read-file,remove-file')(tmp),
        ]),
  ];
}

function ceilings({ maxCpuS }: Chain): string[] {
  return ['--as=2147483648', `--cpu=${maxCpuS}:${maxCpuS + 1}`, '--core=0', '--fsize=16777216', '--nofile=4096'];
}

/** The whole environment of bpftrace: nothing is inherited, and its limits beat a program's config block. */
export function environmentOf(tmp: string): Readonly<Record<string, string>> {
  return {
    PATH: '/nonexistent', // bpftrace asks any clang it finds there for its include folders
    LANG: 'C.UTF-8',
    TMPDIR: tmp,
    // LLVM makes and frees so much that giving memory back between costs a sixth of the time until attached.
    GLIBC_TUNABLES:
      'glibc.malloc.top_pad=67108864:glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=1073741824',
    LD_BIND_NOW: '1', // what the loader would look up while LLVM compiles is looked up while the spare waits
    __BPFTRACE_NOTIFY_PROBES_ATTACHED: '1',
    BPFTRACE_PERF_RB_PAGES: '1024', // unset, bpftrace asks /proc/meminfo
    BPFTRACE_MAX_PROBES: '72', // 64 of the caller and our own
    BPFTRACE_MAX_BPF_PROGS: '72',
    BPFTRACE_MAX_MAP_KEYS: '4096',
    BPFTRACE_MAX_STRLEN: '1024',
    BPFTRACE_MAX_CAT_BYTES: '0',
  };
}

/** The arguments that tell bpftrace which functions there are: under lockdown the kernel's own list cannot be read. */
export const functionNames = ({ installation, functionsFile }: Chain): readonly string[] =>
  isAtLeast(installation.version, '0.25') ? ['--traceable-functions', functionsFile] : []; // older ones do not know the option

export interface ChildEnd {
  readonly exitCode: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  /** False when there was no such program, or it could not be executed. */
  readonly started: boolean;
}

/** A bpftrace that waits for its program on standard input. */
export interface Child {
  /** Undefined when it could not be started. */
  readonly pid: number | undefined;
  /** Takes over both outputs; what came before is given at once. */
  listen(to: { stdout: (chunk: Buffer) => void; stderr: (chunk: Buffer) => void }): void;
  /** Sends the program. Without one, bpftrace has nothing to attach and ends. */
  send(program: string): void;
  /** Resolves when the signal was sent. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Resolves when the process is reaped and all of its output was given. Never rejects. */
  readonly ended: Promise<ChildEnd>;
}

/**
 * Starts bpftrace, which may read `files` beside what all may; it compiles nothing before it has its program. `tmp` is its
 * TMPDIR and is removed at its end. Throws `trace.launch`.
 */
export async function launch(chain: Chain, tmp: string, files: OpenFiles = noFiles): Promise<Child> {
  const args = ['-f', 'json', ...functionNames(chain), '-'];
  const [file = '', ...rest] = renderChain(chain, tmp, args, files.paths);
  const output = await makePipe(tmp);
  const stdout = relay(output.reader);
  // Without `buffer: false` execa keeps all output; without `detached` a terminal's Ctrl-C would reach bpftrace.
  const child = execa(file, rest, {
    env: environmentOf(tmp),
    extendEnv: false,
    cwd: '/',
    stdio: ['pipe', output.writer as 1, 'pipe', ...files.stdio], // any descriptor will do, which its types do not know
    buffer: false,
    reject: false,
    detached: true,
    cleanup: false,
    forceKillAfterDelay: false,
  });
  const stderr = relay(child.stderr);
  child.stdin.on('error', () => {}); // it died first: `ended` says so
  output.closeWriter();
  return {
    pid: child.pid,
    listen(to) {
      stdout.takeOver(to.stdout);
      stderr.takeOver(to.stderr);
    },
    send: (program) => void child.stdin.end(program),
    async kill(signal) {
      if (child.pid === undefined || signal === 'SIGKILL') child.kill(signal);
      else await signalBetweenWrites(child.pid, signal, (name) => child.kill(name));
    },
    ended: Promise.all([child, stdout.closed]).then(([{ exitCode, signal }]) => {
      rmSync(tmp, { recursive: true, force: true });
      return { exitCode, signal, started: child.pid !== undefined };
    }),
  };
}

/** Holds what a stream gives until somebody takes it: from then on it must never wait. */
function relay(stream: Readable): { takeOver: (to: (chunk: Buffer) => void) => void; closed: Promise<void> } {
  const held: Buffer[] = [];
  let receiver: (chunk: Buffer) => void = (chunk) => held.push(chunk);
  const closed = Promise.withResolvers<void>();
  stream.on('data', (chunk: Buffer) => receiver(chunk));
  stream.on('error', () => {}); // is followed by 'close'
  stream.on('close', () => closed.resolve());
  return {
    takeOver(to) {
      for (const chunk of held.splice(0)) to(chunk);
      receiver = to;
    },
    closed: closed.promise,
  };
}
