import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KerntapError } from '../../src/errors.ts';
import { type Program, parseProgram } from '../../src/program/program.ts';
import { POD_REMEDIES, REMEDIES } from '../../src/program/tier/remedies.ts';
import { refuseForAll, tierOf } from '../../src/program/tier.ts';
import { type AnyNode, probeNodes } from '../../src/program/tree.ts';
import { forAll } from '../helpers/for-all.ts';
import { mutated, programs } from '../helpers/program-grammar.ts';

/** What a program reaches beyond a pod, as it stands in the text. */
const reaches = (source: string): readonly string[] =>
  tierOf(parseProgram(source)).needsNode.map(({ construct }) => construct);

/** The words of the error for a program that nobody may run; empty for one that somebody may. */
function refusal(source: string): string {
  try {
    refuseForAll(parseProgram(source));
    return '';
  } catch (error) {
    if (error instanceof KerntapError) return error.text;
    throw error;
  }
}

const READ = 'tracepoint:syscalls:sys_enter_read';

describe('a remedy works', () => {
  test.each(Object.values(POD_REMEDIES).map(({ example }) => example))('with a right to the pod: %s', (example) => {
    expect(refusal(example)).toBe('');
    expect(reaches(example)).toEqual([]);
  });

  test.each(Object.values(REMEDIES).map(({ example }) => example))('for everybody: %s', (example) => {
    expect(refusal(example)).toBe('');
    expect(reaches(example)).toEqual([]);
  });
});

describe('the right to a pod is enough for', () => {
  test.each([
    [`${READ} { @[comm, pid, tid] = hist(args.count); }`],
    ['profile:hz:99 { @[ustack, kstack(5)] = count(); }'],
    ['begin { printf("Tracing...\\n"); } interval:s:1 { time("%H:%M:%S\\n"); print(@); clear(@); } end { clear(@); }'],
    ['interval:s:5 { for ($kv : @reads) { printf("%d: %d\\n", $kv.0, $kv.1); } exit(); }'],
    ['tracepoint:sock:inet_sock_set_state { @[((struct sock *)args.skaddr)->__sk_common.skc_dport] = count(); }'],
    ['tracepoint:sock:inet_sock_set_state { $tp = (struct tcp_sock *)args.skaddr; @ = hist($tp->srtt_us >> 3); }'],
    ['tracepoint:tcp:tcp_retransmit_skb { @[ntop(args.saddr), args.sport] = count(); }'],
    [
      'tracepoint:net:netif_receive_skb { $skb = (struct sk_buff *)args.skbaddr; @[$skb->protocol] = hist($skb->len); }',
    ],
    ['tracepoint:block:block_rq_issue { @[args.dev, args.sector] = nsecs; @n[str(args.rwbs)] = count(); }'],
    ['kprobe:tcp_sendmsg { $sk = (struct sock *)arg0; @[ntop($sk->__sk_common.skc_daddr)] = sum(arg2); }'],
    ['fentry:tcp_sendmsg { @[bswap(args.sk->__sk_common.skc_dport)] = sum(args.size); }'],
    ['kretprobe:inet_csk_accept { $sk = (struct sock *)retval; @[$sk->__sk_common.skc_num] = count(); }'],
    ['kprobe:vfs_write { $f = (struct file *)arg0; @[str($f->f_path.dentry->d_name.name)] = count(); }'],
    ['kprobe:blk_mq_start_request { $rq = (struct request *)arg0; @[str($rq->q->disk->disk_name)] = count(); }'],
    [
      'tracepoint:sched:sched_switch { @q[args.prev_pid] = nsecs; delete(@q, args.next_pid); @[args.prev_comm] = count(); }',
    ],
    ['tracepoint:sched:sched_wakeup { @[args.comm, args.pid] = count(); }'],
    [
      'tracepoint:sched:sched_process_exit { $t = (struct task_struct *)curtask; @[$t->comm, $t->exit_code >> 8] = count(); }',
    ],
    ['tracepoint:raw_syscalls:sys_enter { @[curtask->nsproxy->net_ns->ns.inum] = count(); }'],
    [
      'tracepoint:syscalls:sys_enter_openat { @f[tid] = args.filename; } tracepoint:syscalls:sys_exit_openat { print(str(@f[tid])); delete(@f[tid]); }',
    ],
    ['tracepoint:syscalls:sys_enter_execve { join(args.argv); print(str(args.argv[1])); }'],
    [
      'tracepoint:syscalls:sys_enter_connect /args.uservaddr->sa_family == 1/ { @[str(((struct sockaddr_un *)args.uservaddr)->sun_path)] = count(); }',
    ],
    ['uprobe:libssl:SSL_write { @bytes = hist(arg2); } uretprobe:libssl:SSL_write { @r[retval] = count(); }'],
    ['tracepoint:skb:kfree_skb { @[args.reason, ksym(args.location)] = count(); }'],
    [
      'macro us(start) { (nsecs - start) / 1000 } tracepoint:syscalls:sys_exit_read /@s[tid]/ { @ = hist(us(@s[tid])); }',
    ],
    ['macro limit() { getopt("limit", 10) } interval:s:1 { print(@, limit()); }'],
    [`${READ} { $r = (a = pid, b = comm); $t = (1, 2); @[$r.a, $t.1] = count(); }`],
    [`${READ} { $x = (uint8[8])nsecs; @[$x[3]] = count(); }`],
  ])('%s', (source) => {
    expect(refusal(source)).toBe('');
    expect(reaches(source)).toEqual([]);
  });
});

