import type { Remedy } from './finding.ts';

const OPENS = 'tracepoint:syscalls:sys_enter_openat { @[str(args.filename)] = count(); }';
const SIZES = 'tracepoint:syscalls:sys_exit_read /args.ret > 0/ { @bytes[comm] = hist(args.ret); }';
const BY_SOCKET =
  'tracepoint:sock:inet_sock_set_state /args.newstate == 7/ { $sk = (struct sock *)args.skaddr; @[$sk->__sk_common.skc_num] = count(); }';

/** For what a program may hold with node rights only: a program that needs none. */
export const POD_REMEDIES = {
  structs: {
    say: 'use the types of the kernel, which are known already, such as of the address that a call is given',
    example:
      'tracepoint:syscalls:sys_enter_connect { $to = (struct sockaddr_in *)args.uservaddr; @[ntop($to->sin_addr.s_addr), bswap($to->sin_port)] = count(); }',
  },
  macros: {
    say: 'write what the macro stands for at its place',
    example:
      'tracepoint:syscalls:sys_enter_read { @start[tid] = nsecs; } tracepoint:syscalls:sys_exit_read /@start[tid]/ { @us = hist((nsecs - @start[tid]) / 1000); delete(@start[tid]); }',
  },
  parameters: {
    say: 'write the value itself',
    example: 'tracepoint:syscalls:sys_enter_read /pid == 1234/ { @ = count(); }',
  },
  while: {
    say: 'count with a range',
    example: 'tracepoint:syscalls:sys_enter_read { for ($i : 0..10) { @[$i] = count(); } }',
  },
  function: {
    say: 'use a tracepoint, or a kernel function such as vfs_read, tcp_sendmsg or tcp_connect',
    example: 'kprobe:tcp_sendmsg { @bytes[comm] = hist(arg2); }',
  },
  waits: {
    say: 'tracepoint:sched:sched_switch tells when the target stops and goes on',
    example:
      'tracepoint:sched:sched_switch { @off[args.prev_pid] = nsecs; if (@off[args.next_pid]) { @us = hist((nsecs - @off[args.next_pid]) / 1000); delete(@off, args.next_pid); } }',
  },
  queues: {
    say: 'measure how long the target waits for a CPU',
    example:
      'tracepoint:sched:sched_wakeup { @woken[args.pid] = nsecs; } tracepoint:sched:sched_switch /@woken[args.next_pid]/ { @us = hist((nsecs - @woken[args.next_pid]) / 1000); delete(@woken, args.next_pid); }',
  },
  drops: {
    say: 'tracepoint:skb:kfree_skb tells which packets were dropped, and where',
    example: 'tracepoint:skb:kfree_skb { @[args.reason, ksym(args.location)] = count(); }',
  },
  killed: {
    say: 'tracepoint:oom:mark_victim tells of the killed task',
    example: 'tracepoint:oom:mark_victim { @[str(args.comm), args.pid] = count(); }',
  },
  opens: {
    say: 'the tracepoint of the system call has the name of the file',
    example: 'tracepoint:syscalls:sys_enter_openat { @[str(args.filename)] = count(); }',
  },
  sent: {
    say: 'signal_deliver tells of the signals that the target gets',
    example: 'tracepoint:signal:signal_deliver { @[comm, pid, args.sig] = count(); }',
  },
  kind: {
    say: 'use tracepoints, uprobes of the target, or samples',
    example: 'profile:hz:99 { @[ustack] = count(); }',
  },
  raw: {
    say: 'use the tracepoint of the same name, whose fields have names',
    example: 'tracepoint:sched:sched_wakeup { @[args.comm] = count(); }',
  },
  argument: {
    say: 'use an argument whose type is known, such as the socket or the size',
    example: 'kprobe:tcp_sendmsg { $sk = (struct sock *)arg0; @[bswap($sk->__sk_common.skc_dport)] = sum(arg2); }',
  },
  otherTask: {
    say: 'use a field of the task that the event is about',
    example: 'tracepoint:sched:sched_wakeup { @[args.comm] = count(); }',
  },
  walk: { say: 'read a field of what the probe itself hands over', example: BY_SOCKET },
  task: {
    say: 'use pid, tid, comm, or a field of the task itself',
    example:
      'tracepoint:sched:sched_process_exit { $task = (struct task_struct *)curtask; @[comm, $task->exit_code >> 8] = count(); }',
  },
  current: {
    say: 'ask for the current task where it is the target’s, such as in a system call',
    example: 'tracepoint:syscalls:sys_enter_sendto { @[comm, ustack] = count(); }',
  },
  memory: { say: 'read a field of the event instead', example: OPENS },
  payload: { say: 'count the calls and their sizes, or read names of files', example: SIZES },
  index: {
    say: 'write the index as a number',
    example: 'tracepoint:raw_syscalls:sys_enter { @[args.args[0]] = count(); }',
  },
  length: {
    say: 'leave the length out',
    example: 'tracepoint:tcp:tcp_retransmit_skb { @[ntop(args.daddr)] = count(); }',
  },
  addresses: { say: 'leave the mode out: names are printed', example: 'profile:hz:99 { @[kstack(5)] = count(); }' },
  symbol: {
    say: 'ask for an address that the event hands over',
    example: 'tracepoint:skb:kfree_skb { @[ksym(args.location)] = count(); }',
  },
  bare: {
    say: 'store it in a map where the event is, and print the map here',
    example: 'tracepoint:syscalls:sys_enter_read { @[comm] = count(); } interval:s:1 { print(@); clear(@); }',
  },
  call: { say: 'use a function that reads the event only', example: SIZES },
  name: {
    say: 'use a builtin that tells of the task itself',
    example: 'tracepoint:syscalls:sys_enter_read { @[pid, comm] = count(); }',
  },
  store: { say: 'store values of events in maps and variables', example: SIZES },
} as const satisfies Record<string, Remedy>;

