import type { AttachPoint } from '../tree.ts';
import { GRAPH, type Kind } from './graph.ts';
import { IN_CALLER, KERNEL_FUNCTIONS } from './kernel-functions.ts';

/** What a probe at an attach point may know of its event. */
export interface Place {
  /** Fires by itself, for nobody: `begin`, `end`, `interval`. */
  readonly bare: boolean;
  /** Whether the current task is the target's whenever the scope holds. */
  readonly ownTask: boolean;
  /** For sockets that are larger than others. */
  readonly protocol: 'tcp' | 'udp' | undefined;
  /** What `args.NAME` is; undefined for what belongs to another task. */
  field(name: string): Kind | undefined;
  /** What `argN` is; undefined where that is not known. */
  argument(index: number): Kind | undefined;
  readonly retval: Kind;
}

const USER_KINDS = ['uprobe', 'uretprobe', 'usdt'];
const SAMPLED_KINDS = ['profile', 'software', 'hardware'];
const FUNCTION_KINDS = ['kprobe', 'kretprobe', 'fentry', 'fexit'];
const BARE_KINDS = ['begin', 'end', 'interval'];

const NOTHING: Place = {
  bare: false,
  ownTask: true,
  protocol: undefined,
  field: () => 'opaque',
  argument: () => 'opaque',
  retval: 'opaque',
};

/** Fields of system calls that point to a text which names a file, and to the words of a command line. */
const TEXTS = words(
  'filename pathname path oldname newname old new name dev_name dir_name type special library put_old new_root uname target',
);
const FIELDS_OF_CALLS: ReadonlyMap<string, Kind> = new Map([
  ...TEXTS.map((name): [string, Kind] => [name, 'user text']),
  ['argv', 'user text *'],
  ...words('uservaddr umyaddr addr upeer_sockaddr usockaddr').map((name): [string, Kind] => [
    name,
    'user struct sockaddr *',
  ]),
  ...words('rqtp rmtp req tsp').map((name): [string, Kind] => [name, 'user struct __kernel_timespec *']),
]);

/** Fields of other tracepoints that hold their own text. */
const OWN_TEXTS = words('comm name filename rwbs dev_name devname disk driver cmd pathname');
const ARRAYS = words('saddr daddr saddr_v6 daddr_v6');
const WITH_ARRAYS = ['sock', 'tcp', 'udp', 'icmp'];
const OWNERS: ReadonlyMap<string, Kind> = new Map([
  ['skaddr', 'struct sock *'],
  ['sk', 'struct sock *'],
  ['skbaddr', 'struct sk_buff *'],
]);

/** Fields that tell of a task which need not be the target's; in sched_switch the scope hides what is not. */
const OTHER_TASKS = /^(?:prev|next|parent|src|dst)_(?:comm|pid|tgid|tid|prio)$/;

/** Tracepoints that run in the task which they are about. */
const IN_TASK =
  /^(?:syscalls|raw_syscalls|vsyscall|exceptions|task|kmem|filemap|readahead|pagemap|capability|lock|filelock|percpu|mmap|mmap_lock|rseq|avc|fuse|signal|jbd2):|^sched:sched_process_(?:exec|exit|fork|wait)$|^vmscan:mm_vmscan_(?:direct_reclaim|memcg)_|^(?:ext4|xfs|btrfs):|^io_uring:io_uring_(?:submit|create|register)|^tcp:tcp_sendmsg_locked$/;

/** Arguments by which a function is scoped instead of the task. */
const SCOPED_BY = ['struct sock *', 'struct sk_buff *', 'struct request *', 'struct bio *'];

function words(text: string): readonly string[] {
  return text.split(' ');
}

const protocolOf = (name: string): Place['protocol'] =>
  /tcp|inet_csk|inet_sock_set_state/.test(name) ? 'tcp' : /udp/.test(name) ? 'udp' : undefined;

