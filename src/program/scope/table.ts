import type { Point, ScopeClass } from './scope.ts';

/** What is known of attach points by their names, where what they hand over does not tell the owner. */
export interface Row {
  /** `category:name` of a tracepoint, `kernel:name` of a kernel function; `*` stands for anything. */
  readonly pattern: string;
  readonly class: ScopeClass;
  /** Which of the tasks or other arguments is the owner, where it is not the first of its type. */
  readonly by?: 'current or first' | 'key';
  readonly owner?: string;
  /** What a reader of the counts must know. */
  readonly note?: string;
  /** For class N: why, and what to use instead. */
  readonly why?: string;
  readonly instead?: string;
}

const CPU_TIME = 'profile:hz:99, which samples what the target runs';
const SYSCALLS = 'the tracepoint:syscalls:sys_enter_NAME of the call that causes it';
const KWORKERS = 'what kernel threads do for the target is not counted';

const NO_BIO = 'the request has given up what tells its cgroup';
export const BY_KEY =
  'a key that the issuing probe stored, in the predicate: /@start[args.dev, args.sector]/ or /@start[arg0]/';

const T = (pattern: string, note?: string): Row => ({ pattern, class: 'T', ...(note === undefined ? {} : { note }) });
const A = (pattern: string, owner: string): Row => ({ pattern, class: 'A', owner });
const S = (pattern: string): Row => ({ pattern, class: 'S' });
const B = (pattern: string): Row => ({ pattern, class: 'B' });
const COMPLETES = (pattern: string): Row => ({ pattern, class: 'B', by: 'key' });
const N = (pattern: string, why: string, instead?: string): Row => ({
  pattern,
  class: 'N',
  why,
  ...(instead === undefined ? {} : { instead }),
});

