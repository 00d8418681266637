import { GRAPH, type Kind } from './graph.ts';

interface Parameter {
  readonly name: string;
  readonly kind: Kind;
}

/** A kernel function that the pod tier may probe. Parameters that kernels differ on are left out. */
export interface KernelFunction {
  readonly parameters: readonly Parameter[];
  readonly returns: Kind;
}

// As Linux 5.10 to 6.18 declare them. What is about sockets, packets or requests is scoped by them, the rest by the task.
const PROTOTYPES = `
  int tcp_v4_connect(struct sock *sk, void *uaddr, int addr_len)
  int tcp_v6_connect(struct sock *sk, void *uaddr, int addr_len)
  int tcp_connect(struct sock *sk)
  int tcp_sendmsg(struct sock *sk, void *msg, size_t size)
  int tcp_sendmsg_locked(struct sock *sk, void *msg, size_t size)
  int tcp_recvmsg(struct sock *sk, void *msg, size_t len)
  int tcp_recvmsg_locked(struct sock *sk, void *msg, size_t len)
  void tcp_cleanup_rbuf(struct sock *sk, int copied)
  void tcp_close(struct sock *sk, long timeout)
  void tcp_shutdown(struct sock *sk, int how)
  void tcp_set_state(struct sock *sk, int state)
  int tcp_retransmit_skb(struct sock *sk, struct sk_buff *skb, int segs)
  int __tcp_retransmit_skb(struct sock *sk, struct sk_buff *skb, int segs)
  void tcp_rcv_established(struct sock *sk, struct sk_buff *skb)
  int tcp_v4_do_rcv(struct sock *sk, struct sk_buff *skb)
  int tcp_v6_do_rcv(struct sock *sk, struct sk_buff *skb)
  void tcp_send_probe0(struct sock *sk)
  void tcp_send_fin(struct sock *sk)
  void tcp_reset(struct sock *sk, struct sk_buff *skb)
  void tcp_drop(struct sock *sk, struct sk_buff *skb)
  void tcp_enter_loss(struct sock *sk)
  void tcp_retransmit_timer(struct sock *sk)
  struct sock *tcp_v4_syn_recv_sock(struct sock *sk, struct sk_buff *skb)
  struct sock *tcp_v6_syn_recv_sock(struct sock *sk, struct sk_buff *skb)
  struct sock *inet_csk_accept(struct sock *sk)
  int inet_listen(struct socket *sock, int backlog)
  int udp_sendmsg(struct sock *sk, void *msg, size_t len)
  int udpv6_sendmsg(struct sock *sk, void *msg, size_t len)
  int udp_recvmsg(struct sock *sk, void *msg, size_t len)
  int udpv6_recvmsg(struct sock *sk, void *msg, size_t len)
  int __udp_enqueue_schedule_skb(struct sock *sk, struct sk_buff *skb)
  int udp_queue_rcv_skb(struct sock *sk, struct sk_buff *skb)
  int unix_stream_sendmsg(struct socket *sock, void *msg, size_t len)
  int unix_stream_recvmsg(struct socket *sock, void *msg, size_t size)
  int unix_dgram_recvmsg(struct socket *sock, void *msg, size_t size)
  int unix_dgram_sendmsg(struct socket *sock, void *msg, size_t len)
  int sock_sendmsg(struct socket *sock, void *msg)
  int sock_recvmsg(struct socket *sock, void *msg)
  int ip_rcv(struct sk_buff *skb)
  int ip_do_fragment(void *net, struct sock *sk, struct sk_buff *skb)
  int tcp_v4_rcv(struct sk_buff *skb)
  int tcp_v6_rcv(struct sk_buff *skb)
  int udp_rcv(struct sk_buff *skb)
  int icmp_rcv(struct sk_buff *skb)
  void __icmp_send(struct sk_buff *skb_in, int type, int code, int info)
  void icmp_send(struct sk_buff *skb_in, int type, int code, int info)
  int __dev_queue_xmit(struct sk_buff *skb)
  int nf_hook_slow(struct sk_buff *skb)
  int __nf_conntrack_confirm(struct sk_buff *skb)

  ssize_t vfs_read(struct file *file, void *buf, size_t count)
  ssize_t vfs_write(struct file *file, void *buf, size_t count)
  int vfs_open(struct path *path, struct file *file)
  int vfs_fsync(struct file *file, int datasync)
  int vfs_fsync_range(struct file *file, loff_t start, loff_t end, int datasync)
  int vfs_create() int vfs_unlink() int vfs_rename() int vfs_mkdir() int vfs_rmdir() int vfs_symlink() int vfs_link()
  int vfs_getattr() int vfs_statx() int vfs_fallocate(struct file *file, int mode, loff_t offset, loff_t len)
  int vfs_truncate(struct path *path, loff_t length) ssize_t vfs_readv(struct file *file) ssize_t vfs_writev(struct file *file)
  int filp_close(struct file *filp)
  long do_sys_openat2(int dfd) long do_sys_open(int dfd) void do_filp_open(int dfd)
  int ext4_sync_file(struct file *file, loff_t start, loff_t end, int datasync)
  ssize_t ext4_file_read_iter() ssize_t ext4_file_write_iter() int ext4_file_open()
  ssize_t xfs_file_read_iter() ssize_t xfs_file_write_iter() int xfs_file_fsync(struct file *file) int xfs_file_open()
  ssize_t btrfs_file_read_iter() ssize_t btrfs_file_write_iter() int btrfs_sync_file(struct file *file)
  ssize_t nfs_file_read() ssize_t nfs_file_write() int nfs_file_fsync(struct file *file) int nfs_file_open() int nfs_getattr()
  int filemap_get_pages() int filemap_fault() int handle_mm_fault() int swap_readpage() void swap_read_folio()
  void io_schedule() long io_schedule_timeout() long schedule_timeout() void balance_dirty_pages_ratelimited()
  int try_to_free_mem_cgroup_pages() int mem_cgroup_out_of_memory()
  void down_read() void down_write() void mutex_lock() int mutex_lock_interruptible() long rwsem_down_read_slowpath()
  long rwsem_down_write_slowpath() long futex_wait() long futex_wait_queue() long do_futex()
  int cap_capable(void *cred, void *ns, int cap, int opts) int ns_capable()
  void seccomp_log(unsigned syscall, long signr, u32 action)
  int force_sig_fault(int sig, int code, long addr) void do_coredump() void do_exit(long code) void do_group_exit(int code)
  int __audit_seccomp() pid_t kernel_clone() int bprm_execve() long do_wait()
  int do_epoll_wait() int ep_poll() long do_sys_poll() long do_select() int inotify_handle_inode_event()

  void __blk_account_io_start(struct request *req) void __blk_account_io_done(struct request *req)
  void blk_account_io_start(struct request *req) void blk_account_io_done(struct request *req)
  void blk_mq_start_request(struct request *rq) void blk_mq_end_request(struct request *rq)
  void submit_bio(struct bio *bio) void submit_bio_noacct(struct bio *bio)
`;

function kindOf(type: string): Kind {
  if (!type.includes('*')) return 'number';
  const to = type.replace(/\s*\*$/, '');
  return GRAPH.has(to) ? `${to} *` : 'opaque';
}

function readParameter(text: string): Parameter {
  const { type = '', name = '' } = /^(?<type>.*?)(?<name>\w+)$/.exec(text.trim())?.groups ?? {};
  return { name, kind: kindOf(type.trim()) };
}

export const KERNEL_FUNCTIONS: ReadonlyMap<string, KernelFunction> = new Map(
  [...PROTOTYPES.matchAll(/([\w ]+?[ *]+)(\w+)\(([^)]*)\)/g)].map(([, type = '', name = '', list = '']) => [
    name,
    {
      parameters: list === '' ? [] : list.split(',').map(readParameter),
      returns: kindOf(type.trim()),
    },
  ]),
);

/** Functions that run in the task that called, whatever their number: where system calls begin, and those of files. */
export const IN_CALLER = /^(?:__(?:x64|arm64|se)_sys|ksys|vfs)_[\w*]+$/;