const matches = (glob: string, name: string): boolean => new RegExp(`^${glob.replaceAll('*', '.*')}$`).test(name);

function tracepoint(category: string, name: string): Place {
  const isCall = category === 'syscalls';
  const full = `${category}:${name}`;
  const field = (of: string): Kind | undefined => {
    // Newer kernels hand over the bytes themselves in fields of such names.
    if (isCall && /^__\w+_val$/.test(of)) return undefined;
    if (isCall) return FIELDS_OF_CALLS.get(of) ?? 'opaque';
    if (OTHER_TASKS.test(of) && full !== 'sched:sched_switch') return undefined;
    // The sender's event, which names the receiver.
    if (/^(?:pid|comm)$/.test(of) && matches(full, 'signal:signal_generate')) return undefined;
    if (OWN_TEXTS.includes(of) || (full === 'sched:sched_switch' && of.endsWith('_comm'))) return 'text';
    if (full === 'raw_syscalls:sys_enter' && of === 'args') return 'array';
    if (WITH_ARRAYS.includes(category) && ARRAYS.includes(of)) return 'array';
    return OWNERS.get(of) ?? 'opaque';
  };
  return { ...NOTHING, ownTask: IN_TASK.test(full), protocol: protocolOf(full), field };
}

/** Their arguments have no names and no types, but for those that every kernel has. */
const RAW: Readonly<Record<string, readonly Kind[]>> = {
  sys_enter: ['opaque', 'number'],
  sys_exit: ['opaque', 'number'],
  sched_wakeup: ['struct task_struct *'],
  sched_wakeup_new: ['struct task_struct *'],
  sched_waking: ['struct task_struct *'],
};

function rawTracepoint(name: string): Place {
  const kinds = Object.hasOwn(RAW, name) ? RAW[name] : undefined;
  return { ...NOTHING, ownTask: name.startsWith('sys_'), field: () => undefined, argument: (index) => kinds?.[index] };
}

function kernelFunction(kind: string, name: string, module: string): Place | undefined {
  // Another module may have a function of the same name.
  if (module !== 'vmlinux' && !name.startsWith(`${module}_`)) return undefined;
  const known = KERNEL_FUNCTIONS.get(name);
  if (known === undefined) return IN_CALLER.test(name) ? { ...NOTHING, argument: () => undefined } : undefined;
  const { parameters, returns } = known;
  const named = kind === 'fentry' || kind === 'fexit';
  return {
    ...NOTHING,
    ownTask: !parameters.some((parameter) => SCOPED_BY.includes(parameter.kind)),
    protocol: protocolOf(name),
    field: (of) => (named ? parameters.find((parameter) => parameter.name === of)?.kind : undefined),
    argument: (index) => (named ? undefined : parameters[index]?.kind),
    retval: returns,
  };
}

const functionAt = (kind: string, parts: readonly string[]): Place | undefined =>
  parts.length > 1
    ? kernelFunction(kind, parts[1] ?? '', parts[0] ?? '')
    : kernelFunction(kind, parts[0] ?? '', 'vmlinux');

/** Undefined for an attach point that the pod tier does not take. */
export function placeOf({ kind, parts }: AttachPoint): Place | undefined {
  const [first = '', second = ''] = parts;
  if (kind === 'tracepoint') return tracepoint(first, second);
  if (kind === 'rawtracepoint') return rawTracepoint(parts.at(-1) ?? '');
  if (USER_KINDS.includes(kind) || SAMPLED_KINDS.includes(kind)) return NOTHING;
  if (FUNCTION_KINDS.includes(kind)) return functionAt(kind, parts);
  if (BARE_KINDS.includes(kind)) return { ...NOTHING, bare: true, ownTask: false };
  return undefined;
}

/** Whether a kind is a structure of which fields may be read, or a pointer to one. */
export const structureOf = (kind: Kind): string | undefined => {
  const name = kind.replace(/ \*$/, '');
  return GRAPH.has(name) ? name : undefined;
};
