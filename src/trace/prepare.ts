import { toPrinted } from '../program/instrument.ts';
import { type Program, parseProgram } from '../program/program.ts';
import { scopeTree, translatePids } from '../program/scope/index.ts';
import {
  admit,
  neededRight,
  type PolicyLimits,
  refuseHidden,
  requireSandbox,
  rightForUnscoped,
  visibleTo,
} from './policy.ts';
import type {
  Access,
  AppliedRule,
  CallContext,
  Kernel,
  PrintedProgram,
  ResolvedTarget,
  RunRequest,
  TargetResolver,
  Tier,
  Tracer,
} from './ports.ts';
import { bindFiles } from './user-files.ts';

export interface PrepareDependencies {
  readonly access: Access;
  readonly kernel: Kernel;
  readonly targets: TargetResolver;
  readonly tracer: Pick<Tracer, 'sandbox'>;
  readonly limits: PolicyLimits;
  /** A text that nobody can guess. */
  readonly nonce: () => string;
}

/** A request that may run: what the caller wrote, whom it is about, and what bpftrace will be given. */
export interface Prepared {
  readonly program: Program;
  readonly target: ResolvedTarget;
  readonly tier: Tier;
  /** How each attach point was scoped; empty for the whole node. */
  readonly rules: readonly AppliedRule[];
  readonly printed: PrintedProgram;
  /** The files of its user probes, as the target sees them. */
  readonly shown: readonly string[];
}

type Question = Pick<RunRequest, 'program' | 'target' | 'unscoped' | 'control' | 'timeoutMs'>;

/** From a caller's text to the program that runs: nothing is started, and no right is used that the caller has not. */
export async function prepare(question: Question, call: CallContext, deps: PrepareDependencies): Promise<Prepared> {
  const { access, kernel, targets } = deps;
  const program = parseProgram(question.program);
  admit(program, question.timeoutMs, deps.limits);
  const target = await targets.resolve(question.target, call.signal, visibleTo(call.caller));
  const right = neededRight(program, target);
  await access.allow(call.caller, right);
  requireSandbox(call.caller, right.tier, deps.tracer.sandbox);
  const bound = target.scope
    ? await bindFiles(program.tree, target, targets)
    : { tree: program.tree, files: [], shown: [] };
  const how = await kernel.scoping(call.signal);
  const scoped = target.scope
    ? scopeTree(bound.tree, program.source, {
        target: target.scope,
        kernel: how,
        points: await kernel.points(
          bound.tree.probes.flatMap(({ points }) => points),
          call.signal,
        ),
        unscoped: question.unscoped ?? 'refuse',
        strangers: right.tier === 'pod' ? 'hide' : 'show',
      })
    : { tree: how.nestedPids ? translatePids(bound.tree) : bound.tree, rules: [] };
  refuseHidden(scoped.rules, target);
  const wider = rightForUnscoped(scoped.rules, right);
  if (wider) await access.allow(call.caller, wider);
  const printed = toPrinted(program, scoped, {
    timeoutMs: question.timeoutMs,
    nonce: deps.nonce(),
    control: question.control ?? false,
    files: bound.files,
  });
  return { program, target, tier: (wider ?? right).tier, rules: scoped.rules, printed, shown: bound.shown };
}