describe('the right to a pod is not enough for', () => {
  test.each([
    ['walks to another task', `${READ} { print(curtask->real_parent->comm); }`, 'curtask->real_parent'],
    [
      'a socket that was closed since',
      'tracepoint:sock:inet_sock_set_state { @s = args.skaddr; print(((struct sock *)@s)->sk_rcvbuf); }',
      '(struct sock *)@s',
    ],
    [
      'a name that was freed since',
      'kprobe:vfs_read { @n = ((struct file *)arg0)->f_path.dentry->d_name.name; } kprobe:vfs_write { print(str(@n)); }',
      '@n',
    ],
    ['the credentials of a task', `${READ} { print(curtask->cred->uid.val); }`, 'curtask->cred'],
    ['the files of a task', `${READ} { print(curtask->files->fdt->fd); }`, 'curtask->files'],
    ['a pointer from nowhere', `${READ} { print(((struct sock *)1234)->sk_rcvbuf); }`, '(struct sock *)1234'],
    ['a pointer that was counted', `${READ} { @a++; print(((struct sock *)@a)->sk_rcvbuf); }`, '(struct sock *)@a'],
    [
      'a pointer of another kind',
      'kprobe:vfs_read { print(((struct sock *)arg0)->sk_rcvbuf); }',
      '(struct sock *)arg0',
    ],
    ['one behind the other', `${READ} { $p = curtask; print(*($p + 1)); }`, '*($p + 1)'],
    ['what a map may hold besides', `${READ} { @x = curtask; @x = args.buf; print(@x->comm); }`, '@x->comm'],
    ['an address of a variable', `${READ} { $a = 1; print(&$a); }`, '&$a'],
    ['data of a process', `${READ} { print(str(args.buf)); }`, 'args.buf'],
    [
      'data of a process, later',
      `${READ} { @b[tid] = args.buf; } tracepoint:syscalls:sys_exit_read { print(str(@b[tid])); }`,
      '@b[tid]',
    ],
    ['the environment of a process', 'tracepoint:syscalls:sys_enter_execve { join(args.envp); }', 'args.envp'],
    ['arguments of a function', 'uprobe:libc:getaddrinfo { print(str(arg0)); }', 'arg0'],
    ['any memory as text', `${READ} { print(str(nsecs)); }`, 'nsecs'],
    ['any memory as bytes', `${READ} { print(buf(nsecs, 8)); }`, 'nsecs'],
    ['any memory as an address', `${READ} { print(macaddr(nsecs)); }`, 'nsecs'],
    [
      'a file name where another task runs',
      'tracepoint:syscalls:sys_enter_openat { @f = args.filename; } tracepoint:sock:inet_sock_set_state { print(str(@f)); }',
      '@f',
    ],
    ['the stack of a stranger', 'tracepoint:tcp:tcp_probe { @[ustack] = count(); }', 'ustack'],
    ['a stranger', 'tracepoint:tcp:tcp_probe { @[curtask->comm] = count(); }', 'curtask'],
    [
      'the parent in a fork',
      'tracepoint:sched:sched_process_fork { @[args.parent_comm] = count(); }',
      'args.parent_comm',
    ],
    ['who gets a signal', 'tracepoint:signal:signal_generate { @[args.comm] = count(); }', 'args.comm'],
    ['who gets a signal, by a wildcard', 'tracepoint:signal:signal_* { @[args.comm] = count(); }', 'args.comm'],
    ['all fields at once', `${READ} { print(args); }`, 'args'],
    [
      'a whole structure',
      'tracepoint:sock:inet_sock_set_state { print(((struct sock *)args.skaddr)->__sk_common); }',
      '((struct sock *)args.skaddr)->__sk_common',
    ],
    ['behind the end of an array', `${READ} { print(curtask->comm[args.fd]); }`, 'curtask->comm[args.fd]'],
    ['what is behind the end of a text', `${READ} { printf("%rx", buf(comm, 64)); }`, '64'],
    ['what is next to a text', `${READ} { print(memcmp(curtask->comm, "x", 64)); }`, 'curtask->comm'],
    [
      'the bytes of a call in a newer kernel',
      'tracepoint:syscalls:sys_enter_write { print(args.__buf_val); }',
      'args.__buf_val',
    ],
    ['the function of an unknown module', 'kprobe:other:vfs_read { @ = count(); }', 'kprobe:other:vfs_read'],
    [
      'one of several macros',
      `macro m($x) { $x } macro m(x) { curtask->real_parent } ${READ} { $v = 1; print(m($v)); }`,
      'm($v)',
    ],
    ['a pointer in a tuple', `${READ} { $t = (curtask, 1); print($t.0->comm); }`, '$t.0->comm'],
    ['a pointer in a record', `${READ} { $t = (a = curtask, b = 1); print($t.a->comm); }`, '$t.a->comm'],
    ['a pointer that was moved', `${READ} { $t = curtask; $t += 1; print($t->comm); }`, '$t->comm'],
    [
      'a pointer that is one of two',
      `${READ} { print((pid ? curtask : args.buf)->comm); }`,
      '(pid ? curtask : args.buf)->comm',
    ],
    ['an unlisted function', 'kprobe:d_path { @ = count(); }', 'kprobe:d_path'],
    ['a listed one with an offset', 'kprobe:vfs_read+4 { @ = count(); }', 'kprobe:vfs_read+4'],
    ['an argument without a type', 'kprobe:do_sys_openat2 { print(str(arg1)); }', 'arg1'],
    ['an argument of a raw tracepoint', 'rawtracepoint:sched_process_exec { print(arg1); }', 'arg1'],
    ['iterators', 'iter:task { print(1); }', 'iter:task'],
    ['a type of the caller', 'struct a { int x; } uprobe:x:y { print(((struct a *)arg0)->x); }', 'struct a'],
    ['endless loops', `${READ} { while (1) { @ = count(); } }`, 'while'],
    ['addresses of the kernel', 'profile:hz:99 { @[kstack(raw, 3)] = count(); }', 'raw'],
    [
      'addresses of the kernel by config',
      'config = { stack_mode = raw } profile:hz:99 { @[kstack] = count(); }',
      'stack_mode = raw',
    ],
    ['where the kernel is', `${READ} { print(ksym(0xffffffff81000000)); }`, '0xffffffff81000000'],
    ['the name of any cgroup', `${READ} { print(cgroup_path(1)); }`, '1'],
    ['parameters', `${READ} /pid == $1/ { @ = count(); }`, '$1'],
    ['who runs when a clock ticks', 'interval:s:1 { @[comm] = count(); }', 'comm'],
    ['the stack when a clock ticks', 'interval:s:1 { @[kstack] = count(); }', 'kstack'],
    ['the task when the run begins', 'begin { print(curtask->comm); }', 'curtask'],
    ['a name of a newer bpftrace', `${READ} { print(some_new_builtin); }`, 'some_new_builtin'],
    ['the header of a packet', 'kprobe:ip_rcv { $skb = (struct sk_buff *)arg0; print($skb->head); }', '$skb->head'],
    [
      'a socket as a larger one',
      'tracepoint:sock:sk_data_ready { print(((struct tcp_sock *)args.skaddr)->srtt_us); }',
      '(struct tcp_sock *)args.skaddr',
    ],
  ])('%s: %s', (_, source, construct) => {
    expect(refusal(source)).toBe('');
    expect(reaches(source)[0]).toBe(construct);
  });

  test('and it says where, why and what to write instead', () => {
    const [reach] = tierOf(parseProgram(`${READ} {\n  print(curtask->real_parent->comm);\n}`)).needsNode;
    expect(reach).toMatchObject({
      construct: 'curtask->real_parent',
      at: { line: 2, column: 9 },
      reason: '`real_parent` of struct task_struct is not among the fields that belong to one pod',
      remedy: expect.stringContaining('use pid, tid, comm'),
    });
  });
});