/** For what no program may hold. */
export const REMEDIES = {
  cat: {
    say: 'print what the probe itself knows',
    example: 'tracepoint:oom:mark_victim { print((args.pid, nsecs)); }',
  },
  acts: {
    say: 'count the events instead: this server only observes',
    example: 'tracepoint:syscalls:sys_exit_openat /args.ret == -2/ { @[comm, pid] = count(); }',
  },
  system: {
    say: 'print what a command would tell from the kernel',
    example: 'profile:hz:99 { @running[comm, pid] = count(); } interval:s:1 { print(@running, 10); clear(@running); }',
  },
  packets: {
    say: 'count packets by what their events tell',
    example: 'tracepoint:net:net_dev_queue { @[args.len] = count(); }',
  },
  cgroupid: {
    say: 'pass the pod or the cgroup as target; or compare with the number that `stat -c %i` prints',
    example: 'tracepoint:raw_syscalls:sys_enter /cgroup == 1234/ { @[comm] = count(); }',
  },
  strncmp: {
    say: 'use strcontains, or compare the first bytes by ==',
    example:
      'tracepoint:syscalls:sys_enter_openat { if (strcontains(str(args.filename), "/etc/")) { @[comm] = count(); } }',
  },
  watch: {
    say: 'trace the function that changes the value',
    example: 'uprobe:libc:malloc { @[ustack] = count(); }',
  },
  unknown: { say: 'use a function of bpftrace; list_helpers names them', example: SIZES },
  kind: { say: 'use a probe that observes', example: 'tracepoint:syscalls:sys_enter_read { @[comm] = count(); }' },
  redefined: {
    say: 'leave the definition out: types of the kernel are known',
    example: 'begin { print(sizeof(struct task_struct)); }',
  },
  shadow: {
    say: 'give it another name',
    example:
      'macro elapsed_us(start) { (nsecs - start) / 1000 } tracepoint:syscalls:sys_enter_read { print(elapsed_us(0)); }',
  },
  recursive: {
    say: 'repeat with a range',
    example: 'begin { for ($i : 0..10) { @[$i] = 1; } }',
  },
  hertz: { say: 'sample less often', example: 'profile:hz:99 { @[ustack] = count(); }' },
  interval: {
    say: 'let it fire less often',
    example: 'interval:ms:100 { print(@); } tracepoint:syscalls:sys_enter_read { @ = count(); }',
  },
  range: { say: 'count to a number that is written out', example: 'begin { for ($i : 0..100) { @[$i] = 1; } }' },
  rounds: { say: 'repeat less often', example: 'begin { for ($i : 0..100) { @[$i] = 1; } }' },
  maps: {
    say: 'put several maps into one, with a word as its first key',
    example:
      'tracepoint:syscalls:sys_enter_read { @["read", comm] = count(); } tracepoint:syscalls:sys_enter_write { @["write", comm] = count(); }',
  },
  config: {
    say: 'leave the key out: the server sets all limits',
    example: 'config = { missing_probes = "warn" } tracepoint:syscalls:sys_enter_open* { @[probe] = count(); }',
  },
  mapSize: {
    say: 'declare fewer keys, or none: maps grow as far as they may',
    example: 'let @recent = lruhash(1000); tracepoint:syscalls:sys_enter_read { @recent[pid] = nsecs; }',
  },
  ours: {
    say: 'choose a name that does not begin with two underscores',
    example: 'tracepoint:syscalls:sys_enter_read { @reads[comm] = count(); }',
  },
  directive: {
    say: 'write a number as #define, anything else as a macro, and no header: types of the kernel are known',
    example:
      'macro slow_us() { 10000 } tracepoint:syscalls:sys_exit_read /@s[tid] && nsecs - @s[tid] > slow_us() * 1000/ { @ = count(); }',
  },
  imported: { say: 'write what you need into the program itself', example: SIZES },
  quotes: {
    say: 'write texts in double quotes',
    example: 'tracepoint:syscalls:sys_enter_read /comm == "nginx"/ { @ = count(); }',
  },
  point: {
    say: 'put a blank before a predicate or comment, and write the name out',
    example: 'tracepoint:syscalls:sys_enter_read /pid == 1/ { @ = count(); }',
  },
} as const satisfies Record<string, Remedy>;

/** Those of functions that act, or that bpftrace 0.27 gets wrong. */
export const CALL_REMEDIES: Readonly<Record<string, Remedy>> = {
  cat: REMEDIES.cat,
  system: REMEDIES.system,
  skboutput: REMEDIES.packets,
  cgroupid: REMEDIES.cgroupid,
  strncmp: REMEDIES.strncmp,
  unwatch: REMEDIES.watch,
};
