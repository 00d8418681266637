import type { AttachPoint } from '../tree.ts';
import { pointOf } from '../tree.ts';
import { cast } from './operand.ts';
import type { Point } from './scope.ts';
import type { Uses } from './uses.ts';

/** A tracepoint as the raw tracepoint of its name, which hands over the pointers that the format leaves out. */
export interface Translation {
  readonly point: AttachPoint;
  /** What `args.NAME` becomes. */
  readonly fields: Readonly<Record<string, string>>;
  /** What a builtin becomes, by its name. */
  readonly builtins: Readonly<Record<string, string>>;
}

const task = (at: number) => cast('struct task_struct', `arg${at}`);
const sock = (at: number) => cast('struct sock', `arg${at}`);
const request = cast('struct request', 'arg0');
const bio = (at: number) => cast('struct bio', `arg${at}`);

const PACKET = cast('struct sk_buff', 'arg2');
const UDP = cast('struct udphdr', `(${PACKET}->head + ${PACKET}->transport_header)`);

const TASK = { comm: `${task(0)}->comm`, pid: `${task(0)}->pid`, prio: `${task(0)}->prio` };
// The other task may be none at all.
const PAIR = {
  src_pid: TASK.pid,
  src_tgid: `${task(0)}->tgid`,
  src_cpu: '(int32)arg1',
  dst_cpu: '(int32)arg3',
};
const WOKEN = { ...TASK, target_cpu: `(int32)${task(0)}->thread_info.cpu` };
const WAITED = { comm: TASK.comm, pid: TASK.pid, delay: 'arg1' };
const REQUEST = {
  dev: `${request}->q->disk->part0->bd_dev`,
  sector: `${request}->__sector`,
  nr_sector: `(${request}->__data_len >> 9)`,
};
const ISSUED = { ...REQUEST, bytes: `${request}->__data_len`, comm: 'comm' };
const COMPLETED = { ...REQUEST, nr_sector: '((uint32)arg2 >> 9)' };
const bioFields = (at: number) => ({
  dev: `${bio(at)}->bi_bdev->bd_dev`,
  sector: `${bio(at)}->bi_iter.bi_sector`,
  nr_sector: `(${bio(at)}->bi_iter.bi_size >> 9)`,
});
const QUEUED = { ...bioFields(0), comm: 'comm' };

/**
 * What the kernel puts into a tracepoint's fields, read from the raw arguments (TP_fast_assign in include/trace/events).
 * Fields that take more than reads, such as `rwbs`, are left out.
 */
