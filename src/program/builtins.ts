import { nearest } from './nearest.ts';

/** One name of the bpftrace language: what it does, where it works, and whether it may be used here. */
export interface Builtin {
  readonly name: string;
  readonly kind: 'function' | 'builtin' | 'map function' | 'statement';
  readonly signature: string;
  /** One line of ours. */
  readonly summary: string;
  /** The smallest program that uses it; for what is refused, the program that is refused. */
  readonly example: string;
  /** `node`: reads what does not belong to one pod, so it needs node rights. */
  readonly tier: 'any' | 'node';
  /** The probe kinds in which it works, where these are not all. */
  readonly probes?: readonly string[];
  /** What surprises people who use it. */
  readonly trap?: string;
  /** Why it is never allowed here. */
  readonly refused?: string;
  /** The kernel helper on which it depends, by its name in the kernel facts. */
  readonly needs?: string;
  /** The first bpftrace that has it, where 0.24 has not. */
  readonly since?: '0.25' | '0.26' | '0.27';
}

type Entry = Omit<Builtin, 'kind' | 'tier'> & { readonly tier?: 'node' };

const USER_PROBES = ['uprobe', 'uretprobe', 'usdt'];
const ENTRY_PROBES = ['kprobe', 'uprobe'];
const RETURN_PROBES = ['kretprobe', 'uretprobe', 'fexit'];
const ACTS = 'it acts on processes; this server only observes';

