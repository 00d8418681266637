import { type Position, positionAt } from './lexer.ts';
import { RULES_FOR_ALL } from './tier/both.ts';
import { type Checked, refusal, renderRemedy } from './tier/finding.ts';
import { POD_RULES } from './tier/pod.ts';

/** What a program asks for: all it sees is one pod's (`pod`), or it needs a right to the node. */
export interface TierReport {
  readonly tier: 'pod' | 'node';
  /** What reaches beyond a pod, in the order of the text; empty for the pod tier. */
  readonly needsNode: readonly NodeReach[];
}

export interface NodeReach {
  readonly construct: string;
  /** Absent for what belongs to the whole program. */
  readonly at?: Position;
  /** Completes a sentence that begins with the construct. */
  readonly reason: string;
  /** An imperative with a program that the pod tier takes. */
  readonly remedy: string;
}

/** Finds out which right a program needs to trace one pod. Its probes are taken to be scoped to that pod. */
export function tierOf(program: Checked): TierReport {
  const found = POD_RULES.flatMap((rule) => [...rule(program)]);
  found.sort((left, right) => (left.span?.start ?? 0) - (right.span?.start ?? 0));
  const needsNode = found.map(({ span, construct, reason, remedy }) => ({
    construct,
    ...(span && { at: positionAt(program.source, span.start) }),
    reason,
    remedy: renderRemedy(remedy),
  }));
  return { tier: needsNode.length === 0 ? 'pod' : 'node', needsNode };
}

/** Throws `program.refused` for what nobody may run, whatever his rights. */
export function refuseForAll(program: Checked): void {
  for (const rule of RULES_FOR_ALL) for (const finding of rule(program)) throw refusal(program, finding);
}