/** The first row that fits counts. A socket, packet or request that a probe hands over decides before the table does. */
const ROWS: readonly Row[] = [
  T('syscalls:*'),
  T('raw_syscalls:*'),
  T('vsyscall:*'),
  T('exceptions:page_fault_user'),
  T('exceptions:page_fault_kernel'),
  T('exceptions:*'),
  T('signal:signal_generate', 'counts signals that the target sends; signal:signal_deliver counts those it gets'),
  T('signal:signal_deliver'),
  T('task:*'),
  T('sched:sched_process_exec'),
  T('sched:sched_prepare_exec'),
  T('sched:sched_process_exit'),
  T('sched:sched_process_wait'),
  T('sched:sched_process_fork', 'counts what tasks of the target start'),
  A('sched:sched_switch', 'task that is switched'),
  A('sched:sched_wakeup', 'woken task'),
  A('sched:sched_wakeup_new', 'woken task'),
  A('sched:sched_waking', 'woken task'),
  A('sched:sched_process_free', 'freed task'),
  A('sched:sched_process_hang', 'hung task'),
  A('sched:sched_migrate_task', 'moved task'),
  A('sched:sched_wait_task', 'awaited task'),
  A('sched:sched_stat_*', 'task that is accounted'),
  A('sched:sched_pi_setprio', 'task with the priority'),
  A('sched:sched_move_numa', 'moved task'),
  A('sched:sched_stick_numa', 'moved task'),
  A('sched:sched_swap_numa', 'moved task'),
  A('sched:sched_skip_cpuset_numa', 'task that stays'),
  A('sched:sched_set_state_tp', 'task that changes'),
  A('sched:sched_set_need_resched_tp', 'task that is interrupted'),
  A('oom:mark_victim', 'killed task'),
  N('oom:*', 'it names its process by number only', 'tracepoint:signal:signal_deliver /args.sig == 9/'),
  N('sched:*', 'it belongs to a CPU or to a kernel thread', 'sched:sched_switch or sched:sched_wakeup'),
  S('sock:*'),
  S('udp:udp_fail_queue_rcv_skb'),
  T('tcp:tcp_sendmsg_locked'),
  N('napi:*', 'a network device is polled for everybody', 'tracepoint:net:netif_receive_skb'),
  N('net:*', 'it hands over no packet', 'tracepoint:net:netif_receive_skb'),
  N('neigh:*', 'it hands over no packet and no socket', 'tracepoint:skb:kfree_skb'),
  N('fib:*', 'routes are looked up for everybody', 'tracepoint:net:net_dev_queue'),
  N('fib6:*', 'routes are looked up for everybody', 'tracepoint:net:net_dev_queue'),
  N('bridge:*', 'a bridge belongs to the node', 'tracepoint:net:net_dev_queue'),
  N('xdp:*', 'it runs before a packet has an owner', 'tracepoint:net:netif_receive_skb'),
  N('page_pool:*', 'pages of a network device belong to nobody'),
  T('block:block_plug'),
  T('block:block_unplug'),
  T('block:block_touch_buffer'),
  T('block:block_dirty_buffer'),
  COMPLETES('block:block_rq_complete'),
  COMPLETES('block:block_rq_error'),
  COMPLETES('block:block_rq_requeue'),
  N('block:block_io_done', NO_BIO, BY_KEY),
  COMPLETES('block:block_bio_complete'),
  B('block:block_*'),
  T('writeback:balance_dirty_pages'),
  T('writeback:writeback_dirty_*'),
  T('writeback:writeback_mark_inode_dirty'),
  N('writeback:*', 'kernel threads write back for everybody', 'tracepoint:syscalls:sys_enter_fsync'),
  T('ext4:*_file_*', KWORKERS),
  T('ext4:ext4_sync_file_*', KWORKERS),
  T('ext4:ext4_da_write_*', KWORKERS),
  T('xfs:*_file_*', KWORKERS),
  T('btrfs:*_file_*', KWORKERS),
  N('ext4:*', 'kernel threads do most of it for everybody', 'tracepoint:syscalls:sys_enter_fsync'),
  N('xfs:*', 'kernel threads do most of it for everybody', 'tracepoint:syscalls:sys_enter_fsync'),
  N('btrfs:*', 'kernel threads do most of it for everybody', 'tracepoint:syscalls:sys_enter_fsync'),
  T('filemap:*', KWORKERS),
  T('readahead:*', KWORKERS),
  T('pagemap:*', KWORKERS),
  T('jbd2:*', KWORKERS),
  T('vmscan:mm_vmscan_direct_reclaim_*'),
  T('vmscan:mm_vmscan_memcg_*'),
  N('vmscan:*', 'memory is reclaimed for the whole node', 'tracepoint:vmscan:mm_vmscan_direct_reclaim_begin'),
  N('compaction:*', 'memory is compacted for the whole node', 'tracepoint:vmscan:mm_vmscan_direct_reclaim_begin'),
  T('kmem:rss_stat', 'args.curr tells whether the memory is the task’s own'),
  T('kmem:*', 'what interrupts allocate is charged to the task that they interrupt'),
  T('capability:*'),
  T('lock:*', 'locks of interrupts are charged to the task that they interrupt; args.flags tells them'),
  T('io_uring:io_uring_submit*'),
  T('io_uring:io_uring_create'),
  T('io_uring:io_uring_register'),
  T('io_uring:io_uring_file_get'),
  T('io_uring:io_uring_cqring_wait'),
  N('io_uring:*', 'rings are also worked on by kernel threads', 'tracepoint:io_uring:io_uring_submit_req'),
  T('filelock:*'),
  T('percpu:*'),
  T('mmap:*'),
  T('mmap_lock:*'),
  T('rseq:*'),
  T('avc:*'),
  T('fuse:fuse_request_send'),
  T('netlink:netlink_extack'),
  N('cgroup:*', 'whoever changes a cgroup is seldom in it'),
  N('memcg:*', 'memory is counted for a cgroup at any time', 'tracepoint:kmem:rss_stat'),
  N('irq:*', 'interrupts come for the whole CPU', CPU_TIME),
  N('irq_vectors:*', 'interrupts come for the whole CPU', CPU_TIME),
  N('nmi:*', 'interrupts come for the whole CPU', CPU_TIME),
  N('timer:*', 'timers fire in whatever runs', SYSCALLS),
  N('hrtimer:*', 'timers fire in whatever runs', SYSCALLS),
  N('workqueue:*', 'kernel threads work for everybody', CPU_TIME),
  N('rcu:*', 'it belongs to a CPU', CPU_TIME),
  N('power:*', 'it belongs to a CPU', CPU_TIME),
  N('ipi:*', 'it belongs to a CPU', CPU_TIME),
  N('clk:*', 'it belongs to a device'),

  A('kernel:wake_up_new_task', 'woken task'),
  A('kernel:try_to_wake_up', 'woken task'),
  A('kernel:ttwu_do_activate', 'woken task'),
  A('kernel:ttwu_do_wakeup', 'woken task'),
  A('kernel:wake_up_process', 'woken task'),
  { ...A('kernel:finish_task_switch*', 'task that is switched'), by: 'current or first' },
  N('kernel:oom_kill_process', 'the current task is not the one that is killed', 'tracepoint:oom:mark_victim'),
  N('kernel:*_softirq', 'interrupts come for the whole CPU', CPU_TIME),
  N('kernel:*_softirqs', 'interrupts come for the whole CPU', CPU_TIME),
  N('kernel:*_interrupt', 'interrupts come for the whole CPU', CPU_TIME),
  N('kernel:tick_*', 'interrupts come for the whole CPU', CPU_TIME),
  N('kernel:run_timer*', 'timers fire in whatever runs', SYSCALLS),
  N('kernel:*hrtimer_*', 'timers fire in whatever runs', SYSCALLS),
  B('kernel:blk_mq_submit_bio'),
  B('kernel:*blk_account_io_start'),
  B('kernel:blk_mq_start_request'),
  B('kernel:submit_bio*'),
  N('kernel:*blk_mq_end_request*', NO_BIO, BY_KEY),
  N('kernel:*blk_account_io_done', NO_BIO, BY_KEY),
  N('kernel:process_one_work', 'kernel threads work for everybody', CPU_TIME),
  T('kernel:vfs_*', KWORKERS),
  T('kernel:do_sys_*'),
  T('kernel:do_syscall_*'),
  T('kernel:ksys_*'),
  T('kernel:__x64_sys_*'),
  T('kernel:__arm64_sys_*'),
  T('kernel:__se_sys_*'),
  T('kernel:security_*'),
  T('kernel:cap_capable'),
];