const FUNCTIONS: readonly Entry[] = [
  // Printing
  {
    name: 'print',
    signature: 'print(value) or print(@map [, top [, divisor]])',
    summary: 'Prints a value or a whole map; maps are printed at the end of a run anyway.',
    example: 'begin { print((pid, comm)); }',
    trap: 'with top it shows wrong rows when the values are narrower than 64 bits; print the whole map and cut later',
  },
  {
    name: 'printf',
    signature: 'printf("format", ...)',
    summary: 'Prints a formatted event; %s also takes enums, addresses and symbols, %r a buffer.',
    example: 'tracepoint:sched:sched_process_exec { printf("%d %s\\n", pid, comm); }',
    trap: 'events are lost when many are printed; count in a map instead, and print rarely',
  },
  {
    name: 'errorf',
    signature: 'errorf("format", ...)',
    summary: 'Prints an event that is marked as an error with its place in the program; the run goes on.',
    example: 'begin { errorf("unexpected %d", 1); }',
  },
  {
    name: 'warnf',
    signature: 'warnf("format", ...)',
    summary: 'Prints an event that is marked as a warning with its place in the program.',
    example: 'begin { warnf("unexpected %d", 1); }',
  },
  {
    name: 'time',
    signature: 'time(["format"])',
    summary: 'Prints the wall clock in strftime format.',
    example: 'begin { time("%H:%M:%S\\n"); }',
    trap: 'it is the time at which the event is read, not the one at which it happened; see strftime',
  },
  {
    name: 'debugf',
    signature: 'debugf("format", ...)',
    summary: 'Writes to the trace pipe of the kernel, which no answer shows; use printf.',
    example: 'begin { debugf("x"); }',
    tier: 'node',
  },
  {
    name: 'join',
    signature: 'join(char *array[] [, separator])',
    summary: 'Prints an array of strings, such as the arguments of an exec, as one line.',
    example: 'tracepoint:syscalls:sys_enter_execve { join(args.argv); }',
    trap: 'arguments that hold spaces cannot be told apart in its output',
  },
  {
    name: 'cat',
    signature: 'cat("path")',
    summary: 'Would print a file of this node.',
    example: 'begin { cat("/etc/hostname"); }',
    refused: 'it reads any file of the node',
  },

  // Time
  {
    name: 'nsecs',
    signature: 'nsecs or nsecs(monotonic | boot | tai | sw_tai)',
    summary: 'Nanoseconds since boot, or of the named clock.',
    example: 'begin { print(nsecs); print(nsecs(monotonic)); }',
  },
  {
    name: 'strftime',
    signature: 'strftime("format", nsecs)',
    summary: 'A timestamp of nsecs as text; %f is microseconds.',
    example: 'begin { printf("%s\\n", strftime("%H:%M:%S.%f", nsecs)); }',
    trap: 'the result can only be printed',
  },

  // Text and memory
  {
    name: 'str',
    signature: 'str(pointer [, length])',
    summary: 'The text at a pointer, up to its NUL, at most 1,024 bytes here.',
    example: 'tracepoint:syscalls:sys_enter_openat { print(str(args.filename)); }',
    trap: 'it is empty when the page is not in memory yet, as at the entry of a first access; read it at the exit',
  },
  {
    name: 'buf',
    signature: 'buf(data [, length])',
    summary: 'Bytes at a pointer or of an array; print them with %r, %rx or %rh.',
    example: 'begin { printf("%rx\\n", buf("abc", 3)); }',
  },
  {
    name: 'strlen',
    signature: 'strlen(text)',
    summary: 'The number of bytes before the NUL.',
    example: 'begin { print(strlen(comm)); }',
  },
  {
    name: 'strcap',
    signature: 'strcap(text)',
    summary: 'The number of bytes that the text has room for.',
    example: 'begin { print(strcap("abc")); }',
  },
  {
    name: 'strncmp',
    signature: 'strncmp(a, b, length)',
    summary: 'Would compare the first bytes of two texts.',
    example: 'begin { print(strncmp(comm, "java", 4)); }',
    refused: 'bpftrace 0.27.0 hardly ever compiles it; use == or strcontains',
  },
  {
    name: 'strcontains',
    signature: 'strcontains(text, part)',
    summary: 'True when the part occurs in the text.',
    example: 'begin { print(strcontains(comm, "java")); }',
  },
  {
    name: 'strstr',
    signature: 'strstr(text, part)',
    summary: 'The index of the part in the text, -1 when it does not occur.',
    example: 'begin { print(strstr(comm, "java")); }',
  },
  {
    name: 'str_concat',
    signature: 'str_concat(a, b)',
    summary: 'Both texts as one.',
    example: 'begin { print(str_concat("a", "b")); }',
    since: '0.27',
  },
  {
    name: 'memcmp',
    signature: 'memcmp(a, b, count)',
    summary: '0 when the first bytes of both values are equal.',
    example: 'begin { print(memcmp("ab", "ac", 1)); }',
  },
  {
    name: 'bswap',
    signature: 'bswap(integer)',
    summary: 'The integer with its bytes reversed, such as a port in network order.',
    example: 'begin { print(bswap((uint16)80)); }',
  },

  // Numbers that have names
  {
    name: 'strerror',
    signature: 'strerror(errno)',
    summary: 'The text of an error number; give it the positive number.',
    example: 'begin { print(strerror(2)); }',
  },
  {
    name: 'signal_name',
    signature: 'signal_name(number)',
    summary: 'The name of a signal.',
    example: 'begin { print(signal_name(9)); }',
    since: '0.26',
  },
  {
    name: 'syscall_name',
    signature: 'syscall_name(number)',
    summary: 'The name of a system call, such as for args.id of raw_syscalls.',
    example: 'tracepoint:raw_syscalls:sys_enter { @[syscall_name(args.id)] = count(); }',
    since: '0.25',
  },

  // Network
  {
    name: 'ntop',
    signature: 'ntop([family, ] address)',
    summary: 'An IPv4 or IPv6 address as text.',
    example: 'begin { print(ntop(0x0100007f)); }',
  },
  {
    name: 'pton',
    signature: 'pton("address")',
    summary: 'The bytes of an address that is written as text, for comparing.',
    example: 'begin { print(pton("127.0.0.1")); }',
  },
  {
    name: 'macaddr',
    signature: 'macaddr(char[6])',
    summary: 'A hardware address as text.',
    example: 'begin { print(macaddr((uint8 *)curtask)); }',
  },
  {
    name: 'socket_cookie',
    signature: 'socket_cookie(struct sock *)',
    summary: 'A number that names a socket for as long as it lives.',
    example: 'fentry:tcp_connect { @[socket_cookie(args.sk)] = count(); }',
    probes: ['fentry', 'fexit'],
    needs: 'get_socket_cookie',
  },

  // Stacks and symbols
  {
    name: 'kstack',
    signature: 'kstack or kstack([bpftrace | perf | raw, ] [depth])',
    summary: 'The kernel stack, as a map key or printed.',
    example: 'profile:hz:99 { @[kstack(5)] = count(); }',
    trap: 'each costs about 3 µs; different offsets in one function are different keys',
  },
  {
    name: 'ustack',
    signature: 'ustack or ustack([bpftrace | perf | raw, ] [depth])',
    summary: 'The stack of the process, as a map key or printed.',
    example: 'profile:hz:99 { @[ustack(5)] = count(); }',
    trap: "programs without frame pointers show one or two frames; frames are addresses without names, since the sandbox keeps bpftrace from the programs' files",
  },
  {
    name: 'dw_ustack',
    signature: 'dw_ustack or dw_ustack([mode, ] [depth])',
    summary: 'The stack of the process found through its debug tables.',
    example: 'profile:hz:99 { @[dw_ustack] = count(); }',
    trap: 'it is empty unless bpftrace was started for one process; use ustack',
    since: '0.26',
  },
  {
    name: 'ksym',
    signature: 'ksym(address)',
    summary: 'The name of the kernel function at an address.',
    example: 'tracepoint:skb:kfree_skb { @[ksym(args.location)] = count(); }',
  },
  {
    name: 'usym',
    signature: 'usym(address)',
    summary: 'The name of the function at an address of the process.',
    example: 'profile:hz:99 { @[usym(reg("ip"))] = count(); }',
    trap: "it is the address without a name, since the sandbox keeps bpftrace from the programs' files",
  },
  {
    name: 'kaddr',
    signature: 'kaddr("symbol")',
    summary: 'The address of a kernel symbol.',
    example: 'begin { print(kaddr("vfs_read")); }',
    tier: 'node',
  },
  {
    name: 'percpu_kaddr',
    signature: 'percpu_kaddr("symbol" [, cpu])',
    summary: 'The address of a kernel variable of one CPU; test it for 0 before reading.',
    example: 'begin { print(percpu_kaddr("runqueues")); }',
    tier: 'node',
  },
  {
    name: 'uaddr',
    signature: 'uaddr("symbol")',
    summary: 'The address of a variable of the traced program.',
    example: 'uprobe:LIBC:gethostid { print(uaddr("environ")); }',
    probes: USER_PROBES,
    tier: 'node',
  },
  {
    name: 'reg',
    signature: 'reg("name")',
    summary: 'A register of the CPU, such as ip or sp.',
    example: 'profile:hz:99 { print(reg("ip")); }',
    probes: [...ENTRY_PROBES, 'kretprobe', 'uretprobe', 'profile'],
    tier: 'node',
  },
  {
    name: 'kptr',
    signature: 'kptr(pointer)',
    summary: 'Says that a pointer leads into the kernel.',
    example: 'begin { $task = kptr(curtask); print($task); }',
    tier: 'node',
  },
  {
    name: 'uptr',
    signature: 'uptr(pointer)',
    summary: 'Says that a pointer leads into the process.',
    example: 'tracepoint:syscalls:sys_enter_openat { print(str(uptr(args.filename))); }',
    tier: 'node',
  },
  {
    name: 'path',
    signature: 'path(struct path * [, size])',
    summary: 'The full path of a file in the kernel.',
    example: 'fentry:filp_close { print(path(args.filp.f_path)); }',
    probes: ['fentry', 'fexit'],
    needs: 'd_path',
    trap: 'only a few kernel functions may use it; elsewhere take the path from a syscall tracepoint',
  },
  {
    name: 'is_err',
    signature: 'is_err(pointer)',
    summary: 'True when a pointer that a kernel function returned is an error number.',
    example: 'kretprobe:do_filp_open { @failed[is_err((void *)retval)] = count(); }',
    since: '0.26',
  },

  // Processes and cgroups
  {
    name: 'cgroup_path',
    signature: 'cgroup_path(id [, "filter"])',
    summary: 'The path of a cgroup id.',
    example: 'begin { print(cgroup_path(cgroup)); }',
    trap: 'the result can only be printed; as a map key it is found when the map is printed',
  },
  {
    name: 'cgroupid',
    signature: 'cgroupid("path")',
    summary: 'Would be the id of the cgroup at a path.',
    example: 'begin { print(cgroupid("/nonexistent")); }',
    refused: 'bpftrace crashes when the path is not there; compare cgroup with the number that stat -c %i prints',
  },

  // Types and compile time
  {
    name: 'sizeof',
    signature: 'sizeof(type or expression)',
    summary: 'The size in bytes.',
    example: 'begin { print(sizeof(struct task_struct)); }',
  },
  {
    name: 'offsetof',
    signature: 'offsetof(struct NAME, field)',
    summary: 'The offset of a field in bytes.',
    example: 'begin { print(offsetof(struct task_struct, comm)); }',
  },
  {
    name: 'typeof',
    signature: 'typeof(expression)',
    summary: 'The type of an expression, for a declaration or a cast.',
    example: 'begin { let $parent : typeof(pid) = 1; print($parent); }',
  },
  {
    name: 'is_str',
    signature: 'is_str(expression)',
    summary: 'True for text; known when the program is compiled.',
    example: 'begin { print(is_str("a")); }',
  },
  {
    name: 'is_ptr',
    signature: 'is_ptr(expression)',
    summary: 'True for a pointer; known when the program is compiled.',
    example: 'begin { print(is_ptr(curtask)); }',
  },
  {
    name: 'is_array',
    signature: 'is_array(expression)',
    summary: 'True for an array; known when the program is compiled.',
    example: 'begin { print(is_array(pton("::1"))); }',
  },
  {
    name: 'is_integer',
    signature: 'is_integer(expression)',
    summary: 'True for an integer; known when the program is compiled.',
    example: 'begin { print(is_integer(pid)); }',
  },
  {
    name: 'is_unsigned_integer',
    signature: 'is_unsigned_integer(expression)',
    summary: 'True for an unsigned integer; known when the program is compiled.',
    example: 'begin { print(is_unsigned_integer(nsecs)); }',
  },
  {
    name: 'is_literal',
    signature: 'is_literal(expression)',
    summary: 'True for something written out, such as 1 or "a".',
    example: 'begin { print(is_literal(1)); }',
  },
  {
    name: 'kfunc_exist',
    signature: 'kfunc_exist("name")',
    summary: 'Whether the kernel has a function for BPF programs.',
    example: 'begin { print(kfunc_exist("bpf_task_from_pid")); }',
    since: '0.25',
  },
  {
    name: 'kfunc_allowed',
    signature: 'kfunc_allowed("name")',
    summary: 'Whether this probe may call a kernel function for BPF programs.',
    example: 'begin { print(kfunc_allowed("bpf_task_from_pid")); }',
    since: '0.25',
  },
  {
    name: 'getopt',
    signature: 'getopt("name" [, default])',
    summary: 'An option of the command line; here always its default.',
    example: 'begin { print(getopt("limit", 10)); }',
  },
  {
    name: 'assert',
    signature: 'assert(condition, "message")',
    summary: 'Ends the run with an error when the condition is false.',
    example: 'begin { assert(ncpus > 0, "no CPU"); }',
  },
  {
    name: 'static_assert',
    signature: 'static_assert(condition, "message")',
    summary: 'Refuses to compile when the condition is false.',
    example: 'begin { static_assert(sizeof(pid) == 4, "pid has 4 bytes"); }',
  },
  {
    name: 'fail',
    signature: 'fail("format", ...)',
    summary: 'Refuses to compile when the compiler comes to it.',
    example: 'begin { if comptime (sizeof(pid) > 8) { fail("pid is too wide"); } }',
  },
  {
    name: 'exit',
    signature: 'exit([code])',
    summary: 'Ends the run; maps are kept.',
    example: 'begin { exit(); }',
    trap: 'not needed for a time limit: timeout ends the run, and an interval that calls exit() fails under load',
  },

  // Never
  {
    name: 'system',
    signature: 'system("command")',
    summary: 'Would run a command on this node.',
    example: 'begin { system("true"); }',
    refused: 'it runs commands on the node',
  },
  {
    name: 'signal',
    signature: 'signal(number)',
    summary: 'Would send a signal to the process.',
    example: 'tracepoint:sched:sched_process_exec { signal(10); }',
    refused: ACTS,
    needs: 'send_signal',
  },
  {
    name: 'signal_thread',
    signature: 'signal_thread(number)',
    summary: 'Would send a signal to the thread.',
    example: 'tracepoint:sched:sched_process_exec { signal_thread(10); }',
    refused: ACTS,
    needs: 'send_signal_thread',
    since: '0.25',
  },
  {
    name: 'override',
    signature: 'override(value)',
    summary: 'Would make a kernel function return without doing its work.',
    example: 'kprobe:vfs_read { override(1); }',
    probes: ['kprobe'],
    refused: ACTS,
    needs: 'override_return',
  },
  {
    name: 'write_user',
    signature: 'write_user(to, from, length)',
    summary: 'Would change the memory of a process.',
    example: 'begin { write_user(0, 0, 1); }',
    refused: ACTS,
    needs: 'probe_write_user',
    since: '0.26',
  },
  {
    name: 'skboutput',
    signature: 'skboutput("file", skb, length, offset)',
    summary: 'Would write packets to a file of this node.',
    example: 'fentry:__dev_queue_xmit { $failed = skboutput("out.pcap", args.skb, 64, 0); }',
    probes: ['fentry', 'fexit'],
    refused: 'it overwrites any file of the node',
  },
  {
    name: 'unwatch',
    signature: 'unwatch(address)',
    summary: 'Would remove a watchpoint.',
    example: 'watchpoint:0x1000:8:w { unwatch(0x1000); }',
    probes: ['watchpoint'],
    refused: 'bpftrace 0.27 crashes when it compiles it',
  },
];

