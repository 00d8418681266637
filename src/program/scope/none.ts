import { OWNERS, parameterOf } from './operand.ts';
import { type Claim, type Question, type Rule, rawForm, unowned } from './rule.ts';

const NOTES: Readonly<Record<string, readonly string[]>> = {
  begin: [],
  end: [],
  self: [],
  interval: ['it fires for the node, whatever the target does'],
};

/** N: probes that fire by themselves and run for every target. */
export const always: Rule = {
  class: 'N',
  claim({ kind }) {
    const notes = Object.hasOwn(NOTES, kind) ? NOTES[kind] : undefined;
    return notes && { class: 'N', owner: 'node-wide (no event of its own)', notes };
  },
};

/** N: all that no other class took. */
export function nobody(question: Question): Claim {
  const { point, kind, row } = question;
  if (row?.why !== undefined) return unowned(row.why, row.instead);
  if (kind === 'watchpoint') return unowned('an address of the kernel belongs to nobody');
  const owner = OWNERS.find((type) => parameterOf(point, type) !== undefined);
  return kind === 'tracepoint' && owner !== undefined
    ? unowned('its fields do not tell whose it is', `${rawForm(question)}, which hands over a ${owner} *`)
    : unowned('nothing that it hands over tells whose it is', 'tracepoint:raw_syscalls:sys_enter');
}
