import type { KernelFacts } from '../trace/ports.ts';
import { isAtLeast } from '../trace/version.ts';

/** What is said of one name of bpftrace's language. */
export interface Helper {
  readonly name: string;
  /** The group under which it is listed. */
  readonly kind: string;
  readonly signature: string;
  readonly summary: string;
  readonly example: string;
  /** `node`: it needs the right to trace the whole node. */
  readonly tier: 'any' | 'node';
  /** Probe kinds in which it works, where that is not all. */
  readonly probes?: readonly string[];
  readonly trap?: string;
  /** Why it is never allowed. */
  readonly refused?: string;
  /** The kernel helper without which it does not load. */
  readonly needs?: string;
  /** The first bpftrace that has it, `0.26`. */
  readonly since?: string;
}

/** What decides whether a name works here. */
export type HelperFacts = Pick<KernelFacts, 'features' | 'bpftrace'>;

/** The catalogue by kind, a line each; a filter that is an exact name tells all about that one. */
export function renderHelpers(helpers: readonly Helper[], filter: string, facts: HelperFacts): string {
  const wanted = filter
    .trim()
    .toLowerCase()
    .replace(/\(\)?$/, '');
  const exact = helpers.filter(({ name }) => name.toLowerCase() === wanted);
  if (exact.length > 0) return exact.map((helper) => details(helper, facts)).join('\n\n');

  const words = wanted.split(/\s+/);
  const found = helpers.filter(({ name, kind, summary }) => {
    const text = `${name} ${kind} ${summary}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  if (found.length === 0)
    return `0 of ${helpers.length} names match; try one word, or leave filter out to see all of them`;
  const groups = Map.groupBy(found, ({ kind }) => kind);
  return [
    `${found.length} of ${helpers.length} names; an exact name as filter tells its traps and an example`,
    ...[...groups].flatMap(([kind, group]) => [`${kind}:`, ...group.map((helper) => `  ${oneLine(helper, facts)}`)]),
  ].join('\n');
}

function oneLine(helper: Helper, facts: HelperFacts): string {
  const marks = [
    helper.refused !== undefined && 'refused',
    lack(helper, facts) !== undefined && 'not here',
    helper.tier === 'node' && 'node rights',
  ].filter((mark) => mark !== false);
  return `${helper.signature}: ${helper.summary}${marks.length > 0 ? ` [${marks.join(', ')}]` : ''}`;
}

function details(helper: Helper, facts: HelperFacts): string {
  const { kind, signature, summary, example, probes, tier, trap, refused } = helper;
  const lacking = lack(helper, facts);
  return [
    `${kind} ${signature}: ${summary}`,
    `example: ${example}`,
    ...(trap === undefined ? [] : [`trap: ${trap}`]),
    ...(probes === undefined ? [] : [`works in: ${probes.join(', ')}`]),
    ...(tier === 'node' ? ['needs the right to trace the whole node'] : []),
    ...(refused === undefined ? [] : [`refused: ${refused}`]),
    ...(lacking === undefined ? [] : [`not here: ${lacking}`]),
  ].join('\n');
}

/** Why a name does not work on this node. Where the kernel did not tell its helpers, none is known to be missing. */
function lack({ needs, since }: Helper, { features, bpftrace }: HelperFacts): string | undefined {
  if (since !== undefined && !isAtLeast(bpftrace.version, since))
    return `bpftrace ${bpftrace.version} is older than ${since}`;
  const isMissing = needs !== undefined && features.helpers.length > 0 && !features.helpers.includes(needs);
  return isMissing ? `this kernel has no ${needs}` : undefined;
}
