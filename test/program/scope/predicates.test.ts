import { describe, expect, test } from 'vitest';
import { type Given, GROUP, predicates, scope, scoped } from './node.ts';

const OPEN = 'tracepoint:syscalls:sys_enter_openat { @ = count(); }';
const STATE = 'tracepoint:sock:inet_sock_set_state { @ = count(); }';
const QUEUE = 'tracepoint:net:net_dev_queue { @ = count(); }';
const has =
  (...missing: readonly string[]) =>
  (type: string, field: string) =>
    !missing.includes(`${type}.${field}`);

const classOf = (program: string, given: Given) => scope(program, given).rules[0]?.class;

describe('a task is the target’s', () => {
  test.each<[string, Given, string]>([
    [
      'by the ancestor of its cgroup at the depth of the pod, if it is that deep',
      {},
      '{ let $__kt_cgroup = curtask->cgroups->dfl_cgrp; ($__kt_cgroup->level >= 3) && ($__kt_cgroup->ancestors[3]->kn->id == 42) }',
    ],
    [
      'by ids of ancestors before Linux 6.1',
      { kernel: { cgroups: 'ancestor_ids', has: has('struct cgroup.ancestors') } },
      '{ let $__kt_cgroup = curtask->cgroups->dfl_cgrp; ($__kt_cgroup->level >= 3) && ($__kt_cgroup->ancestor_ids[3] == 42) }',
    ],
    [
      'by its memory cgroup in cgroup v1',
      { kernel: { cgroups: 'v1_memory' } },
      '{ let $__kt_cgroup = curtask->cgroups->subsys[memory_cgrp_id]->cgroup; ($__kt_cgroup->level >= 3) && ($__kt_cgroup->ancestors[3]->kn->id == 42) }',
    ],
    [
      'by the name of its container, where the pod has no cgroup of its own',
      { target: { groups: [], namePrefix: 'pod"1:' } },
      '(curtask->cgroups->dfl_cgrp->level >= 1) && (str(curtask->cgroups->dfl_cgrp->ancestors[1]->kn->name, 7) == "pod\\"1:")',
    ],
    [
      'by a set of ids where kernel memory cannot be read',
      { kernel: { cgroups: 'id_set' } },
      'has_key(@__kt_set, cgroup)',
    ],
    [
      'by one look at the depth of several pods',
      { target: { groups: [GROUP, { id: 43n, level: 3 }] } },
      '{ let $__kt_cgroup = curtask->cgroups->dfl_cgrp; ($__kt_cgroup->level >= 3) && ({ let $__kt_id = $__kt_cgroup->ancestors[3]->kn->id; ($__kt_id == 42) || ($__kt_id == 43) }) }',
    ],
    [
      'by a look at each depth',
      { target: { groups: [GROUP, { id: 43n, level: 2 }] } },
      '{ let $__kt_cgroup = curtask->cgroups->dfl_cgrp; (($__kt_cgroup->level >= 3) && ($__kt_cgroup->ancestors[3]->kn->id == 42)) || (($__kt_cgroup->level >= 2) && ($__kt_cgroup->ancestors[2]->kn->id == 43)) }',
    ],
    ['never, when the target has no cgroup', { target: { groups: [] } }, '0 == 1'],
  ])('%s', (_how, given, predicate) => {
    expect(predicates(OPEN, given).at(-1)).toBe(predicate);
  });

  test('by a set that is filled first, when there are more than eight at one depth', () => {
    const groups = Array.from({ length: 9 }, (_, at) => ({ id: BigInt(100 + at), level: 3 }));
    const text = scoped(OPEN, { target: { groups } });
    expect(text).toMatch(
      /^begin \{ @__kt_set\[100\] = 1; .*@__kt_set\[108\] = 1; \} end \{ clear\(@__kt_set\); \} tracepoint/,
    );
    expect(text).toContain('has_key(@__kt_set, $__kt_cgroup->ancestors[3]->kn->id)');
  });

  test('and so is what it makes below itself, where ids are looked up', () => {
    const text = scoped(OPEN, { kernel: { cgroups: 'id_set' }, target: { nested: [50n, 51n] } });
    expect(text).toMatch(/^begin \{ @__kt_set\[42\] = 1; @__kt_set\[50\] = 1; @__kt_set\[51\] = 1; \}/);
    expect(text).toContain(
      'tracepoint:cgroup:cgroup_mkdir /(args.root == 0) && has_key(@__kt_set, cgroup)/ { @__kt_set[args.id] = 1; }',
    );
    expect(text).not.toContain('->');
    expect(scope(OPEN, { kernel: { cgroups: 'id_set' } }).rules[0]?.notes[0]).toContain('from outside');
  });
});

