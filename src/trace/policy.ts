import { KerntapError } from '../errors.ts';
import type { Program } from '../program/program.ts';
import { refuseForAll, tierOf } from '../program/tier.ts';
import { ownKernelOf } from './own-kernel.ts';
import type { AppliedRule, Caller, ResolvedTarget, SandboxFacts, Tier, TraceAction, Visible } from './ports.ts';

/** What a node allows; each value is a limit that no caller can raise. */
export interface PolicyLimits {
  readonly maxTimeoutMs: number;
  readonly maxAttachPoints: number;
}

interface Question {
  readonly program: Program;
  readonly timeoutMs: number;
}

type Rule = (question: Question, limits: PolicyLimits) => void;

const hasProbes: Rule = ({ program }) => {
  if (program.attachPoints.length === 0) throw new KerntapError('program.empty', 'The program has no probe.');
};

const fewAttachPoints: Rule = ({ program }, { maxAttachPoints }) => {
  const count = program.attachPoints.length;
  if (count > maxAttachPoints)
    throw new KerntapError(
      'program.too_many_probes',
      `The program names ${count} attach points, more than ${maxAttachPoints}.`,
    );
};

const shortEnough: Rule = ({ timeoutMs }, { maxTimeoutMs }) => {
  if (timeoutMs > maxTimeoutMs)
    throw new KerntapError(
      'argument.invalid',
      `timeout is ${timeoutMs / 1000} s; this node allows 1 to ${maxTimeoutMs / 1000} s.`,
    );
};

/** A rule of the policy is one function in this list. */
const RULES: readonly Rule[] = [hasProbes, fewAttachPoints, shortEnough, ({ program }) => refuseForAll(program)];

/** Throws for what this node does not run at all, whoever asks. */
export function admit(program: Program, timeoutMs: number, limits: PolicyLimits): void {
  for (const rule of RULES) rule({ program, timeoutMs }, limits);
}

/** The right to trace a target with what is scoped to it. */
export const traceRight = ({ tier, namespace }: ResolvedTarget): TraceAction => ({
  act: 'trace',
  tier,
  ...(namespace !== undefined && { namespace }),
});

/**
 * The right that a program needs: that of its target, or node rights for what reaches beyond a pod, with the construct that
 * does so.
 */
export function neededRight(program: Program, target: ResolvedTarget): TraceAction {
  const right = traceRight(target);
  if (right.tier === 'node') return right;
  const [reach] = tierOf(program).needsNode;
  if (reach === undefined) return right;
  const { construct, at, remedy } = reach;
  const place = at === undefined ? '' : ` at line ${at.line}, column ${at.column}`;
  return { ...right, tier: 'node', because: { what: `\`${construct}\`${place}`, remedy } };
}

/** The right that probes need which run for the whole node, if there are any and `right` is not enough. */
export function rightForUnscoped(rules: readonly AppliedRule[], right: TraceAction): TraceAction | undefined {
  const wide = right.tier === 'pod' ? rules.find(isNodeWide) : undefined;
  if (wide === undefined) return undefined;
  return {
    ...right,
    tier: 'node',
    because: { what: `\`${wide.point}\`, which runs for the whole node`, remedy: 'leave that probe out' },
  };
}

/** True for a probe that sees events of others; `begin`, `end` and `interval` have none. */
export const isNodeWide = ({ class: owner, point }: AppliedRule): boolean =>
  owner === 'N' && !/^(?:begin|end|interval|i)(?::|$)/i.test(point);

/**
 * Throws `target.unsupported` for a probe of tasks when the target's own kernel takes its system calls: what this node's
 * kernel would count is the sandbox, and its zero would say nothing.
 */
export function refuseHidden(rules: readonly AppliedRule[], { name, containers }: ResolvedTarget): void {
  const kernels = containers.map(ownKernelOf);
  const [kernel] = kernels;
  if (kernel === undefined || kernels.includes(undefined)) return;
  const blind = rules.find((rule) => !['S', 'P', 'B', 'N'].includes(rule.class));
  if (blind === undefined) return;
  throw new KerntapError(
    'target.unsupported',
    `\`${blind.point}\` sees nothing of ${name}, which runs under ${kernel}: a kernel of its own takes its system calls.`,
    { remedy: 'use probes of packets or of block requests, such as tracepoint:net:netif_receive_skb' },
  );
}

/** What a caller may know of: with node rights everything, else what is in his namespaces. */
export const visibleTo =
  ({ tiers, namespaces }: Caller): Visible =>
  (namespace) =>
    tiers.includes('node') || namespaces.includes('*') || (namespace !== undefined && namespaces.includes(namespace));

/**
 * Throws `trace.unavailable` when bpftrace would run for a stranger without its whole sandbox: it could then read files
 * of the node. Whoever is at this machine as the loopback caller can do that anyway.
 */
export function requireSandbox({ source }: Caller, tier: Tier, { state, missing }: SandboxFacts): void {
  if (state === 'full' || tier !== 'node' || source === 'local') return;
  const what = missing.map((part) => part.split(':')[0]).join(', ');
  throw new KerntapError(
    'trace.unavailable',
    `The sandbox of this node lacks ${what}, so only its own users may trace it.`,
    {
      remedy: 'have the operator run `kerntap check` on the node: it says how to complete the sandbox',
    },
  );
}