const FIELDS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'sched:sched_wakeup': WOKEN,
  'sched:sched_wakeup_new': WOKEN,
  'sched:sched_waking': WOKEN,
  'sched:sched_process_free': TASK,
  'sched:sched_wait_task': TASK,
  'sched:sched_process_hang': { comm: TASK.comm, pid: TASK.pid },
  'sched:sched_migrate_task': { ...TASK, orig_cpu: `(int32)${task(0)}->thread_info.cpu`, dest_cpu: '(int32)arg1' },
  'sched:sched_stat_runtime': { comm: TASK.comm, pid: TASK.pid, runtime: 'arg1' },
  'sched:sched_stat_wait': WAITED,
  'sched:sched_stat_sleep': WAITED,
  'sched:sched_stat_blocked': WAITED,
  'sched:sched_stat_iowait': WAITED,
  'sched:sched_pi_setprio': { comm: TASK.comm, pid: TASK.pid, oldprio: TASK.prio },
  'sched:sched_move_numa': {
    pid: TASK.pid,
    tgid: `${task(0)}->tgid`,
    src_cpu: '(int32)arg1',
    dst_cpu: '(int32)arg2',
  },
  'sched:sched_stick_numa': PAIR,
  'sched:sched_swap_numa': PAIR,
  'oom:mark_victim': {
    pid: TASK.pid,
    comm: TASK.comm,
    uid: `${task(0)}->real_cred->uid.val`,
    oom_score_adj: `${task(0)}->signal->oom_score_adj`,
  },
  'sock:inet_sk_error_report': {
    error: `${sock(0)}->sk_err`,
    family: `${sock(0)}->__sk_common.skc_family`,
    protocol: `${sock(0)}->sk_protocol`,
    sport: `${sock(0)}->__sk_common.skc_num`,
    dport: `bswap(${sock(0)}->__sk_common.skc_dport)`,
  },
  'sock:sock_rcvqueue_full': {
    rmem_alloc: `${sock(0)}->sk_backlog.rmem_alloc.counter`,
    truesize: `${cast('struct sk_buff', 'arg1')}->truesize`,
    sk_rcvbuf: `${sock(0)}->sk_rcvbuf`,
  },
  'sock:sock_exceed_buf_limit': {
    name: `${cast('struct proto', 'arg1')}->name`,
    allocated: '(int64)arg2',
    kind: '(int32)arg3',
    rmem_alloc: `${sock(0)}->sk_backlog.rmem_alloc.counter`,
    wmem_alloc: `${sock(0)}->sk_wmem_alloc.refs.counter`,
    wmem_queued: `${sock(0)}->sk_wmem_queued`,
  },
  'udp:udp_fail_queue_rcv_skb': {
    rc: '(int32)arg0',
    family: `${sock(1)}->__sk_common.skc_family`,
    sport: `bswap(${UDP}->source)`,
    dport: `bswap(${UDP}->dest)`,
  },
  'block:block_rq_insert': ISSUED,
  'block:block_rq_issue': ISSUED,
  'block:block_rq_merge': ISSUED,
  'block:block_io_start': ISSUED,
  'block:block_io_done': ISSUED,
  'block:block_rq_requeue': REQUEST,
  'block:block_rq_complete': COMPLETED,
  'block:block_rq_error': COMPLETED,
  'block:block_bio_queue': QUEUED,
  'block:block_bio_frontmerge': QUEUED,
  'block:block_bio_backmerge': QUEUED,
  'block:block_getrq': QUEUED,
  'block:block_bio_complete': bioFields(1),
};

const PREV = task(1);
const NEXT = task(2);

/** TASK_REPORT_MAX for what was preempted, TASK_REPORT_IDLE for an idle kernel thread (__trace_sched_switch_state). */
const PREV_STATE = `(int64)((arg0 != 0) ? 256 : (((arg3 & 1026) == 1026) ? 128 : ((arg3 | (uint64)${PREV}->exit_state) & 127)))`;

/** The fields of `sched:sched_switch`, of tasks that may be shown as they are. */
export const SWITCH_FIELDS: Readonly<Record<string, string>> = {
  prev_comm: `${PREV}->comm`,
  prev_pid: `${PREV}->pid`,
  prev_prio: `${PREV}->prio`,
  prev_state: PREV_STATE,
  next_comm: `${NEXT}->comm`,
  next_pid: `${NEXT}->pid`,
  next_prio: `${NEXT}->prio`,
};

/** Names of fields that are used and have no translation; undefined where the event is used as a whole. */
function unknownFields(uses: Uses, fields: Readonly<Record<string, string>>): readonly string[] | undefined {
  return uses.whole ? undefined : [...uses.fields].filter((name) => !Object.hasOwn(fields, name));
}

/** The raw form of a tracepoint whose used fields can all be read there; otherwise why not. */
export function toRaw(
  { name, parameters }: Point,
  uses: Uses,
  fields: Readonly<Record<string, string>> = FIELDS[name.slice('tracepoint:'.length)] ?? {},
  builtins: Readonly<Record<string, string>> = {},
): Translation | { readonly why: string } {
  if (parameters.length === 0) return { why: 'the kernel does not tell the types of its raw arguments' };
  const unknown = unknownFields(uses, fields);
  if (unknown === undefined) return { why: '`args` as a whole cannot be read from its raw arguments' };
  if (unknown.length > 0) return { why: `\`args.${unknown[0]}\` cannot be read from its raw arguments` };
  return { point: pointOf('rawtracepoint', name.split(':').at(-1) ?? ''), fields, builtins };
}