describe('a socket is the target’s', () => {
  test('by the cgroup that it was made in, if it is whole', () => {
    expect(predicates(STATE)[0]).toBe(
      '{ let $__kt_socket = (struct sock *)args.skaddr; ($__kt_socket != 0) && ((($__kt_socket->__sk_common.skc_state != 6) && ($__kt_socket->__sk_common.skc_state != 12)) && ({ let $__kt_cgroup = $__kt_socket->sk_cgrp_data.cgroup; ($__kt_cgroup->level >= 3) && ($__kt_cgroup->ancestors[3]->kn->id == 42) })) }',
    );
  });

  test.each<[string, Given]>([
    ['in cgroup v1', { kernel: { cgroups: 'v1_memory' } }],
    ['where sockets have no cgroup', { kernel: { has: has('struct sock.sk_cgrp_data') } }],
    ['where the kernel packs it', { kernel: { has: has('struct sock_cgroup_data.cgroup') } }],
  ])('by its network namespace %s', (_where, given) => {
    expect(predicates(STATE, given)[0]).toBe(
      '{ let $__kt_socket = (struct sock *)args.skaddr; ($__kt_socket != 0) && ($__kt_socket->__sk_common.skc_net.net->ns.inum == 7) }',
    );
  });

  test.each<[string, Given]>([
    ['cgroup v1 and the network of the node', { kernel: { cgroups: 'v1_memory' }, network: 'node' }],
    ['kernel memory that cannot be read', { kernel: { cgroups: 'id_set' } }],
  ])('in no way that is known with %s', (_what, given) => {
    expect(classOf(STATE, { ...given, unscoped: 'allow' })).toBe('N');
  });
});

describe('a packet is the target’s', () => {
  test('by the device that it is at, or by its socket', () => {
    expect(predicates(QUEUE)[0]).toMatch(
      /^\{ let \$__kt_packet = \(struct sk_buff \*\)args\.skbaddr; \(\$__kt_packet != 0\) && \(\(\(\$__kt_packet->dev != 0\) && \(\$__kt_packet->dev->nd_net\.net->ns\.inum == 7\)\) \|\| \(\{ let \$__kt_holder = \$__kt_packet->sk; /,
    );
  });

  test('by its socket only, when the target uses the network of the node, which is said', () => {
    const given: Given = { network: 'node' };
    expect(predicates(QUEUE, given)[0]).not.toContain('nd_net');
    expect(scope(QUEUE, given).rules[0]?.notes).toEqual([
      'the target uses the network of the node: packets without a socket are not counted',
    ]);
  });

  test('where it has none of its own socket, as an answer to nobody', () => {
    expect(predicates('tracepoint:tcp:tcp_retransmit_skb { @ = count(); }')[0]).toMatch(
      /\(\$__kt_socket != 0\) \? .* : \(\{ let \$__kt_packet = \(struct sk_buff \*\)args\.skbaddr;/,
    );
  });

  test('or was to be received by one of its sockets, where the kernel tells', () => {
    expect(predicates('tracepoint:skb:kfree_skb { @ = count(); }')[0]).toContain(
      'let $__kt_receiver = (struct sock *)args.rx_sk;',
    );
  });
});

test('a block request is the target’s by the cgroup that it is charged to, in a hierarchy of its own', () => {
  const given = { target: { ioGroups: [{ id: 9n, level: 1 }] } };
  expect(predicates('tracepoint:block:block_rq_issue { @ = count(); }', given)[0]).toBe(
    '{ let $__kt_bio = ((struct request *)arg0)->bio; (($__kt_bio != 0) && ($__kt_bio->bi_blkg != 0)) && ({ let $__kt_cgroup = $__kt_bio->bi_blkg->blkcg->css.cgroup; ($__kt_cgroup->level >= 1) && ($__kt_cgroup->ancestors[1]->kn->id == 9) }) }',
  );
});

test('a woken task is asked as its raw argument, and fields are read from there', () => {
  expect(scoped('tracepoint:sched:sched_wakeup /args.prio < 100/ { @[args.comm, args.target_cpu] = count(); }')).toBe(
    'rawtracepoint:sched_wakeup /({ let $__kt_cgroup = ((struct task_struct *)arg0)->cgroups->dfl_cgrp; ($__kt_cgroup->level >= 3) && ($__kt_cgroup->ancestors[3]->kn->id == 42) }) && (((struct task_struct *)arg0)->prio < 100)/ { @[((struct task_struct *)arg0)->comm, (int32)((struct task_struct *)arg0)->thread_info.cpu] = count(); }',
  );
});