const FUNCTION_KINDS = ['kprobe', 'kretprobe', 'fentry', 'fexit'];

const PATTERNS = ROWS.map((row) => ({
  row,
  whole: toRegExp(row.pattern),
  name: toRegExp(row.pattern.slice(row.pattern.indexOf(':') + 1)),
  isNamed: !row.pattern.endsWith(':*'),
}));

function toRegExp(glob: string): RegExp {
  return new RegExp(`^${glob.replaceAll('*', '.*')}$`);
}

/** What the table says of an attach point; a raw tracepoint is looked up by its name, since it has no category. */
export function rowOf({ name }: Pick<Point, 'name'>): Row | undefined {
  const [kind = '', ...parts] = name.split(':');
  const last = (parts.at(-1) ?? '').replace(/\+.*$/, '');
  if (kind === 'tracepoint') return PATTERNS.find(({ whole }) => whole.test(parts.join(':')))?.row;
  if (FUNCTION_KINDS.includes(kind)) return PATTERNS.find(({ whole }) => whole.test(`kernel:${last}`))?.row;
  if (kind !== 'rawtracepoint') return undefined;
  if (last === 'sys_enter' || last === 'sys_exit') return T('raw_syscalls:*');
  return PATTERNS.find(
    ({ row, name: named, isNamed }) => isNamed && !row.pattern.startsWith('kernel:') && named.test(last),
  )?.row;
}
