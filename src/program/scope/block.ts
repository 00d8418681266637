import { IO_SET, isBelow, taskBelongs } from './cgroup.ts';
import { cast, operandOf, parameterOf } from './operand.ts';
import { type Question, type Rule, unowned } from './rule.ts';
import { BY_KEY } from './table.ts';
import { type Translation, toRaw } from './translation.ts';

const BIO = '$__kt_bio';
const TYPES = ['struct request', 'struct bio'];

/** B: the cgroup that a block request is charged to by the io controller, also when a kernel thread or an interrupt handles it. */
export const block: Rule = {
  class: 'B',
  claim(question) {
    const { row, target, kernel } = question;
    if (row?.class === 'N') return undefined;
    const found = find(question);
    if (found === undefined && row?.class !== 'B') return undefined;
    const knowsCgroup = kernel.cgroups !== 'id_set' && kernel.has('struct bio', 'bi_blkg');
    if (found && 'bio' in found && knowsCgroup && target.ioGroups) {
      const { bio, translation } = found;
      const isBelowOne = isBelow(`${BIO}->bi_blkg->blkcg->css.cgroup`, target.ioGroups, kernel, IO_SET);
      return {
        class: 'B',
        owner: "request's cgroup",
        predicate: `{ let ${BIO} = ${bio}; (${BIO} != 0) && (${BIO}->bi_blkg != 0) && ${isBelowOne} }`,
        notes: [],
        ...(translation && { translation }),
      };
    }
    const why =
      target.ioGroups === undefined
        ? 'the io controller is off for the target'
        : !knowsCgroup
          ? 'this kernel does not tell the cgroup of a request'
          : (found && 'why' in found && found.why) || 'the kernel does not tell the types of its arguments';
    if (row === undefined || row.by === 'key') {
      return unowned(`it runs in whatever is on the CPU, and ${why}`, BY_KEY);
    }
    const predicate = taskBelongs('curtask', target, kernel);
    if (predicate === undefined) return unowned(why);
    return {
      class: 'T',
      owner: "task's cgroup",
      predicate,
      notes: [`requests that kernel threads issue for the target are not counted: ${why}`],
    };
  },
};

type Found = { bio: string; translation?: Translation } | { why: string };

function find({ point, kind, row, uses }: Question): Found | undefined {
  const isTracepoint = kind === 'tracepoint';
  if (isTracepoint && row?.class !== 'B') return undefined;
  for (const type of TYPES) {
    const at = isTracepoint ? parameterOf(point, type) : undefined;
    const holder = isTracepoint ? at !== undefined && cast(type, `arg${at}`) : operandOf(point, kind, type);
    if (!holder) continue;
    const bio = type === 'struct request' ? `${holder}->bio` : holder;
    if (!isTracepoint) return { bio };
    const translation = toRaw(point, uses);
    return 'why' in translation ? translation : { bio, translation };
  }
  return undefined;
}
