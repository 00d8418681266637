import { parseTree } from '../../../src/program/parse.ts';
import { printExpression, printTree } from '../../../src/program/print.ts';
import { scopeTree } from '../../../src/program/scope/index.ts';
import type { Field, Point, Scoped, ScopeKernel, ScopeRequest, ScopeTarget } from '../../../src/program/scope/scope.ts';
import { pointName } from '../../../src/program/tree.ts';

const fieldsOf = (text: string): readonly Field[] =>
  text
    .split(/,\s*/)
    .filter(Boolean)
    .map((field) => ({ type: field.replace(/\s*\w+$/, ''), name: /\w+$/.exec(field)?.[0] ?? '' }));

/** `name | fields | parameters of the raw tracepoint, or of the function`. */
function pointOf(line: string): Point {
  const [name = '', fields = '', parameters = ''] = line.split('|').map((part) => part.trim());
  return { name, fields: fieldsOf(fields), parameters: fieldsOf(parameters) };
}

const SWITCH = 'bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state';
const TASK = 'char[16] comm, pid_t pid, int prio';

/** Attach points as a node with Linux 6.18 has them. */
const POINTS: readonly Point[] = [
  'tracepoint:syscalls:sys_enter_openat | int dfd, const char *filename |',
  'tracepoint:syscalls:sys_exit_openat | long ret |',
  'tracepoint:raw_syscalls:sys_enter | long id | struct pt_regs *regs, long id',
  'rawtracepoint:sys_enter | struct pt_regs *regs, long id | struct pt_regs *regs, long id',
  `tracepoint:sched:sched_switch | char[16] prev_comm, pid_t prev_pid, long prev_state, char[16] next_comm, pid_t next_pid | ${SWITCH}`,
  `rawtracepoint:sched_switch | ${SWITCH} | ${SWITCH}`,
  `tracepoint:sched:sched_wakeup | ${TASK}, int target_cpu | struct task_struct *p`,
  `tracepoint:sched:sched_waking | ${TASK}, int target_cpu | struct task_struct *p`,
  'rawtracepoint:sched_wakeup | struct task_struct *p | struct task_struct *p',
  'tracepoint:sched:sched_wake_idle_without_ipi | int cpu | int cpu',
  'tracepoint:sched:sched_process_exec | pid_t pid | struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm',
  'tracepoint:sched:sched_process_fork | pid_t child_pid | struct task_struct *parent, struct task_struct *child',
  `tracepoint:sched:sched_process_free | ${TASK} | struct task_struct *p`,
  'tracepoint:signal:signal_generate | int sig, pid_t pid | int sig, struct kernel_siginfo *info, struct task_struct *task',
  'tracepoint:oom:mark_victim | int pid, unsigned long total_vm | struct task_struct *task, uid_t uid',
  'tracepoint:sock:inet_sock_set_state | const void *skaddr, int oldstate | const struct sock *sk, const int oldstate',
  'tracepoint:sock:sock_rcvqueue_full | int rmem_alloc | struct sock *sk, struct sk_buff *skb',
  'tracepoint:tcp:tcp_retransmit_skb | const void *skbaddr, const void *skaddr | const struct sock *sk, const struct sk_buff *skb',
  'tracepoint:skb:kfree_skb | void *skbaddr, void *rx_sk | struct sk_buff *skb, struct sock *rx_sk',
  'tracepoint:net:net_dev_queue | void *skbaddr, unsigned int len | struct sk_buff *skb',
  'tracepoint:net:net_dev_xmit_timeout | int queue_index | struct net_device *dev, int queue_index',
  'rawtracepoint:net_dev_queue | struct sk_buff *skb | struct sk_buff *skb',
  'tracepoint:block:block_rq_issue | dev_t dev, sector_t sector, char[10] rwbs | struct request *rq',
  'tracepoint:block:block_rq_complete | dev_t dev, sector_t sector | struct request *rq, blk_status_t error, unsigned int nr_bytes',
  'tracepoint:block:block_bio_queue | dev_t dev, sector_t sector | struct bio *bio',
  'tracepoint:block:block_io_done | dev_t dev, sector_t sector | struct request *rq',
  'rawtracepoint:block_rq_issue | struct request *rq | struct request *rq',
  'tracepoint:irq:softirq_entry | unsigned int vec | unsigned int vec_nr',
  'tracepoint:cgroup:cgroup_mkdir | u64 id | struct cgroup *cgrp, const char *path',
  'kprobe:vfs_read | | struct file *file, char *buf',
  'kretprobe:vfs_read | |',
  'kprobe:tcp_connect | | struct sock *sk',
  'kprobe:ip_rcv | | struct sk_buff *skb, struct net_device *dev',
  'kprobe:wake_up_new_task | | struct task_struct *p',
  'kprobe:blk_mq_start_request | | struct request *rq',
  'kprobe:handle_softirqs | |',
  'kprobe:do_softirq | |',
  'fentry:tcp_connect | struct sock *sk | struct sock *sk',
].map(pointOf);

const lookUp: ScopeRequest['points'] = (attach) => {
  const pattern = pointName(attach)
    .replace(/[^\w*]/g, '\\$&')
    .replaceAll('*', '.*');
  return POINTS.filter(({ name }) => new RegExp(`^${pattern}$`).test(name));
};

export interface Given {
  readonly target?: Partial<ScopeTarget>;
  readonly kernel?: Partial<ScopeKernel>;
  readonly unscoped?: 'refuse' | 'allow';
  readonly strangers?: 'hide' | 'show';
  /** `node` for a pod with hostNetwork. */
  readonly network?: 'own' | 'node';
}

export const GROUP = { id: 42n, level: 3 };

/** Scopes a program for a pod with a network namespace on a node with Linux 6.18. */
export function scope(
  source: string,
  { target, kernel, unscoped = 'refuse', strangers = 'show', network = 'own' }: Given = {},
): Scoped {
  return scopeTree(parseTree(source), source, {
    target: { groups: [GROUP], ...(network === 'own' && { netns: 7n }), ...target },
    kernel: { cgroups: 'ancestors', nestedPids: false, has: () => true, ...kernel },
    points: lookUp,
    unscoped,
    strangers,
  });
}

/** What a program becomes, without its layout. */
export const scoped = (source: string, given?: Given): string =>
  printTree(scope(source, given).tree).text.replace(/\s+/g, ' ').trim();

/** The predicates that a program's probes get, in order. */
export const predicates = (source: string, given?: Given): readonly (string | undefined)[] =>
  scope(source, given).tree.probes.map(({ predicate }) => predicate && printExpression(predicate).replace(/\s+/g, ' '));
