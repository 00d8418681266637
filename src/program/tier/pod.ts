import { type Finding, type Rule, wordsOf } from './finding.ts';
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

const REASONS: Readonly<Record<string, Pick<Finding, 'reason' | 'remedy'>>> = {
  kprobe: { reason: 'this kernel function is not among those known to run for one pod', remedy: REMEDIES.function },
  iter: { reason: 'it goes over what the whole node has', remedy: REMEDIES.kind },
};

const attachPoints: Rule = function* ({ tree }) {
  for (const point of tree.probes.flatMap(({ points }) => points)) {
    if (placeOf(point) !== undefined) continue;
    const isFunction = ['kprobe', 'kretprobe', 'fentry', 'fexit'].includes(point.kind);
    const { reason, remedy } = REASONS[isFunction ? 'kprobe' : point.kind] ?? {
      reason: 'this kind of probe is not for one pod',
      remedy: REMEDIES.kind,
    };
    yield { ...(point.span && { span: point.span }), construct: point.text, reason, remedy };
  }
};

/** What the pod tier does not take. */
export const POD_RULES: readonly Rule[] = [structs, addresses, attachPoints, podBodies];
