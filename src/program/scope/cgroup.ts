import type { ScopeGroup, ScopeKernel, ScopeTarget } from './scope.ts';

/** Sets of cgroup ids that the scoped program fills at its begin. */
export const GROUP_SET = '@__kt_set';
export const IO_SET = '@__kt_io';

/** Up to here comparing is faster than looking up; a chain of 100 costs ten times a look-up. */
const MAX_COMPARED = 8;

/** True in the kernel for the target's tasks; `task` is an expression of type `struct task_struct *`. */
export function taskBelongs(task: string, target: ScopeTarget, kernel: ScopeKernel): string | undefined {
  const inGroups = taskIsIn(task, target, kernel);
  if (inGroups === undefined || target.pids === undefined) return inGroups;
  // Where kernel memory cannot be read a helper of the kernel's gives the number, for the current task only.
  const tgid = kernel.cgroups === 'id_set' ? 'pid' : `${task}->tgid`;
  return `((${target.pids.map((pid) => `(${tgid} == ${pid})`).join(' || ')}) && ${inGroups})`;
}

function taskIsIn(task: string, target: ScopeTarget, kernel: ScopeKernel): string | undefined {
  if (!canName(target, kernel)) return undefined;
  switch (kernel.cgroups) {
    case 'ancestors':
    case 'ancestor_ids':
      return belongs(`${task}->cgroups->dfl_cgrp`, target, kernel);
    case 'v1_memory':
      return belongs(`${task}->cgroups->subsys[memory_cgrp_id]->cgroup`, target, kernel);
    case 'id_set':
      return task === 'curtask' ? `has_key(${GROUP_SET}, cgroup)` : undefined;
  }
}

/** True for a `struct sock *` that is whole and was made in the target; sockets of v1 nodes know no cgroup of a pod. */
export function socketBelongs(socket: string, target: ScopeTarget, kernel: ScopeKernel): string | undefined {
  const knowsCgroup = kernel.cgroups === 'ancestors' || kernel.cgroups === 'ancestor_ids';
  if (!knowsCgroup || !canName(target, kernel) || !kernel.has('struct sock', 'sk_cgrp_data')) return undefined;
  if (!kernel.has('struct sock_cgroup_data', 'cgroup')) return undefined;
  const state = `${socket}->__sk_common.skc_state`;
  // TCP_TIME_WAIT and TCP_NEW_SYN_RECV: these structs end before sk_cgrp_data (include/net/inet_timewait_sock.h, request_sock.h).
  const isWhole = `((${state} != 6) && (${state} != 12))`;
  return `(${isWhole} && ${belongs(`${socket}->sk_cgrp_data.cgroup`, target, kernel)})`;
}

/** True for what a `struct net *` of the target's holds. */
export function netnsIs(net: string, { netns }: ScopeTarget, kernel: ScopeKernel): string | undefined {
  if (netns === undefined || kernel.cgroups === 'id_set' || !kernel.has('struct net', 'ns')) return undefined;
  return `(${net}->ns.inum == ${netns})`;
}

/** Names of ancestors are only found where the ancestors themselves are, from Linux 6.1. */
const canName = ({ namePrefix }: ScopeTarget, kernel: ScopeKernel): boolean =>
  namePrefix === undefined || kernel.cgroups === 'id_set' || kernel.has('struct cgroup', 'ancestors');

/** True for a `struct cgroup *` that is one of the target's or below one. */
function belongs(cgroup: string, target: ScopeTarget, kernel: ScopeKernel): string {
  if (target.namePrefix === undefined) return isBelow(cgroup, target.groups, kernel, GROUP_SET);
  const { namePrefix } = target;
  const length = Buffer.byteLength(namePrefix) + 1;
  return `((${cgroup}->level >= 1) && (str(${cgroup}->ancestors[1]->kn->name, ${length}) == ${quoted(namePrefix)}))`;
}

/** True for a `struct cgroup *` that is one of `groups` or below one; more than a few are looked up in `set`. */
export function isBelow(
  cgroup: string,
  groups: readonly ScopeGroup[],
  kernel: Pick<ScopeKernel, 'has'>,
  set: string,
): string {
  const terms = [...Map.groupBy(groups, ({ level }) => level)].map(([level, atLevel]) => {
    const id = kernel.has('struct cgroup', 'ancestors')
      ? `${CGROUP}->ancestors[${level}]->kn->id`
      : `${CGROUP}->ancestor_ids[${level}]`;
    // Above its own level the array of a cgroup holds what is behind it in memory.
    return `((${CGROUP}->level >= ${level}) && ${isOneOf(id, atLevel, set)})`;
  });
  // In a variable: each step to it is a call of the kernel, and most events are of somebody else.
  return terms.length === 0 ? '(0 == 1)' : `({ let ${CGROUP} = ${cgroup}; ${terms.join(' || ')} })`;
}

const CGROUP = '$__kt_cgroup';

function isOneOf(id: string, groups: readonly ScopeGroup[], set: string): string {
  const [first] = groups;
  if (groups.length === 1 && first) return `(${id} == ${first.id})`;
  if (groups.length > MAX_COMPARED) return `has_key(${set}, ${id})`;
  return `{ let $__kt_id = ${id}; ${groups.map((group) => `($__kt_id == ${group.id})`).join(' || ')} }`;
}

const quoted = (text: string): string =>
  `"${Array.from(Buffer.from(text), (byte) =>
    byte < 0x20 || byte > 0x7e || byte === 0x22 || byte === 0x5c
      ? `\\x${byte.toString(16).padStart(2, '0')}`
      : String.fromCharCode(byte),
  ).join('')}"`;
