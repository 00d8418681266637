/** Types of the kernel come from its BTF, so that its headers are not needed: the line is left out, and no file is read. */
export const KERNEL_HEADER = /^#\s*include\s*<(?:linux|net|uapi|asm|asm-generic|trace)\/[\w/-]+\.h>\s*(?:\/[/*].*)?$/;

const FAMILIES = { UNSPEC: 0, UNIX: 1, LOCAL: 1, INET: 2, INET6: 10, NETLINK: 16, PACKET: 17, VSOCK: 40 };

/** What such headers define and BTF does not hold, the same on all machines (include/linux/socket.h, asm-generic/errno.h, …). */
export const HEADER_CONSTANTS: ReadonlyMap<string, string> = new Map(
  [
    ...Object.entries(FAMILIES).map(([name, value]) => [`AF_${name}`, value] as const),
    ...Object.entries(FAMILIES).map(([name, value]) => [`PF_${name}`, value] as const),
    ...Object.entries({
      ...{ EPERM: 1, ENOENT: 2, EINTR: 4, EIO: 5, EAGAIN: 11, EWOULDBLOCK: 11, ENOMEM: 12, EACCES: 13, EEXIST: 17 },
      ...{ EINVAL: 22, ENFILE: 23, EMFILE: 24, ENOSPC: 28, EROFS: 30, EPIPE: 32, EADDRINUSE: 98, ECONNRESET: 104 },
      ...{ ETIMEDOUT: 110, ECONNREFUSED: 111, EHOSTUNREACH: 113, EINPROGRESS: 115 },
      ...{ SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGUSR1: 10, SIGSEGV: 11, SIGUSR2: 12 },
      ...{ SIGPIPE: 13, SIGALRM: 14, SIGTERM: 15, SIGCHLD: 17 },
      ...{ TASK_RUNNING: 0, TASK_INTERRUPTIBLE: 1, TASK_UNINTERRUPTIBLE: 2 },
    }),
  ].map(([name, value]) => [name, String(value)]),
);