/** Wherever a value can stand; `X` is that value. */
const POSITIONS = [
  `${READ} { X; }`,
  `${READ} { $v = X; }`,
  `${READ} { let $v = X; }`,
  `${READ} { @a += X; }`,
  `${READ} /(X)/ { }`,
  `${READ} /1 && (X == 1)/ { }`,
  `${READ} /({ @n = X; 1 })/ { }`,
  `macro m(x) { print(x); } ${READ} { m(X); }`,
  `macro m(x) { x } macro o(y) { m(y) } ${READ} { print(o(X)); }`,
  `macro m() { X } ${READ} { print(m()); }`,
  `${READ} { for ($i : 0..(X)) { } }`,
  `${READ} { for ($i : (X)..5) { } }`,
  `${READ} { for ($i : 0..5) { print(X); } }`,
  `${READ} { for ($kv : @a) { print(X); } }`,
  `${READ} { unroll(X) { } }`,
  `${READ} { unroll(5) { @ = X; } }`,
  `${READ} { @a[X] = 1; }`,
  `${READ} { @a[1, X] = 1; }`,
  `${READ} { delete(@a, X); }`,
  `${READ} { print(X); }`,
  `${READ} { printf("%d", X); }`,
  `${READ} { print((1, X)); }`,
  `${READ} { print((a = 1, b = X)); }`,
  `${READ} { print(1 ? X : 0); }`,
  `${READ} { print(X ? 1 : 0); }`,
  `${READ} { if (X) { } }`,
  `${READ} { if (1) { } else if (X) { } else { } }`,
  `${READ} { if (1) { } else { print(X); } }`,
  `${READ} { $v = if 1 { X } else { 0 }; }`,
  `${READ} { $v = { let $w = X; $w }; }`,
  `${READ} { @a = hist(X); }`,
  `${READ} { @a = sum((uint64)X); }`,
  `${READ} { print(-(X)); }`,
  `${READ} { print(5 + X); }`,
  `${READ} { { { print(X); } } }`,
  `${READ} { return X; }`,
  `profile:hz:9, ${READ} { print(X); }`,
];

