import { type Probe, probeNodes } from '../tree.ts';
import { taskBelongs } from './cgroup.ts';
import { builtinOf, withBuiltins } from './rewrite.ts';
import type { ScopeClass, ScopeRequest } from './scope.ts';

/** Classes whose probes run in whatever task was interrupted. */
const IN_ANY_TASK: readonly ScopeClass[] = ['S', 'P', 'A', 'B', 'M'];

/**
 * Hides the task that happens to run when an event of the target's comes in an interrupt or a worker: `comm` is empty and
 * `pid` and `tid` are 0 there, unless that task is the target's, too.
 */
export function hideStrangers<Part extends Pick<Probe, 'predicate' | 'body'>>(
  part: Part,
  { strangers, target, kernel }: ScopeRequest,
): Part {
  if (strangers !== 'hide') return part;
  const isOwn = taskBelongs('curtask', target, kernel) ?? '(0 == 1)';
  return withBuiltins(part, {
    comm: `(${isOwn} ? comm : "")`,
    pid: `(${isOwn} ? pid : 0)`,
    tid: `(${isOwn} ? tid : 0)`,
  });
}

/** Whether it asks for the current task; a macro of it may, too. */
export const namesTheTask = (probe: Probe): boolean =>
  [...probeNodes(probe)].some((node) => ['comm', 'pid', 'tid'].includes(builtinOf(node) ?? ''));

export const runsInAnyTask = (owner: ScopeClass): boolean => IN_ANY_TASK.includes(owner);