const BUILTIN_VALUES: readonly Entry[] = [
  {
    name: 'args',
    signature: 'args.FIELD',
    summary: 'The arguments of the probe by name; list_probes with fields=true names them.',
    example: 'tracepoint:sched:sched_switch { @[args.next_pid] = count(); }',
    probes: ['tracepoint', 'rawtracepoint', 'fentry', 'fexit', 'uprobe'],
  },
  {
    name: 'arg0',
    signature: 'arg0, arg1, ... argN',
    summary: 'The arguments of a function by number.',
    example: 'kprobe:vfs_read { @[arg0] = sum(arg2); }',
    probes: [...ENTRY_PROBES, 'usdt', 'rawtracepoint'],
    tier: 'node',
  },
  {
    name: 'retval',
    signature: 'retval',
    summary: 'What the function returned.',
    example: 'kretprobe:vfs_read { @[retval < 0] = count(); }',
    probes: RETURN_PROBES,
  },
  {
    name: 'ctx',
    signature: 'ctx',
    summary: 'The raw context of the probe.',
    example: 'kprobe:vfs_read { $registers = ctx; print($registers->ip); }',
    probes: ['kprobe', 'kretprobe', 'uprobe', 'uretprobe', 'profile', 'software', 'hardware', 'tracepoint'],
    tier: 'node',
  },
  {
    name: 'func',
    signature: 'func',
    summary: 'The name of the traced function.',
    example: 'kprobe:vfs_read { @[func] = count(); }',
    probes: [...ENTRY_PROBES, 'kretprobe', 'uretprobe', 'fentry', 'fexit'],
  },
  {
    name: 'probe',
    signature: 'probe',
    summary: 'The full name of the probe that fired.',
    example: 'tracepoint:sched:sched_process_* { @[probe] = count(); }',
  },
  {
    name: 'probetype',
    signature: 'probetype',
    summary: 'The kind of the probe that fired.',
    example: 'begin { print(probetype); }',
    since: '0.25',
  },
  {
    name: 'pid',
    signature: 'pid or pid(curr_ns | init)',
    summary: 'The process id (thread group).',
    example: 'begin { print(pid); print(pid(init)); }',
  },
  {
    name: 'tid',
    signature: 'tid or tid(curr_ns | init)',
    summary: 'The thread id.',
    example: 'begin { print(tid); print(tid(init)); }',
  },
  {
    name: 'ppid',
    signature: 'ppid or ppid(task)',
    summary: 'The process id of the parent.',
    example: 'begin { print(ppid); }',
    tier: 'node',
  },
  {
    name: 'comm',
    signature: 'comm or comm(pid)',
    summary: 'The name of the thread, at most 15 bytes.',
    example: 'begin { print(comm); }',
    trap: 'threads name themselves, so one process may show many; group by pid to count processes',
  },
  {
    name: 'pcomm',
    signature: 'pcomm or pcomm(task)',
    summary: 'The name of the parent.',
    example: 'begin { print(pcomm); }',
    tier: 'node',
    since: '0.25',
  },
  {
    name: 'leader_tid',
    signature: 'leader_tid or leader_tid(task)',
    summary: 'The thread id of the main thread of the process.',
    example: 'begin { print(leader_tid); }',
    since: '0.26',
  },
  {
    name: 'leader_comm',
    signature: 'leader_comm or leader_comm(task)',
    summary: 'The name of the main thread of the process.',
    example: 'begin { print(leader_comm); }',
    since: '0.26',
  },
  {
    name: 'uid',
    signature: 'uid',
    summary: 'The user id, as the host sees it.',
    example: 'begin { print(uid); }',
  },
  {
    name: 'gid',
    signature: 'gid',
    summary: 'The group id, as the host sees it.',
    example: 'begin { print(gid); }',
  },
  {
    name: 'username',
    signature: 'username',
    summary: 'The name of the user, as the host knows it.',
    example: 'begin { print(username); }',
  },
  {
    name: 'cgroup',
    signature: 'cgroup',
    summary: 'The id of the cgroup (version 2) of the process.',
    example: 'begin { @[cgroup] = count(); }',
    needs: 'get_current_cgroup_id',
  },
  {
    name: 'curtask',
    signature: 'curtask->FIELD',
    summary: 'The struct task_struct of the thread that runs.',
    example: 'begin { print(curtask->nsproxy->count.refs.counter); }',
    tier: 'node',
  },
  {
    name: 'cpu',
    signature: 'cpu',
    summary: 'The number of the CPU.',
    example: 'begin { print(cpu); }',
  },
  {
    name: 'ncpus',
    signature: 'ncpus',
    summary: 'How many CPUs there are.',
    example: 'begin { print(ncpus); }',
  },
  {
    name: 'numaid',
    signature: 'numaid',
    summary: 'The number of the NUMA node.',
    example: 'begin { print(numaid); }',
  },
  {
    name: 'usermode',
    signature: 'usermode',
    summary: '1 when the program itself ran, 0 when the kernel did; x86_64 only.',
    example: 'profile:hz:99 { @[usermode] = count(); }',
  },
  {
    name: 'elapsed',
    signature: 'elapsed',
    summary: 'Nanoseconds since the run began.',
    example: 'begin { print(elapsed); }',
  },
  {
    name: 'jiffies',
    signature: 'jiffies',
    summary: 'The tick counter of the kernel.',
    example: 'begin { print(jiffies); }',
    needs: 'jiffies64',
  },
  {
    name: 'rand',
    signature: 'rand',
    summary: 'A random number, for sampling: /rand % 100 == 0/.',
    example: 'tracepoint:sched:sched_switch /rand % 100 == 0/ { @ = count(); }',
  },
  {
    name: 'config',
    signature: 'config.KEY',
    summary: 'The settings with which bpftrace runs.',
    example: 'begin { print(config.max_strlen); }',
    since: '0.27',
  },
  {
    name: 'cpid',
    signature: 'cpid',
    summary: 'The child of bpftrace; there is none here.',
    example: 'begin { print(cpid); }',
    tier: 'node',
  },
  {
    name: 'has_cpid',
    signature: 'has_cpid',
    summary: 'Meant to tell whether cpid is there.',
    example: 'begin { print(has_cpid); }',
    tier: 'node',
    trap: 'bpftrace 0.27 says it the wrong way round',
    since: '0.25',
  },
];

