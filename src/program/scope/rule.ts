import type { Expression } from '../tree.ts';
import type { Point, ScopeClass, ScopeKernel, ScopeTarget } from './scope.ts';
import type { Row } from './table.ts';
import type { Translation } from './translation.ts';
import type { Uses } from './uses.ts';

/** One attach point of the node, and what is known when its owner is looked for. */
export interface Question {
  readonly point: Point;
  /** `tracepoint`, `kprobe`, … */
  readonly kind: string;
  /** What the table says of it. */
  readonly row: Row | undefined;
  /** What the caller's predicate and body read. */
  readonly uses: Uses;
  readonly target: ScopeTarget;
  readonly kernel: ScopeKernel;
}

/** By what the events of an attach point are known to be the target's, or that they are not. */
export type Claim = Owned | Unowned;

export interface Owned {
  readonly class: Exclude<ScopeClass, 'N'>;
  readonly owner: string;
  /** An expression of the language, true for the target's events only. */
  readonly predicate: string | Expression;
  readonly notes: readonly string[];
  /** What ends every run of the probe: it forgets the key, so that it stands for one event only. */
  readonly last?: Expression;
  /** Where only the raw tracepoint hands over the owner. */
  readonly translation?: Translation;
}

export interface Unowned {
  readonly class: 'N';
  readonly owner: string;
  readonly notes: readonly string[];
  /** Why nothing scopes it; absent for what has no event of its own and runs for every target. */
  readonly why?: string;
  /** A probe that answers nearly the same and can be scoped. */
  readonly instead?: string;
}

/** A class of probes: who owns their events, and how the kernel tells. */
export interface Rule {
  readonly class: ScopeClass;
  /** Undefined for what another class decides. */
  claim(question: Question): Claim | undefined;
}

export const unowned = (why: string, instead?: string): Unowned => ({
  class: 'N',
  owner: 'node-wide',
  notes: [],
  why,
  ...(instead === undefined ? {} : { instead }),
});

/** The raw tracepoint of a tracepoint's name. */
export const rawForm = ({ point }: Question): string => `rawtracepoint:${point.name.split(':').at(-1)}`;
