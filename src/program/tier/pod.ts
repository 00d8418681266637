import type { AttachPoint } from '../tree.ts';
import { type Finding, type Remedy, type Rule, wordsOf } from './finding.ts';
import { placeOf } from './place.ts';
import { podBodies } from './pod-bodies.ts';
import { POD_REMEDIES as REMEDIES } from './remedies.ts';

const structs: Rule = function* ({ source, tree }) {
  for (const { span, keyword, name } of tree.definitions)
    yield {
      ...(span && { span }),
      construct: wordsOf(source, undefined, `${keyword} ${name}`),
      reason: 'memory could then be read as anything',
      remedy: REMEDIES.structs,
    };
};

const addresses: Rule = function* ({ tree }) {
  for (const { key, value, span } of tree.config) {
    const mode = value.kind === 'name' ? value.name : value.kind === 'string' ? value.value : undefined;
    if (key === 'stack_mode' && mode === 'raw')
      yield {
        ...(span && { span }),
        construct: 'stack_mode = raw',
        reason: 'it prints addresses instead of names',
        remedy: REMEDIES.addresses,
      };
  }
};

/** Functions that are often asked for, with the event that answers the same question. */
const INSTEAD: readonly (readonly [RegExp, Remedy])[] = [
  [/^finish_task_switch|^schedule$|^__schedule$/, REMEDIES.waits],
  [/throttle_cfs_rq$/, REMEDIES.queues],
  [/conntrack|^nf_|^ip_finish_output|^kfree_skb/, REMEDIES.drops],
  [/^oom_/, REMEDIES.killed],
  [/^do_sys|^path_openat|^lookup_|^getname/, REMEDIES.opens],
  [/signal|^do_send_sig|^__send_sig/, REMEDIES.sent],
];

const insteadOf = ({ parts }: AttachPoint): Remedy =>
  INSTEAD.find(([pattern]) => pattern.test(parts.at(-1) ?? ''))?.[1] ?? REMEDIES.function;

const REASONS: Readonly<Record<string, Pick<Finding, 'reason' | 'remedy'>>> = {
  iter: { reason: 'it goes over what the whole node has', remedy: REMEDIES.kind },
};

const FUNCTION_KINDS = ['kprobe', 'kretprobe', 'fentry', 'fexit'];

const attachPoints: Rule = function* ({ tree }) {
  for (const point of tree.probes.flatMap(({ points }) => points)) {
    if (placeOf(point) !== undefined) continue;
    const { reason, remedy } = FUNCTION_KINDS.includes(point.kind)
      ? { reason: 'this kernel function is not among those known to run for one pod', remedy: insteadOf(point) }
      : (REASONS[point.kind] ?? { reason: 'this kind of probe is not for one pod', remedy: REMEDIES.kind });
    yield { ...(point.span && { span: point.span }), construct: point.text, reason, remedy };
  }
};

/** What the pod tier does not take. */
export const POD_RULES: readonly Rule[] = [structs, addresses, attachPoints, podBodies];