describe.each(POSITIONS)('in %s', (position) => {
  const put = (value: string) => position.replace('X', () => value);

  test.each([
    'curtask->real_parent->comm',
    'curtask->mm->exe_file',
    '((struct task_struct *)5)->pid',
    '*kaddr("avenrun")',
    'kaddr("avenrun")',
    'percpu_kaddr("runqueues")',
    'str(nsecs)',
    'buf(nsecs, 8)',
    'args.x->y',
    '*args.x',
    'args.x[1]',
    'str(args.buf)',
    'ppid',
    'pcomm',
    'ctx',
    'reg("ip")',
    'uptr(args.buf)',
    'kptr(nsecs)',
    'uaddr("x")',
    'kstack(raw)',
    'cgroup_path(5)',
    '$1',
    '&@a',
  ])('%s needs node rights', (value) => {
    expect(reaches(put(value))).not.toEqual([]);
  });

  test.each([
    'cat("/etc/shadow")',
    'system("id")',
    'signal(9)',
    'signal_thread(9)',
    'override(1)',
    'write_user(1, 2, 3)',
    'skboutput("x", 1, 1, 0)',
    'cgroupid("/x")',
    'unwatch(1)',
    'no_such_function(1)',
  ])('%s is refused to everybody, with its place', (value) => {
    const source = put(value);
    const name = value.slice(0, value.indexOf('('));
    let said = '';
    try {
      said = refusal(source);
    } catch (error) {
      said = String(error);
    }
    expect(said).toContain(`\`${name}\` at line 1, column ${source.indexOf(name) + 1} is refused: `);
  });
});

test('what sizeof is asked about is read like everything else', () => {
  const needs = (source: string) => tierOf(parseProgram(source)).tier;
  expect(needs('begin { print(sizeof(&$a)); }')).toBe('node');
  expect(needs('begin { print(sizeof(uint64)); }')).toBe('pod');
});

