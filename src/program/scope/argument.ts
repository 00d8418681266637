import { taskBelongs } from './cgroup.ts';
import { cast, operandOf, parameterOf } from './operand.ts';
import { type Claim, type Question, type Rule, rawForm, unowned } from './rule.ts';
import { SWITCH_FIELDS, toRaw } from './translation.ts';

const TYPE = 'struct task_struct';
const LOCKED = 'only kernel memory tells whose task it is, and this kernel does not let programs read it';

/** A: a task that is an argument and not the current one, such as who is woken. */
export const argument: Rule = {
  class: 'A',
  claim(question) {
    const { point, kind, row, uses, target, kernel } = question;
    if (row?.class === 'A' && /:sched_switch$/.test(point.name)) return claimSwitch(question);
    if (row?.class !== 'A' && !isUnknownRaw(question)) return undefined;
    const owner = row?.owner ?? 'task in its arguments';
    const notes = uses.names.has('comm') || uses.names.has('pid') || uses.names.has('tid') ? [CURRENT] : [];
    if (kind === 'tracepoint') {
      const at = parameterOf(point, TYPE);
      if (at === undefined) return unowned('it names its task by number only');
      const translation = toRaw(point, uses);
      if ('why' in translation)
        return unowned(`only its raw form hands over the task, and ${translation.why}`, rawForm(question));
      const predicate = taskBelongs(cast(TYPE, `arg${at}`), target, kernel);
      return predicate ? { class: 'A', owner, predicate, notes, translation } : unowned(LOCKED);
    }
    const task = operandOf(point, kind, TYPE);
    const predicate = task && taskBelongs(task, target, kernel);
    if (!task) return unowned('the kernel does not tell the types of its arguments');
    if (!predicate) return unowned(LOCKED);
    if (row?.by !== 'current or first') return { class: 'A', owner, predicate, notes };
    return either(owner, [predicate, taskBelongs('curtask', target, kernel) ?? '0']);
  },
};

/** Not said where the scope hides them. */
export const CURRENT = 'pid, tid and comm are those of the task that runs, which may be another’s';

/** A raw tracepoint that the table does not know and that hands over a task and nothing better. */
const isUnknownRaw = ({ point, kind, row }: Question) =>
  kind === 'rawtracepoint' && row === undefined && parameterOf(point, TYPE) !== undefined;

const either = (owner: string, predicates: readonly string[]): Claim => ({
  class: 'A',
  owner,
  predicate: `(${predicates.join(' || ')})`,
  notes: ['counts when one of both tasks is the target’s; the other may be another’s'],
});

/** Builtins that tell of the current task, which is the one that leaves the CPU when sched_switch runs. */
const OF_CURRENT = /^(?:pid|tid|comm|uid|gid|username|cgroup|curtask|[ku]stack|.*_stack|ppid)$/;

/**
 * A switch is about two tasks. What only asks for the one that leaves is T, since that one is current; what only asks for
 * the one that comes is A. What asks for both runs when either is the target's, and then the other reads as no task: pid
 * 0 when it leaves, -1 when it comes, without a name. So a key that is stored for one side is never found by the other,
 * and waits and times on the CPU are the target's exactly.
 */
function claimSwitch({ point, kind, uses, target, kernel }: Question): Claim | undefined {
  const prev = kernel.cgroups === 'id_set' ? undefined : taskBelongs(cast(TYPE, 'arg1'), target, kernel);
  const next = taskBelongs(cast(TYPE, 'arg2'), target, kernel);
  const current = taskBelongs('curtask', target, kernel);
  const reads = readsOf(kind, uses);
  if (uses.whole || !reads.next) {
    if (current === undefined) return unowned(LOCKED);
    return {
      class: 'T',
      owner: 'task that leaves the CPU',
      predicate: current,
      notes: uses.whole ? [CURRENT_ONLY] : [],
    };
  }
  if (prev === undefined || next === undefined) return unowned(LOCKED);
  if (kind === 'rawtracepoint') {
    return reads.prev
      ? either('task that leaves or comes', [prev, next])
      : { class: 'A', owner: NEXT, predicate: next, notes: [] };
  }
  if (!reads.prev) {
    const translation = toRaw(point, uses, SWITCH_FIELDS);
    if ('why' in translation) return unowned(translation.why);
    return { class: 'A', owner: NEXT, predicate: next, notes: [], translation };
  }
  const hidden = hide(prev, next);
  const translation = toRaw(point, uses, hidden.fields, hidden.builtins);
  if ('why' in translation) return unowned(translation.why);
  return {
    class: 'A',
    owner: 'task that leaves or comes',
    predicate: `(${prev} || ${next})`,
    notes: ['a task that is not the target’s reads as pid 0 when it leaves, -1 when it comes, without a name'],
    translation,
  };
}

const NEXT = 'task that comes to the CPU';
const CURRENT_ONLY = 'switches to the target are not counted, since `args` is used as a whole';

function readsOf(kind: string, { fields, names }: Question['uses']): { prev: boolean; next: boolean } {
  const raw = kind === 'rawtracepoint';
  const has = (side: string, argument: string) =>
    [...fields].some((name) => name === side || name.startsWith(`${side}_`)) || (raw && names.has(argument));
  return {
    prev: has('prev', 'arg1') || [...names].some((name) => OF_CURRENT.test(name)),
    next: has('next', 'arg2'),
  };
}

function hide(prev: string, next: string) {
  const show = (whose: string, name: string, otherwise: string) => `(${whose} ? ${name} : ${otherwise})`;
  const of = (name: string) => SWITCH_FIELDS[name] ?? name;
  return {
    fields: {
      prev_comm: show(prev, of('prev_comm'), '""'),
      prev_pid: show(prev, of('prev_pid'), '0'),
      prev_prio: show(prev, of('prev_prio'), '0'),
      prev_state: of('prev_state'),
      next_comm: show(next, of('next_comm'), '""'),
      next_pid: show(next, of('next_pid'), '-1'),
      next_prio: show(next, of('next_prio'), '0'),
    },
    builtins: { comm: show(prev, 'comm', '""'), pid: show(prev, 'pid', '0'), tid: show(prev, 'tid', '0') },
  };
}
