/**
 * What a value is to the pod tier: `number` and `string` are harmless, `opaque` may be a pointer and is not followed, `text`
 * is a string of the kernel that belongs to the event, `list` a tuple, record or pair; `TYPE` is a structure that belongs to
 * the event and `TYPE *` a pointer to it. What begins with `user ` is in the memory of the traced process.
 */
export type Kind = string;

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

const type = (values: string, links: Readonly<Record<string, Kind>> = {}): ReadonlyMap<string, Kind> =>
  new Map([...words(values).map((field): [string, Kind] => [field, 'number']), ...Object.entries(links)]);

const SOCK_ADDRESS = { in6_u: 'union in6_u' };

/**
 * Fields that may be read from what a probe hands over. All that can be reached here belongs to the same task, socket,
 * packet, request or file; nothing leads to a neighbour, to payload or to secrets. Field names are those of Linux 5.10 to
 * 6.18; one that a kernel has not is an error of the compiler.
 */
export const GRAPH: ReadonlyMap<string, ReadonlyMap<string, Kind>> = new Map([
  [
    'struct sock',
    type(
      'sk_rcvbuf sk_sndbuf sk_wmem_queued sk_forward_alloc sk_ack_backlog sk_max_ack_backlog sk_protocol sk_type sk_state sk_family sk_err sk_err_soft sk_shutdown sk_mark sk_priority sk_rcvlowat sk_rcvtimeo sk_sndtimeo sk_drops sk_pacing_rate sk_max_pacing_rate sk_incoming_cpu sk_uid sk_lingertime sk_gso_max_size sk_reserved_mem',
      {
        __sk_common: 'struct sock_common',
        sk_backlog: 'struct sk_backlog',
        sk_receive_queue: 'struct sk_buff_head',
        sk_write_queue: 'struct sk_buff_head',
        sk_rmem_alloc: 'atomic_t',
        sk_wmem_alloc: 'atomic_t',
      },
    ),
  ],
  [
    'struct sock_common',
    type(
      'skc_daddr skc_rcv_saddr skc_dport skc_num skc_family skc_state skc_hash skc_bound_dev_if skc_reuse skc_reuseport',
      {
        skc_v6_daddr: 'struct in6_addr',
        skc_v6_rcv_saddr: 'struct in6_addr',
        skc_net: 'possible_net_t',
      },
    ),
  ],
  ['struct in6_addr', type('', SOCK_ADDRESS)],
  ['union in6_u', type('', { u6_addr8: 'array', u6_addr16: 'array', u6_addr32: 'array' })],
  ['possible_net_t', type('', { net: 'struct net *' })],
  ['struct net', type('', { ns: 'struct ns_common' })],
  ['struct ns_common', type('inum')],
  ['struct sk_backlog', type('len', { rmem_alloc: 'atomic_t' })],
  ['struct sk_buff_head', type('qlen')],
  ['atomic_t', type('counter')],
  [
    'struct inet_sock',
    type('inet_saddr inet_sport inet_dport inet_num inet_daddr inet_rcv_saddr uc_ttl tos min_ttl', {
      sk: 'struct sock',
    }),
  ],
  [
    'struct inet_connection_sock',
    type(
      'icsk_rto icsk_retransmits icsk_backoff icsk_syn_retries icsk_pending icsk_probes_out icsk_pmtu_cookie icsk_timeout',
      {
        icsk_inet: 'struct inet_sock',
      },
    ),
  ],
  [
    'struct tcp_sock',
    type(
      'srtt_us mdev_us mdev_max_us rttvar_us snd_cwnd snd_ssthresh snd_wnd rcv_wnd snd_una snd_nxt rcv_nxt copied_seq write_seq packets_out retrans_out lost_out sacked_out total_retrans bytes_sent bytes_acked bytes_received bytes_retrans segs_in segs_out data_segs_in data_segs_out delivered delivered_ce lost reordering mss_cache advmss max_window window_clamp rcv_ssthresh rcv_ooopack dsack_dups reord_seen busy_start app_limited rate_delivered rate_interval_us nonagle keepalive_time syn_retries',
      { inet_conn: 'struct inet_connection_sock' },
    ),
  ],
  ['struct udp_sock', type('pending corkflag encap_type len gso_size forward_deficit', { inet: 'struct inet_sock' })],
  ['struct socket', type('state type flags', { sk: 'struct sock *' })],
  [
    'struct sk_buff',
    type(
      'len data_len mac_len hdr_len truesize protocol mark priority queue_mapping hash pkt_type ip_summed skb_iif vlan_tci cloned',
      {
        dev: 'struct net_device *',
      },
    ),
  ],
  ['struct net_device', type('ifindex mtu flags', { name: 'text' })],
  [
    'struct request',
    type(
      '__data_len __sector cmd_flags rq_flags timeout start_time_ns io_start_time_ns alloc_time_ns tag internal_tag deadline',
      {
        q: 'struct request_queue *',
        rq_disk: 'struct gendisk *',
        part: 'struct block_device *',
        bio: 'struct bio *',
      },
    ),
  ],
  ['struct request_queue', type('nr_requests', { disk: 'struct gendisk *' })],
  ['struct gendisk', type('major first_minor', { disk_name: 'text' })],
  ['struct block_device', type('bd_dev', { bd_disk: 'struct gendisk *' })],
  ['struct bio', type('bi_opf bi_flags bi_status', { bi_iter: 'struct bvec_iter', bi_bdev: 'struct block_device *' })],
  ['struct bvec_iter', type('bi_sector bi_size')],
  ['struct file', type('f_flags f_mode f_pos', { f_path: 'struct path', f_inode: 'struct inode *' })],
  ['struct path', type('', { dentry: 'struct dentry *' })],
  [
    'struct dentry',
    type('', {
      d_name: 'struct qstr',
      d_iname: 'text',
      d_parent: 'struct dentry *',
      d_inode: 'struct inode *',
      d_sb: 'struct super_block *',
    }),
  ],
  ['struct qstr', type('len hash', { name: 'text' })],
  ['struct inode', type('i_ino i_size i_mode i_nlink i_blocks i_rdev i_flags', { i_sb: 'struct super_block *' })],
  ['struct super_block', type('s_magic s_dev s_blocksize', { s_id: 'text' })],
  [
    'struct task_struct',
    type(
      'pid tgid exit_code exit_signal start_time start_boottime nvcsw nivcsw min_flt maj_flt utime stime prio static_prio normal_prio rt_priority policy flags __state state on_cpu recent_used_cpu wake_cpu in_iowait',
      {
        comm: 'text',
        group_leader: 'struct task_struct *',
        se: 'struct sched_entity',
        sched_info: 'struct sched_info',
        nsproxy: 'struct nsproxy *',
        mm: 'struct mm_struct *',
      },
    ),
  ],
  ['struct sched_entity', type('sum_exec_runtime vruntime nr_migrations exec_start')],
  ['struct sched_info', type('pcount run_delay last_arrival last_queued')],
  [
    'struct nsproxy',
    type('', {
      pid_ns_for_children: 'struct pid_namespace *',
      net_ns: 'struct net *',
      uts_ns: 'struct uts_namespace *',
      mnt_ns: 'struct mnt_namespace *',
      ipc_ns: 'struct ipc_namespace *',
    }),
  ],
  ['struct pid_namespace', type('level', { ns: 'struct ns_common' })],
  ['struct mnt_namespace', type('', { ns: 'struct ns_common' })],
  ['struct ipc_namespace', type('', { ns: 'struct ns_common' })],
  ['struct uts_namespace', type('', { ns: 'struct ns_common', name: 'struct new_utsname' })],
  ['struct new_utsname', type('', { nodename: 'text', release: 'text' })],
  ['struct mm_struct', type('total_vm locked_vm pinned_vm data_vm exec_vm stack_vm hiwater_rss hiwater_vm map_count')],
  ['user struct sockaddr', type('sa_family')],
  ['user struct sockaddr_in', type('sin_family sin_port', { sin_addr: 'user struct in_addr' })],
  ['user struct in_addr', type('s_addr')],
  [
    'user struct sockaddr_in6',
    type('sin6_family sin6_port sin6_flowinfo sin6_scope_id', { sin6_addr: 'user struct in6_addr' }),
  ],
  ['user struct in6_addr', type('', { in6_u: 'user union in6_u' })],
  ['user union in6_u', type('', { u6_addr8: 'array', u6_addr16: 'array', u6_addr32: 'array' })],
  ['user struct sockaddr_un', type('sun_family', { sun_path: 'user text' })],
  ['user struct __kernel_timespec', type('tv_sec tv_nsec')],
]);

/** As what a pointer may be read beside its own type: structures that begin with one another. */
const CASTS: Readonly<Record<string, readonly string[]>> = {
  'struct sock *': ['struct sock_common *', 'struct inet_sock *'],
  'user struct sockaddr *': ['user struct sockaddr_in *', 'user struct sockaddr_in6 *', 'user struct sockaddr_un *'],
};

/** Larger than other sockets, so they are read only where the probe is about sockets of that protocol. */
const TCP: readonly string[] = ['struct tcp_sock *', 'struct inet_connection_sock *'];
const UDP: readonly string[] = ['struct udp_sock *'];

/** Whether a pointer of kind `from` may be read as the type `to`, in a probe that is about sockets of `protocol`. */
export function mayCast(from: Kind, to: string, protocol: 'tcp' | 'udp' | undefined): Kind | undefined {
  const kind = from.startsWith('user ') ? `user ${to}` : to;
  const others = CASTS[from] ?? [];
  if (kind === from || others.includes(kind)) return kind;
  if (from !== 'struct sock *') return undefined;
  const larger = protocol === 'tcp' ? TCP : protocol === 'udp' ? UDP : [];
  return larger.includes(kind) ? kind : undefined;
}