describe('nobody may', () => {
  test.each([
    ['watch an address', 'watchpoint:0x1000:8:w { @ = count(); }', '`watchpoint:0x1000:8:w` at line 1, column 1'],
    ['run what is for tests', 'bench:x { @ = count(); }', '`bench:x` at line 1, column 1'],
    ['sample too often', 'profile:hz:1000 { @ = count(); }', '`profile:hz:1000`'],
    ['sample every microsecond', 'profile:us:1 { @ = count(); }', '`profile:us:1`'],
    ['sample too often by a short form', 'p:ms:1 { @ = count(); }', '`p:ms:1`'],
    ['sample at a rate that is no number', 'profile:hz:x { @ = count(); }', '`profile:hz:x`'],
    ['sample too often by a clock', 'software:cpu-clock:10000 { @ = count(); }', '`software:cpu-clock:10000`'],
    ['sample too often by its short name', 's:cpu:999999 { @ = count(); }', '`s:cpu:999999`'],
    ['sample too often by cycles', 'hardware:cpu-cycles:1000 { @ = count(); }', '`hardware:cpu-cycles:1000`'],
    ['sample too often by misses', 'h:cache-misses:9 { @ = count(); }', '`h:cache-misses:9`'],
    ['tick too often', 'interval:ms:9 { print(1); }', '`interval:ms:9`'],
    ['tick every microsecond', 'i:us:100 { print(1); }', '`i:us:100`'],
    ['tick too often by a duration', 'interval:5ms { print(1); }', '`interval:5ms`'],
    ['repeat for seconds', 'begin { for ($i : 0..8000000) { @ = 1; } }', '`for ($i : 0..8000000)'],
    [
      'repeat for seconds in two loops',
      'begin { for ($i : 0..1000) { for ($j : 0..1000) { @ = 1; } } }',
      '`for ($j : 0..1000)',
    ],
    [
      'repeat for seconds by a macro',
      'macro n() { 8000000 } begin { for ($i : 0..n()) { @ = 1; } }',
      '`for ($i : 0..n())',
    ],
    [
      'repeat as often as an event says',
      `${READ} { for ($i : 0..(args.count)) { @ = 1; } }`,
      '`for ($i : 0..(args.count))',
    ],
    [
      'write out too much',
      'begin { unroll(50) { unroll(50) { @ = 1; } } }',
      '`unroll(50) { @ = 1; }` at line 1, column 22',
    ],
    ['have many maps', `begin { ${Array.from({ length: 17 }, (_, i) => `@m${i} = 1;`).join(' ')} }`, '`@m16`'],
    [
      'redefine a task',
      'struct task_struct { int pid; } begin { print(1); }',
      '`struct task_struct` at line 1, column 1',
    ],
    ['redefine a cgroup', 'struct cgroup { int level; }; begin { print(1); }', '`struct cgroup`'],
    ['redefine a node of kernfs', 'struct kernfs_node { u64 id; }; begin { print(1); }', '`struct kernfs_node`'],
    [
      'redefine a socket inside of another',
      'struct a { struct sock { int x; } b; }; begin { print(1); }',
      '`struct sock`',
    ],
    [
      'replace a builtin',
      'macro cgroup() { 2612 } tracepoint:sched:sched_switch /cgroup == 2612/ { @ = count(); }',
      '`macro cgroup`',
    ],
    ['replace the task', 'macro curtask() { 5 } begin { print(1); }', '`macro curtask`'],
    ['replace a function', 'macro printf(x) { 5 } begin { print(1); }', '`macro printf`'],
    ['replace an argument', 'macro arg0() { 5 } begin { print(1); }', '`macro arg0`'],
    ['expand without an end', 'macro a() { b() } macro b() { a() } begin { print(a()); }', '`macro a`'],
  ])('%s: %s', (_, source, said) => {
    expect(refusal(source)).toContain(said);
    expect(refusal(source)).toContain('is refused: ');
  });

  test('but somebody may do it less', () => {
    for (const source of [
      'profile:hz:999 { @ = count(); }',
      'profile:ms:2 { @ = count(); }',
      'profile:s:1 { @ = count(); }',
      'interval:ms:10 { print(1); }',
      'interval:1s { print(1); }',
      'interval:hz:5 { print(1); }',
      'begin { for ($i : 0..10000) { @ = 1; } }',
      'begin { for ($i : 5..((uint64)15)) { @ = 1; } }',
      'macro n() { getopt("n", 35) } begin { for ($i : 0..n) { @ = 1; } }',
      'begin { unroll(10) { unroll(10) { @ = 1; } } }',
      'struct mine { int pid; } begin { print(1); }',
    ])
      expect(refusal(source), source).toBe('');
  });
});