const MAP_FUNCTIONS: readonly Entry[] = [
  {
    name: 'count',
    signature: '@m[key] = count()',
    summary: 'Counts events; fast and exact on all CPUs.',
    example: 'tracepoint:sched:sched_switch { @[comm] = count(); }',
  },
  {
    name: 'sum',
    signature: '@m[key] = sum(n)',
    summary: 'Adds numbers up.',
    example: 'tracepoint:syscalls:sys_exit_read /args.ret > 0/ { @bytes[comm] = sum(args.ret); }',
  },
  {
    name: 'avg',
    signature: '@m[key] = avg(n)',
    summary: 'The mean, as an integer.',
    example: 'tracepoint:syscalls:sys_exit_read /args.ret > 0/ { @bytes[comm] = avg(args.ret); }',
    trap: 'a mean hides what is rare; use hist for latencies',
  },
  {
    name: 'min',
    signature: '@m[key] = min(n)',
    summary: 'The smallest number.',
    example: 'tracepoint:syscalls:sys_exit_read /args.ret > 0/ { @bytes[comm] = min(args.ret); }',
  },
  {
    name: 'max',
    signature: '@m[key] = max(n)',
    summary: 'The largest number.',
    example: 'tracepoint:syscalls:sys_exit_read /args.ret > 0/ { @bytes[comm] = max(args.ret); }',
  },
  {
    name: 'stats',
    signature: '@m[key] = stats(n)',
    summary: 'Count, mean and total at once.',
    example: 'tracepoint:syscalls:sys_exit_read /args.ret > 0/ { @bytes[comm] = stats(args.ret); }',
  },
  {
    name: 'hist',
    signature: '@m[key] = hist(n [, k])',
    summary: 'A histogram of powers of two; k from 0 to 5 makes 2^k steps in each.',
    example: 'tracepoint:syscalls:sys_exit_read /args.ret > 0/ { @bytes = hist(args.ret, 2); }',
    trap: 'each key takes one place in the map for every bucket that is used',
  },
  {
    name: 'lhist',
    signature: '@m[key] = lhist(n, min, max, step)',
    summary: 'A histogram of equal steps.',
    example: 'tracepoint:syscalls:sys_exit_read { @bytes = lhist(args.ret, 0, 4096, 256); }',
  },
  {
    name: 'tseries',
    signature: '@m[key] = tseries(n, interval, intervals [, "avg" | "max" | "min" | "sum"])',
    summary: 'A value for each of the last intervals, such as 1s or 100ms.',
    example: 'tracepoint:sched:sched_switch { @ = tseries(1, 1s, 10, "sum"); }',
  },
  {
    name: 'len',
    signature: 'len(@m) or len(kstack | ustack)',
    summary: 'How many keys a map has, or how many frames a stack has.',
    example: 'begin { @m[1] = 1; print(len(@m)); print(len(kstack)); }',
    needs: 'for_each_map_elem',
  },
  {
    name: 'stack_len',
    signature: 'stack_len(kstack | ustack)',
    summary: 'How many frames a stack has; len does the same.',
    example: 'begin { print(stack_len(kstack)); }',
  },
  {
    name: 'has_key',
    signature: 'has_key(@m, key)',
    summary: 'True when the map has the key; write several parts as (a, b).',
    example: 'begin { @m[1, 2] = 3; print(has_key(@m, (1, 2))); }',
  },
  {
    name: 'find',
    signature: 'find(@m, key, $value)',
    summary: 'True when the map has the key, and puts its value into the variable.',
    example: 'begin { @m[1] = 2; let $value; if (find(@m, 1, $value)) { print($value); } }',
    since: '0.25',
  },
  {
    name: 'delete',
    signature: 'delete(@m, key) or delete(@m)',
    summary: 'Removes a key; true when it was there. Write several parts as (a, b).',
    example: 'begin { @m[1, 2] = 3; delete(@m, (1, 2)); }',
  },
  {
    name: 'clear',
    signature: 'clear(@m)',
    summary: 'Removes all keys.',
    example: 'interval:s:1 { @m[1] = 1; print(@m); clear(@m); }',
    trap: 'it happens when the event is read, a little after the probe',
  },
  {
    name: 'zero',
    signature: 'zero(@m)',
    summary: 'Sets all values to 0 and keeps the keys.',
    example: 'interval:s:1 { @m[1] = 1; print(@m); zero(@m); }',
    trap: 'it happens when the event is read, a little after the probe',
  },
  {
    name: 'is_scalar',
    signature: 'is_scalar(@m)',
    summary: 'True for a map without keys; known when the program is compiled.',
    example: 'begin { @m = 1; print(is_scalar(@m)); }',
  },
];

