import { taskBelongs } from './cgroup.ts';
import { type Rule, unowned } from './rule.ts';

/** Kinds whose probes run in the task that they are about, but for what the table says. */
const IN_TASKS = [
  'uprobe',
  'uretprobe',
  'usdt',
  'profile',
  'software',
  'hardware',
  'kprobe',
  'kretprobe',
  'fentry',
  'fexit',
];
const AS_AT_START =
  'cgroups that come to the target from outside during the trace are not counted: this kernel does not let programs read its memory';
const FUNCTIONS = ['kprobe', 'kretprobe', 'fentry', 'fexit'];

/** T: the current task's, where the kernel runs for the task that caused the event. */
export const task: Rule = {
  class: 'T',
  claim({ row, kind, target, kernel }) {
    if (row === undefined ? !IN_TASKS.includes(kind) : row.class !== 'T') return undefined;
    const predicate = taskBelongs('curtask', target, kernel);
    if (predicate === undefined) return unowned('the kernel does not tell the cgroup of a task');
    const notes = [
      ...(kernel.cgroups === 'id_set' ? [AS_AT_START] : []),
      ...(row?.note === undefined ? [] : [row.note]),
      ...(row === undefined && FUNCTIONS.includes(kind)
        ? ['a kernel function may also run outside of the task it works for']
        : []),
    ];
    return { class: 'T', owner: "task's cgroup", predicate, notes };
  },
};