describe('what was seen to reach further', () => {
  /** Refused with its place, either to everybody or without node rights. */
  test.each([
    [
      'a line of C that brings a probe',
      '#define X } tracepoint:sched:sched_wakeup { @leak = count();\nbegin { X }',
      '#define',
    ],
    ['a word of C that renames a field', '#define id flags\nbegin { print(1); }', '#define'],
    ['a file of the node', 'import "/dir/x.bt"; begin { print(1); }', 'import'],
    ['a function of the library', 'begin { __signal_process(12); }', '__signal_process'],
    ['a header that is no kernel’s', '#include "/etc/passwd"\nbegin { print(1); }', '#include'],
    ['a name of ours', `${READ} { @__scope[1] = 1; }`, '@__scope'],
    ['a signal probe', 'self:signal:SIGUSR1 { print(1); }', 'self:signal:SIGUSR1'],
    ['a newline in a text', 'begin { print("a\n} tracepoint:x:y {"); }', 'line 1'],
  ])('%s', (_, source, what) => {
    expect(() => {
      const program = parseProgram(source);
      refuseForAll(program);
    }).toThrow(what);
  });

  test('a side effect in a predicate is followed like any other', () => {
    expect(reaches(`${READ} /({ @leak = count(); 1 })/ { @ = count(); }`)).toEqual([]);
    expect(reaches(`${READ} /({ @leak = str(args.buf); 1 })/ { @ = count(); }`)).toEqual(['args.buf']);
  });

  test('short names, comments and newlines hide nothing', () => {
    expect(reaches('k:d_path /* x */\n/* y */ { @ = count(); }')).toEqual(['k:d_path']);
    expect(reaches('kprobe:vmlinux:d_path { @ = count(); }')).toEqual(['kprobe:vmlinux:d_path']);
    expect(reaches('t:syscalls:sys_enter_read\n{ print(str(args . buf)); }')).toEqual(['args . buf']);
  });

  test('one probe list is looked at for each of its points', () => {
    expect(reaches(`${READ}, interval:s:1 { @[comm] = count(); }`)).toEqual(['comm']);
  });
});

test('a program that would take minutes to follow needs node rights at once', () => {
  const layers = Array.from({ length: 14 }, (_, i) => `macro m${i}() { m${i + 1}() + m${i + 1}() + m${i + 1}() }`);
  const source = `${layers.join(' ')} macro m14() { 1 } ${READ} { print(m0()); }`;
  expect(tierOf(parseProgram(source)).tier).toBe('node');

  const names = Array.from({ length: 600 }, (_, i) => `$v${i} = $v${i + 1};`).join(' ');
  expect(tierOf(parseProgram(`${READ} { ${names} $v600 = args.buf; print(str($v0)); }`)).tier).toBe('node');
});

/** What no program of the pod tier holds, wherever it stands; macros aside, since one that is not used harms nobody. */
const NEVER = (node: AnyNode): boolean =>
  (node.kind === 'unary' && (node.operator === '*' || node.operator === '&')) ||
  node.kind === 'positional' ||
  node.kind === 'while' ||
  (node.kind === 'name' && /^(?:ctx|ppid|pcomm)$/.test(node.name)) ||
  (node.kind === 'call' && /^(?:kaddr|percpu_kaddr|uaddr|kptr|uptr|reg|ppid|pcomm|debugf)$/.test(node.callee)) ||
  (node.kind === 'cast' && node.type.pointers > 1);

test('any program that can be read is judged, and none of the pod tier holds what may lead anywhere', () => {
  let taken = 0;
  forAll(
    fc.oneof(programs, mutated),
    (source) => {
      let program: Program;
      try {
        program = parseProgram(source);
        refuseForAll(program);
      } catch (error) {
        expect(error).toBeInstanceOf(KerntapError);
        return;
      }
      if (tierOf(program).tier === 'node') return;
      taken++;
      const found = program.tree.probes.flatMap((probe) => [...probeNodes(probe)]).filter(NEVER);
      expect(found, source).toEqual([]);
    },
    2_000,
  );
  expect(taken).toBeGreaterThan(20);
});
