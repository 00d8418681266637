import { KerntapError } from '../../src/errors.ts';
import { toPrinted } from '../../src/program/instrument.ts';
import { parseProbes } from '../../src/program/parse.ts';
import { printExpression, printTree } from '../../src/program/print.ts';
import { type Program, parseProgram } from '../../src/program/program.ts';
import { scopeTree } from '../../src/program/scope/index.ts';
import type { Field, Point, ScopeRequest } from '../../src/program/scope/scope.ts';
import { refuseForAll, tierOf } from '../../src/program/tier.ts';
import { type Expression, pointName } from '../../src/program/tree.ts';

/** Throws when what holds for every program that is read does not hold for this one. */
export type Check = (program: Program) => void;

const fail = (why: string): never => {
  throw new Error(why);
};

/** Undefined for what is refused with an error of ours. */
export function unlessRefused<Value>(make: () => Value): Value | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof KerntapError) return undefined;
    throw error;
  }
}

/** What is printed is read again, and printed in the same way. */
export function isPrintedInOneWay({ tree }: Program): void {
  const printed = printTree(tree).text;
  const again = printTree(parseProgram(printed).tree).text;
  if (again !== printed) fail(`it is printed in two ways:\n${printed}\n${again}`);
}

const fieldsOf = (text: string): readonly Field[] =>
  text
    .split(', ')
    .filter((field) => field !== '')
    .map((field) => {
      const at = field.lastIndexOf(' ');
      return { type: field.slice(0, at), name: field.slice(at + 1) };
    });

const point = (name: string, fields: string, parameters: string): Point => ({
  name,
  fields: fieldsOf(fields),
  parameters: fieldsOf(parameters),
});

/** Attach points of a small node: one or two of every way in which an event has its owner. */
const POINTS: readonly Point[] = [
  point('tracepoint:syscalls:sys_enter_openat', 'int dfd, const char * filename', ''),
  point('tracepoint:syscalls:sys_exit_read', 'long ret', ''),
  point('tracepoint:raw_syscalls:sys_enter', 'long id', 'struct pt_regs * regs, long id'),
  point(
    'tracepoint:sched:sched_switch',
    'char[16] prev_comm, pid_t next_pid',
    'bool preempt, struct task_struct * prev, struct task_struct * next',
  ),
  point('rawtracepoint:sched_switch', '', 'bool preempt, struct task_struct * prev, struct task_struct * next'),
  point('tracepoint:sched:sched_wakeup', 'char[16] comm, pid_t pid', 'struct task_struct * p'),
  point('rawtracepoint:sched_wakeup', '', 'struct task_struct * p'),
  point('tracepoint:sched:sched_process_exec', 'pid_t pid', 'struct task_struct * p, pid_t old_pid'),
  point(
    'tracepoint:sched:sched_process_fork',
    'pid_t parent_pid',
    'struct task_struct * parent, struct task_struct * child',
  ),
  point(
    'tracepoint:sock:inet_sock_set_state',
    'const void * skaddr, int newstate',
    'const struct sock * sk, int oldstate',
  ),
  point(
    'tracepoint:tcp:tcp_retransmit_skb',
    'const void * skbaddr, const void * skaddr',
    'const struct sock * sk, const struct sk_buff * skb',
  ),
  point('tracepoint:skb:kfree_skb', 'void * skbaddr, int reason', 'struct sk_buff * skb, void * location'),
  point('tracepoint:net:net_dev_queue', 'void * skbaddr, unsigned int len', 'struct sk_buff * skb'),
  point('tracepoint:block:block_rq_issue', 'dev_t dev, sector_t sector', 'struct request * rq'),
  point('rawtracepoint:block_rq_complete', '', 'struct request * rq, blk_status_t error'),
  point('tracepoint:irq:softirq_entry', 'unsigned int vec', 'unsigned int vec_nr'),
  point('kprobe:vfs_read', '', 'struct file * file, char * buf'),
  point('kretprobe:vfs_read', '', ''),
  point('kprobe:tcp_connect', '', 'struct sock * sk'),
  point('fentry:tcp_connect', 'struct sock * sk', 'struct sock * sk'),
  point('fexit:vfs_read', 'struct file * file', 'struct file * file'),
];

const ID = 4_242_424_242n;
const NETNS = 4_026_999_999n;

const REQUEST: ScopeRequest = {
  target: { groups: [{ id: ID, level: 3 }], netns: NETNS, ioGroups: [{ id: ID, level: 3 }] },
  kernel: { cgroups: 'ancestors', nestedPids: false, has: () => true },
  points(attach) {
    const pattern = pointName(attach)
      .replace(/[^\w*]/g, '\\$&')
      .replaceAll('*', '.*');
    return POINTS.filter(({ name }) => new RegExp(`^${pattern}$`).test(name));
  },
  unscoped: 'refuse',
};

/** They have no event of their own, so that there is nothing to scope. */
const FIRES_BY_ITSELF = ['begin', 'end', 'self', 'interval'];

/** Names the target, or looks for a key that a scoped probe stored, before anything that the caller wrote. */
function scopes(predicate: Expression): boolean {
  const callers = predicate.kind === 'binary' && predicate.operator === '&&' && predicate.right.span !== undefined;
  const own = callers ? predicate.left : predicate;
  const text = printExpression(own);
  return (
    own.span === undefined && (text.includes(`${ID}`) || text.includes(`${NETNS}`) || text.startsWith('has_key(@'))
  );
}

/** What is admitted and scoped runs for the target only, at every attach point that has events. */
export function isScoped(program: Program): void {
  if (unlessRefused(() => refuseForAll(program) ?? true) === undefined) return;
  tierOf(program);
  const scoped = unlessRefused(() => scopeTree(program.tree, program.source, REQUEST));
  if (!scoped) return;
  const { text } = printTree(scoped.tree);
  for (const { points, predicate } of scoped.tree.probes) {
    const needsScope = points.some(({ kind }) => !FIRES_BY_ITSELF.includes(kind));
    if (needsScope && !(predicate && scopes(predicate))) fail(`a probe is not scoped:\n${text}`);
  }
  // bpftrace reads the text, so what was checked must be what stands there.
  const { config, definitions, macros, maps } = parseProgram(printTree(program.tree).text).tree;
  const anew = { config, definitions, macros, maps, probes: parseProbes(text) };
  if (printTree(anew).text !== text) fail(`it is read in another way than it was scoped:\n${text}`);
  parseProbes(toPrinted(program, scoped, { timeoutMs: 1_000, nonce: 'nonce' }).text);
}

/** All that holds for every program that is read. */
export const CHECKS: readonly Check[] = [isPrintedInOneWay, isScoped];