const STATEMENTS: readonly Entry[] = [
  {
    name: 'if',
    signature: 'if (condition) { ... } else { ... }',
    summary: 'Chooses; a condition for the whole probe stands before its block: probe /condition/ { ... }.',
    example: 'begin { if (pid == 1) { print(1); } else { print(2); } }',
  },
  {
    name: 'for',
    signature: 'for ($kv : @m) { ... } or for ($i : 0..10) { ... }',
    summary: 'Goes over a map ($kv.0 is the key, $kv.1 the value) or over numbers.',
    example: 'begin { @m[1] = 2; for ($kv : @m) { print($kv.0); } for ($i : 0..3) { print($i); } }',
    needs: 'for_each_map_elem',
    trap: 'a map of hist, lhist or stats cannot be gone over',
  },
  {
    name: 'while',
    signature: 'while (condition) { ... }',
    summary: 'Repeats; for over numbers is preferred.',
    example: 'begin { $i = 0; while ($i < 3) { $i++; } }',
    tier: 'node',
  },
  {
    name: 'unroll',
    signature: 'unroll(times) { ... }',
    summary: 'Repeats a block by writing it out, at most 100 times.',
    example: 'begin { unroll(3) { print(1); } }',
  },
  {
    name: 'break',
    signature: 'break;',
    summary: 'Leaves the loop.',
    example: 'begin { for ($i : 0..3) { if ($i == 1) { break; } } }',
  },
  {
    name: 'continue',
    signature: 'continue;',
    summary: 'Goes on with the next round of the loop.',
    example: 'begin { for ($i : 0..3) { if ($i == 1) { continue; } print($i); } }',
  },
  {
    name: 'return',
    signature: 'return;',
    summary: 'Leaves the probe.',
    example: 'begin { if (pid == 1) { return; } print(1); }',
  },
  {
    name: 'let',
    signature: 'let $name : type = value; or, outside probes, let @m = lruhash(size);',
    summary: 'Declares a variable, or a map with its size; lruhash drops its oldest keys when it is full.',
    example: 'let @m = lruhash(100); begin { let $x : uint64 = 1; @m[$x] = 2; }',
  },
  {
    name: 'comptime',
    signature: 'if comptime (condition) { ... }',
    summary: 'Chooses when the program is compiled.',
    example: 'begin { if comptime (sizeof(pid) == 4) { print(1); } }',
  },
  {
    name: 'macro',
    signature: 'macro name(x, $variable, @map) { ... }',
    summary: 'A piece of program with a name; its last expression is its value.',
    example: 'macro twice(x) { x * 2 } begin { print(twice(4)); }',
  },
  {
    name: 'struct',
    signature: 'struct name { int field; };',
    summary: 'Describes the memory of a program that has no type information; kernel types are known already.',
    example: 'struct pair { int a; int b; }; begin { print(sizeof(struct pair)); }',
    tier: 'node',
  },
  {
    name: 'config =',
    signature: 'config = { key = value }',
    summary: 'Settings before the first probe, such as stack_mode or missing_probes; limits cannot be raised.',
    example: 'config = { missing_probes = "warn" } begin { print(1); }',
  },
  {
    name: 'import',
    signature: 'import "path";',
    summary: 'Would add another file to the program.',
    example: 'import "stdlib/process/process.bpf.c"; begin { print(1); }',
    refused: 'it reads files of the node and brings functions that act on processes',
  },
  {
    name: '#include',
    signature: '#include <path>',
    summary: 'Left out for headers of the kernel, whose types are known; any other header is refused.',
    example: '#include <linux/sched.h>\nbegin { print(1); }',
  },
  {
    name: '#define',
    signature: '#define NAME value',
    summary: 'Gives a number a name; for anything else write a macro.',
    example: '#define ONE 1\nbegin { print(ONE); }',
  },
];

const ofKind = (kind: Builtin['kind'], entries: readonly Entry[]): readonly Builtin[] =>
  entries.map((entry) => ({ tier: 'any', ...entry, kind }));

/** All functions, builtins, map functions and statements of bpftrace 0.27 (its src/stdlib and docs/language.md). */
export const BUILTINS: readonly Builtin[] = [
  ...ofKind('map function', MAP_FUNCTIONS),
  ...ofKind('builtin', BUILTIN_VALUES),
  ...ofKind('function', FUNCTIONS),
  ...ofKind('statement', STATEMENTS),
];

const USABLE_NAMES = BUILTINS.filter((builtin) => builtin.refused === undefined).map((builtin) => builtin.name);

/** Usable names most like one that bpftrace did not know, best first, at most three. */
export const nearestBuiltins = (name: string): readonly string[] => nearest(name, USABLE_NAMES);
