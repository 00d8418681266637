import { composeNode, type KernelFacts, localCall, lookAtKernel, type NodeFacts } from '../compose.ts';
import type { Config } from '../config.ts';
import { KerntapError } from '../errors.ts';
import { type Command, EX_CONFIG } from './commands.ts';
import { listenForStop } from './signals.ts';
import type { Terminal } from './terminal.ts';

/** One line of the answer: what there is or, where `ok` is false, what is missing and what to do about it. */
interface Line {
  readonly name: string;
  readonly ok: boolean;
  readonly text: string;
}

export const check: Command = {
  name: 'check',
  usage: '[options]',
  summary: 'say what this machine can do, one line each, and what to do about a no',
  notes: ['Exits with 0 when it can trace, with 78 when something has to be changed first.'],
  options: ['data-dir', 'bpftrace'],
  async run({ config }, terminal) {
    using signals = listenForStop();
    try {
      const { facts, mounted, dataDir } = await look(config, signals.stop);
      if (signals.stop.aborted) return 1;
      const attach = facts.probeKinds.filter(({ available }) => available).length;
      show(terminal, [...kernelLines(facts, mounted), ...nodeLines(facts), ...probeLines(facts), yes('data', dataDir)]);
      if (attach === 0) {
        terminal.out('This machine cannot trace: no kind of probe attaches.');
        return EX_CONFIG;
      }
      terminal.out(
        `This machine can trace: ${attach} of ${facts.probeKinds.length} probe kinds attach, ` +
          `the sandbox is ${facts.sandbox.state}.`,
      );
      return 0;
    } catch (error) {
      if (!(error instanceof KerntapError) || !error.code.startsWith('start.')) throw error;
      show(terminal, [...kernelLines(await lookAtKernel(), false), no(blocked(error), error.message, error.remedy)]);
      terminal.out('This machine cannot trace yet.');
      return EX_CONFIG;
    }
  },
};

/** Attaches every kind of probe for a moment. */
async function look(
  config: Config,
  signal: AbortSignal,
): Promise<{ facts: NodeFacts; mounted: boolean; dataDir: string }> {
  const local = await composeNode({ ...config, spare: 'off' }, () => {});
  try {
    const facts = await local.node.describe(true, localCall(signal));
    return { facts, mounted: local.tracefs === 'mounted', dataDir: local.dataDir };
  } finally {
    await local.close(signal);
  }
}

const yes = (name: string, text: string): Line => ({ name, ok: true, text });
const no = (name: string, why: string, remedy: string): Line => ({
  name,
  ok: false,
  text: `${why.replace(/\.$/, '')}: ${remedy}`,
});

function show(terminal: Terminal, lines: readonly Line[]): void {
  for (const { name, ok, text } of lines) {
    const mark = ok ? terminal.style('green', 'yes') : terminal.style('yellow', 'no ');
    terminal.out(`${mark}  ${name.padEnd(13)}  ${text}`);
  }
}

const kernelLines = (
  { kernel, btf, tracefs, lockdown, landlock, cgroups }: KernelFacts,
  mounted: boolean,
): readonly Line[] => [
  yes('kernel', `${kernel.release} ${kernel.arch}, ${kernel.cpus} CPUs`),
  btf
    ? yes('BTF', 'the types of the kernel are known')
    : no('BTF', 'absent, so struct fields are unknown', 'use a kernel with CONFIG_DEBUG_INFO_BTF'),
  tracefs
    ? yes('tracefs', mounted ? 'was missing, has been mounted now' : 'mounted')
    : no('tracefs', 'absent, so there are no tracepoints', 'mount -t tracefs nodev /sys/kernel/tracing'),
  lockdown === 'confidentiality'
    ? no('lockdown', 'confidentiality, so programs cannot read kernel memory', 'boot with lockdown=integrity or none')
    : yes('lockdown', lockdown === 'unknown' ? lockdown : `${lockdown}, so programs can read kernel memory`),
  landlock
    ? yes('Landlock', 'bpftrace can be kept from files that it does not need')
    : no('Landlock', 'absent', 'boot a kernel from 5.13 with lsm=landlock,… among its options'),
  cgroups.layout === 'none'
    ? no('cgroups', 'none are mounted', 'mount -t cgroup2 none /sys/fs/cgroup')
    : yes('cgroups', [cgroups.layout, cgroups.path].filter(Boolean).join(', ')),
];

const nodeLines = ({ bpftrace, sandbox }: NodeFacts): readonly Line[] => [
  yes('bpftrace', `${bpftrace.version}${bpftrace.bundled ? ', from .cache' : ''}`),
  sandbox.state === 'full'
    ? yes('sandbox', ['full', ...sandbox.notes].join('; '))
    : no(
        'sandbox',
        sandbox.missing.join('; '),
        'install util-linux 2.41 or newer on a kernel with Landlock and seccomp',
      ),
];

const probeLines = ({ probeKinds }: NodeFacts): readonly Line[] =>
  probeKinds.map(({ kind, available, why }) =>
    available ? yes(kind, 'attaches') : no(kind, why ?? 'does not attach', remedyFor(kind)),
  );

/** What to do about a kind of probe that does not attach: what the kernel or the machine must have, or what to use. */
function remedyFor(kind: string): string {
  switch (kind) {
    case 'tracepoint':
    case 'rawtracepoint':
      return 'use a kernel with CONFIG_FTRACE and tracefs mounted';
    case 'kprobe':
    case 'kretprobe':
      return 'use tracepoints, or a kernel with CONFIG_KPROBE_EVENTS';
    case 'fentry':
      return 'use tracepoints, or a kernel with CONFIG_FUNCTION_TRACER and BTF';
    case 'uprobe':
    case 'uretprobe':
    case 'usdt':
      return 'use a kernel with CONFIG_UPROBE_EVENTS';
    case 'hardware':
      return 'use profile, or a machine with counters (few virtual ones have them)';
    case 'watchpoint':
      return 'use uprobe, or a machine with debug registers';
    case 'iter':
      return 'count events with tracepoints instead';
    default:
      return 'use a kernel with CONFIG_PERF_EVENTS';
  }
}

/** Which part of the machine stands in the way. */
function blocked({ code }: KerntapError): string {
  switch (code) {
    case 'start.bpftrace':
      return 'bpftrace';
    case 'start.privilege':
      return 'rights';
    case 'start.data':
      return 'data';
    default:
      return 'start';
  }
}
