import { describe, expect, test } from 'vitest';
import { KerntapError } from '../../../src/errors.ts';
import { type Given, predicates, scope, scoped } from './node.ts';

const rulesOf = (source: string, given?: Given) =>
  scope(source, given).rules.map((rule) => `${rule.class} ${rule.owner}`);
const refusal = (source: string, given?: Given): KerntapError => {
  try {
    scope(source, given);
  } catch (error) {
    if (error instanceof KerntapError) return error;
    throw error;
  }
  throw new Error('it was not refused');
};
const IO = { target: { ioGroups: [{ id: 9n, level: 1 }] } };

describe('who owns an event', () => {
  test.each([
    ['tracepoint:syscalls:sys_enter_openat', "T task's cgroup"],
    ['tracepoint:raw_syscalls:sys_enter', "T task's cgroup"],
    ['rawtracepoint:sys_enter', "T task's cgroup"],
    ['tracepoint:sched:sched_process_exec', "T task's cgroup"],
    ['tracepoint:sched:sched_process_fork', "T task's cgroup"],
    ['tracepoint:signal:signal_generate', "T task's cgroup"],
    ['uprobe:/usr/bin/app:work', "T task's cgroup"],
    ['uretprobe:/usr/bin/app:work', "T task's cgroup"],
    ['usdt:/usr/bin/app:provider:name', "T task's cgroup"],
    ['profile:hz:99', "T task's cgroup"],
    ['software:page-faults:1', "T task's cgroup"],
    ['kprobe:vfs_read', "T task's cgroup"],
    ['kretprobe:vfs_read', "T task's cgroup"],
    ['kprobe:vfs_read+4', "T task's cgroup"],
    ['tracepoint:sched:sched_switch', 'T task that leaves the CPU'],
    ['tracepoint:sched:sched_wakeup', 'A woken task'],
    ['rawtracepoint:sched_wakeup', 'A woken task'],
    ['kprobe:wake_up_new_task', 'A woken task'],
    ['tracepoint:sched:sched_process_free', 'A freed task'],
    ['tracepoint:oom:mark_victim', 'A killed task'],
    ['tracepoint:sock:inet_sock_set_state', "S socket's cgroup"],
    ['tracepoint:sock:sock_rcvqueue_full', "S socket's cgroup"],
    ['tracepoint:tcp:tcp_retransmit_skb', "S socket's cgroup"],
    ['kprobe:tcp_connect', "S socket's cgroup"],
    ['fentry:tcp_connect', "S socket's cgroup"],
    ['tracepoint:skb:kfree_skb', "P packet's netns"],
    ['tracepoint:net:net_dev_queue', "P packet's netns"],
    ['rawtracepoint:net_dev_queue', "P packet's netns"],
    ['kprobe:ip_rcv', "P packet's netns"],
    ['begin', 'N node-wide (no event of its own)'],
    ['interval:s:1', 'N node-wide (no event of its own)'],
    ['end', 'N node-wide (no event of its own)'],
  ])('of %s is: %s', (point, rule) => {
    expect(rulesOf(`${point} { @ = count(); }`)).toEqual([rule]);
  });

  test.each([
    ['tracepoint:block:block_rq_issue', "B request's cgroup"],
    ['tracepoint:block:block_rq_complete', "B request's cgroup"],
    ['tracepoint:block:block_bio_queue', "B request's cgroup"],
    ['rawtracepoint:block_rq_issue', "B request's cgroup"],
    ['kprobe:blk_mq_start_request', "B request's cgroup"],
  ])('of %s where the io controller is on is: %s', (point, rule) => {
    expect(rulesOf(`${point} { @ = count(); }`, IO)).toEqual([rule]);
  });

  test('of a request without the io controller is the task that issues it, and kernel threads are said to be missing', () => {
    const [rule] = scope('tracepoint:block:block_rq_issue { @ = count(); }').rules;
    expect(rule?.class).toBe('T');
    expect(rule?.notes).toEqual([
      'requests that kernel threads issue for the target are not counted: the io controller is off for the target',
    ]);
  });

  test('of a request whose field cannot be read from it is the task that issues it', () => {
    const [rule] = scope('tracepoint:block:block_rq_issue { @[args.rwbs] = count(); }', IO).rules;
    expect([rule?.class, rule?.notes[0]]).toEqual([
      'T',
      'requests that kernel threads issue for the target are not counted: `args.rwbs` cannot be read from its raw arguments',
    ]);
  });

  test('of a probe that the node does not have is the task, so that bpftrace says that it is missing', () => {
    expect(scoped('tracepoint:sched:sched_swich { @ = count(); }')).toMatch(
      /^tracepoint:sched:sched_swich \/\(\{ let \$__kt_cgroup = curtask->/,
    );
  });

  test('of a missing probe beside others is theirs, since bpftrace only warns then', () => {
    const program = 'tracepoint:tcp:absent, tracepoint:sock:inet_sock_set_state { @ = count(); }';
    expect(scope(program).tree.probes).toHaveLength(1);
  });
});

describe('a probe without an owner', () => {
  test.each([
    ['tracepoint:irq:softirq_entry', 'interrupts come for the whole CPU', 'profile:hz:99'],
    ['tracepoint:cgroup:cgroup_mkdir', 'whoever changes a cgroup is seldom in it', 'tracepoint:raw_syscalls:sys_enter'],
    ['tracepoint:net:net_dev_xmit_timeout', 'it hands over no packet', 'tracepoint:net:netif_receive_skb'],
    ['kprobe:do_softirq', 'interrupts come for the whole CPU', 'profile:hz:99'],
    ['watchpoint:0x1000:8:w', 'an address of the kernel belongs to nobody', 'tracepoint:raw_syscalls:sys_enter'],
    ['iter:bpf_map', 'what it walks over has no owner', 'a probe that runs for the target'],
    ['tracepoint:block:block_io_done', 'the request has given up', 'a key that the issuing probe stored'],
  ])('%s is refused: %s; the remedy names %s', (point, why, instead) => {
    const { code, message, remedy } = refusal(`begin { }\n  ${point} { @ = count(); }`);
    expect(code).toBe('program.unscoped');
    expect(message).toContain(`The probe \`${point}\` at line 2, column 3 cannot be scoped to the target: ${why}`);
    expect(remedy).toContain(instead);
    expect(remedy).toContain('or pass unscoped="allow"');
  });

  test('runs for the whole node when that is allowed, and its rule says so', () => {
    const { tree, rules } = scope('tracepoint:irq:softirq_entry { @ = count(); }', { unscoped: 'allow' });
    expect(tree.probes[0]?.predicate).toBeUndefined();
    expect(rules).toEqual([
      {
        point: 'tracepoint:irq:softirq_entry',
        at: { line: 1, column: 1 },
        class: 'N',
        owner: 'node-wide',
        points: 1,
        notes: ['tracepoint:irq:softirq_entry is not scoped: interrupts come for the whole CPU'],
      },
    ]);
  });

  test('in a wildcard is named, with the way out', () => {
    const { message, remedy } = refusal('tracepoint:sched:sched_wak* { @ = count(); }');
    expect(message).toContain('which stands for tracepoint:sched:sched_wake_idle_without_ipi, too, cannot be scoped');
    expect(remedy).toContain('name the probes that you need');
  });

  test('is refused when only its raw form hands over the task and a field cannot be read there', () => {
    const { message, remedy } = refusal('tracepoint:oom:mark_victim { @[args.total_vm] = count(); }');
    expect(message).toContain('`args.total_vm` cannot be read from its raw arguments');
    expect(remedy).toContain('use rawtracepoint:mark_victim');
  });

  test.each(['print(args)', 'reads()'])('is refused when it needs the event as a whole: %s', (statement) => {
    const program = `macro reads() { print(args.pid) } tracepoint:sched:sched_wakeup { ${statement}; }`;
    expect(refusal(program).message).toContain('`args` as a whole cannot be read');
  });
});

describe('a key that a scoped probe stored', () => {
  const ISSUE = 'tracepoint:block:block_rq_issue { @start[args.dev, args.sector] = nsecs; }';

  test.each([
    ['in the predicate', '/@start[args.dev, args.sector]/ { @ = count(); }'],
    ['in the body', '{ if (@start[args.dev, args.sector]) { @ = count(); } }'],
    ['by has_key', '/has_key(@start, (args.dev, args.sector))/ { @ = count(); }'],
    ['in a variable', '{ $key = (args.dev, args.sector); if (@start[$key]) { @ = count(); } }'],
  ])('scopes a probe that reads it %s', (_where, rest) => {
    const program = `${ISSUE} tracepoint:block:block_io_done ${rest}`;
    expect(rulesOf(program)).toEqual(["T task's cgroup", 'M key in @start']);
    expect(predicates(program)[1]).toMatch(/^\(?has_key\(@start, \(args\.dev, args\.sector\)\)/);
  });

  test.each([
    ['the storing probe is not scoped', 'interval:s:1 { @start[args.dev, args.sector] = 1; }'],
    ['it is made up', 'tracepoint:syscalls:sys_enter_openat { @start[1, 2] = 1; }'],
    ['it is of other arguments', 'tracepoint:block:block_rq_issue { @start[args.sector, args.dev] = 1; }'],
    ['a macro may store', `macro store(@m) { @m[1, 2] = 1; } begin { store(@start); }`],
  ])('does not scope when %s', (_why, storing) => {
    const program = `${ISSUE} ${storing} tracepoint:block:block_io_done /@start[args.dev, args.sector]/ { @ = count(); }`;
    const only = storing.includes('args.sector, args.dev') ? program.replace(ISSUE, '') : program;
    expect(refusal(only).code).toBe('program.unscoped');
  });

  test.each([
    ['the address of a request', 'kprobe:blk_mq_start_request', 'arg0', 'kprobe:do_softirq'],
    ['it, read as another type', 'kprobe:blk_mq_start_request', '(uint64)arg0', 'kprobe:do_softirq'],
    ['a place on a disk', 'tracepoint:block:block_rq_issue', 'args.dev, args.sector', 'tracepoint:block:block_io_done'],
  ])('may be %s', (_what, storing, key, reading) => {
    const program = `${storing} { @start[${key}] = 1; } ${reading} /@start[${key}]/ { @ = count(); }`;
    expect(rulesOf(program)[1]).toBe('M key in @start');
  });

  test.each([
    ['a difference that is 0', 'tracepoint:block:block_rq_issue', 'args.dev - args.dev'],
    ['a part of a place on a disk', 'tracepoint:block:block_rq_issue', 'args.dev, args.sector & 0'],
    ['the disk alone', 'tracepoint:block:block_rq_issue', 'args.dev'],
    ['a number that the target chooses', 'tracepoint:syscalls:sys_enter_openat', 'args.dfd'],
    ['an address that the target chooses', 'kprobe:vfs_read', 'arg1'],
    ['a piece of an address', 'kprobe:blk_mq_start_request', '(uint8)arg0'],
  ])('must not be %s', (_what, storing, key) => {
    const reading = storing.startsWith('kprobe') ? 'kprobe:do_softirq' : 'tracepoint:block:block_io_done';
    const program = `${storing} { @start[${key}] = 1; } ${reading} /@start[${key}]/ { @ = count(); }`;
    expect(refusal(program).code).toBe('program.unscoped');
  });

  test('does not scope by the task that happens to run', () => {
    const program =
      'tracepoint:syscalls:sys_enter_openat { @start[tid] = nsecs; } tracepoint:irq:softirq_entry /@start[tid]/ { @ = count(); }';
    expect(refusal(program).message).toContain('tracepoint:irq:softirq_entry');
  });
});

describe('a list of attach points', () => {
  test('is split by owner, with the body and the predicate in each part', () => {
    const program =
      'tracepoint:syscalls:sys_enter_openat, interval:s:1, fentry:tcp_connect /pid > 1/ { @[probe] = count(); }';
    const { tree, rules } = scope(program);
    expect(tree.probes.map(({ points }) => points.map(({ text }) => text))).toEqual([
      ['interval:s:1'],
      ['fentry:tcp_connect'],
      ['tracepoint:syscalls:sys_enter_openat'],
    ]);
    expect(tree.probes.every(({ body }) => body === tree.probes[0]?.body)).toBe(true);
    expect(rules.map(({ point, class: rule }) => [point, rule])).toEqual([
      ['tracepoint:syscalls:sys_enter_openat', 'T'],
      ['interval:s:1', 'N'],
      ['fentry:tcp_connect', 'S'],
    ]);
  });

  test('of one owner stays together, and a wildcard of one owner as it was written', () => {
    const program = 'tracepoint:syscalls:sys_*, tracepoint:raw_syscalls:sys_enter { @ = count(); }';
    expect(scoped(program)).toMatch(
      /^tracepoint:syscalls:sys_\*, tracepoint:raw_syscalls:sys_enter \/\(\{ let \$__kt_cgroup = curtask->/,
    );
    expect(scope(program).rules.map(({ points }) => points)).toEqual([2, 1]);
  });

  test('keeps the name that the caller knows for what runs as a raw tracepoint', () => {
    expect(scoped('tracepoint:sched:sched_waking { @[probe] = count(); }')).toMatch(
      /^rawtracepoint:sched_waking .*@\["tracepoint:sched:sched_waking"\] = count\(\)/,
    );
  });
});

describe('a switch of tasks', () => {
  test.each([
    ['only the one that leaves', '@[args.prev_comm, comm] = count();', 'tracepoint', 'task that leaves the CPU'],
    ['only the one that comes', '@[args.next_pid] = count();', 'rawtracepoint', 'task that comes to the CPU'],
    ['both', '@[args.prev_pid, args.next_pid] = count();', 'rawtracepoint', 'task that leaves or comes'],
    [
      'the current one and the one that comes',
      '@[pid, args.next_pid] = count();',
      'rawtracepoint',
      'task that leaves or comes',
    ],
    ['all of it', 'print(args);', 'tracepoint', 'task that leaves the CPU'],
  ])('in a program that asks for %s', (_what, body, kind, owner) => {
    const { tree, rules } = scope(`tracepoint:sched:sched_switch { ${body} }`);
    expect([tree.probes[0]?.points[0]?.kind, rules[0]?.owner]).toEqual([kind, owner]);
  });

  test('shows the other task as none: pid 0 where it leaves, -1 where it comes', () => {
    const text = scoped('tracepoint:sched:sched_switch { @[args.prev_pid, args.next_pid, args.next_comm] = count(); }');
    expect(text).toMatch(/\? \(\(struct task_struct \*\)arg1\)->pid : 0/);
    expect(text).toMatch(/\? \(\(struct task_struct \*\)arg2\)->pid : \(-1\)/);
    expect(text).toMatch(/\? \(\(struct task_struct \*\)arg2\)->comm : ""/);
  });

  test.each([
    ['arg2', 'task that comes to the CPU'],
    ['args.next', 'task that comes to the CPU'],
    ['arg1', 'task that leaves the CPU'],
  ])('as a raw tracepoint that reads %s is of the %s', (argument, owner) => {
    const program = `rawtracepoint:sched_switch { @[((struct task_struct *)${argument})->pid] = count(); }`;
    expect(scope(program).rules[0]?.owner).toBe(owner);
  });
});

describe('process ids of a server in a nested pid namespace', () => {
  const program = 'tracepoint:syscalls:sys_enter_openat /pid > 1/ { @[tid(), comm, pid(curr_ns)] = args.dfd; }';
  test('are asked of the initial one, wherever they stand', () => {
    expect(scoped(program, { kernel: { nestedPids: true } })).toMatch(
      /&& \(pid\(init\) > 1\)\/ \{ @\[tid\(init\), comm, pid\(curr_ns\)\] = args\.dfd; \}$/,
    );
  });
  test('stay as they are elsewhere', () => {
    expect(scoped(program)).toContain('@[tid(), comm, pid(curr_ns)]');
  });
});
