import { KerntapError } from '../errors.ts';
import type { Caller, Program, SandboxFacts, Tier } from './ports.ts';

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
const RULES: readonly Rule[] = [hasProbes, fewAttachPoints, shortEnough];

/** Throws for what this node does not run at all, whoever asks. */
export function admit(program: Program, timeoutMs: number, limits: PolicyLimits): void {
  for (const rule of RULES) rule({ program, timeoutMs }, limits);
}

/** What a run is about, and which right it needs. */
export interface ResolvedTarget {
  readonly name: string;
  readonly tier: Tier;
}

/** Throws `target.unsupported` for everything but this node: pods come with scoping. */
export function resolveTarget(target: string | undefined): ResolvedTarget {
  if (target === undefined || target === 'node') return { name: 'node', tier: 'node' };
  throw new KerntapError(
    'target.unsupported',
    `The target ${JSON.stringify(target.slice(0, 120))} cannot be traced by this version.`,
  );
}

/**
 * Throws `trace.unavailable` when bpftrace would run for a stranger without its whole sandbox: it could then read files
 * of the node. Whoever is at this machine as the loopback caller can do that anyway.
 */
export function requireSandbox({ source }: Caller, { tier }: ResolvedTarget, { state, missing }: SandboxFacts): void {
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

/** Makes a program count its target only. For the node that is the program as it is. */
export const scopeProgram = (program: Program, _target: ResolvedTarget): Program => program;
