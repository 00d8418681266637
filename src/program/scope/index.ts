import { KerntapError } from '../../errors.ts';
import { placeOf, positionAt } from '../lexer.ts';
import { parseExpression, parseProbes } from '../parse.ts';
import { type AttachPoint, type Expression, nodesOf, type Probe, pointName, type Tree } from '../tree.ts';
import { argument, CURRENT } from './argument.ts';
import { block } from './block.ts';
import { GROUP_SET, IO_SET } from './cgroup.ts';
import { iterator } from './iterator.ts';
import { keyOf, scopedKeys } from './keyed.ts';
import { always, nobody } from './none.ts';
import { packet } from './packet.ts';
import { translatePids } from './pids.ts';
import { translateProbe } from './rewrite.ts';
import type { Claim, Rule } from './rule.ts';
import type { AppliedRule, Point, Scoped, ScopeRequest } from './scope.ts';
import { socket } from './socket.ts';
import { hideStrangers, namesTheTask, runsInAnyTask } from './strangers.ts';
import { rowOf } from './table.ts';
import { task } from './task.ts';
import { type Uses, usesOf } from './uses.ts';

export { translatePids } from './pids.ts';

/** The classes in the order in which they are asked; the first that claims an attach point has it. */
const RULES: readonly Rule[] = [always, iterator, argument, socket, packet, block, task];

/** Kinds whose attach points the node lists, so that an empty answer is a miss. */
const LISTED = ['tracepoint', 'rawtracepoint', 'kprobe', 'kretprobe', 'fentry', 'fexit'];

/** More points than this are not named one by one: each is compiled by itself. */
const MAX_NAMED = 64;

/** One of the caller's attach points, and who owns what it stands for. */
interface Placed {
  readonly probe: Probe;
  readonly attach: AttachPoint;
  readonly parts: readonly Part[];
}

/** Points of the node with the same owner. */
interface Part {
  /** The same for all points that can share a probe. */
  readonly key: string;
  readonly claim: Claim;
  readonly points: readonly Point[];
}

/**
 * Makes every probe of `tree` count the target's events only, by a predicate before the caller's own. Throws
 * `program.unscoped` for a probe that nothing can scope, unless the caller allows it, and `program.too_many_probes`.
 */
export function scopeTree(tree: Tree, source: string, request: ScopeRequest): Scoped {
  const placed = withKeys(tree.probes.flatMap((probe) => place(probe, tree, request)));
  if (request.unscoped === 'refuse') for (const one of placed) refuseUnowned(one, source);
  const rules: AppliedRule[] = [];
  const probes = [...Map.groupBy(placed, ({ probe }) => probe).values()].flatMap((ofProbe) => {
    const made = new Map<string, Probe>();
    for (const { probe, attach, parts } of ofProbe) {
      for (const part of parts) {
        const points = parts.length === 1 ? [attach] : namedPoints(part, attach, source);
        const own = scoped({ ...probe, points }, part, request);
        const same = made.get(part.key);
        made.set(part.key, same ? { ...same, points: [...same.points, ...own.points] } : own);
        const rule = ruleOf(attach, part, parts.length, source);
        rules.push(
          hides(translated(probe, part), part.claim, request)
            ? { ...rule, notes: [...rule.notes.filter((note) => note !== CURRENT), HIDDEN] }
            : rule,
        );
      }
    }
    return sorted([...made]).map(([, probe]) => probe);
  });
  const own = ownProbes(placed, request);
  const macros = tree.macros.map((macro) => hideStrangers(macro, request));
  const whole = { ...tree, macros, probes: [...own, ...probes] };
  return { tree: request.kernel.nestedPids ? translatePids(whole) : whole, rules };
}

const sorted = <Value>(entries: readonly (readonly [string, Value])[]): readonly (readonly [string, Value])[] =>
  entries.toSorted(([a], [b]) => (a < b ? -1 : 1));

// ------------------------------------------------------------------------------------------------------------ owners

/** Finds the owners of all points that a probe's list stands for. */
function place(probe: Probe, tree: Tree, request: ScopeRequest): readonly Placed[] {
  const uses = usesOf(probe, tree);
  const placed = probe.points.map((attach) => {
    const found = request.points(attach);
    const isMiss = found.length === 0 && LISTED.includes(attach.kind);
    const points = found.length > 0 ? found : [{ name: pointName(attach), fields: [], parameters: [] }];
    const claimed = points.map((point) => ({ point, claim: claimOf(point, attach.kind, isMiss, uses, request) }));
    const groups = Map.groupBy(claimed, ({ claim }) => keyOfClaim(claim));
    const parts = sorted([...groups]).flatMap(([key, same]) =>
      same[0] ? [{ key, claim: same[0].claim, points: same.map(({ point }) => point) }] : [],
    );
    return { probe, attach, parts, isMiss };
  });
  // bpftrace only warns of what is missing, but for a probe that has nothing else.
  const home = placed
    .filter(({ isMiss }) => !isMiss)
    .flatMap(({ parts }) => parts)
    .find(({ claim }) => (claim.class === 'N' ? claim.why !== undefined : !claim.translation));
  return placed.map(({ isMiss, parts, ...one }) => ({
    ...one,
    parts: isMiss && home ? parts.map((part) => ({ ...home, points: part.points })) : parts,
  }));
}

/** The same for points that can share a probe and a rule. */
const keyOfClaim = (claim: Claim): string =>
  JSON.stringify(
    claim.class === 'N' ? [claim.class, claim.why] : [claim.class, claim.owner, claim.predicate, claim.translation],
  );

/** What the node does not have is for bpftrace to say, with the nearest names; until then it counts the current task. */
function claimOf(point: Point, kind: string, isMiss: boolean, uses: Uses, { target, kernel }: ScopeRequest): Claim {
  const row = isMiss ? MISSED : rowOf(point);
  const question = { point, kind, row, uses, target, kernel };
  for (const rule of isMiss ? [task] : RULES) {
    const claim = rule.claim(question);
    if (claim !== undefined) return claim;
  }
  return nobody(question);
}

const MISSED = { pattern: '*', class: 'T' } as const;

/** Gives what has no owner the key that a scoped probe stored, where it reads one (class M). */
function withKeys(placed: readonly Placed[]): readonly Placed[] {
  const isScoped = ({ parts }: Placed) => parts.every(({ claim }) => claim.class !== 'N');
  const keys = scopedKeys(
    placed.map((one) => ({
      probe: one.probe,
      points: one.parts.flatMap(({ points }) => points),
      isScoped: isScoped(one),
    })),
  );
  return placed.map((one) => {
    const found = keyOf(one.probe, keys);
    // Behind a return the key would stay, and the kernel uses the same address for what comes next.
    if (!found || [...nodesOf(one.probe.body)].some(({ kind }) => kind === 'return')) return one;
    const key: Expression = found.key.length === 1 && found.key[0] ? found.key[0] : { kind: 'tuple', items: found.key };
    const withKey = (callee: string): Expression => ({
      kind: 'call',
      callee,
      arguments: [{ kind: 'map', name: found.map }, key],
    });
    const keyed: Claim = {
      class: 'M',
      owner: `key in ${found.map}`,
      predicate: withKey('has_key'),
      last: withKey('delete'),
      notes: [],
    };
    return {
      ...one,
      parts: one.parts.map((part) => (isRefused(part) ? { ...part, key: keyOfClaim(keyed), claim: keyed } : part)),
    };
  });
}

const isRefused = ({ claim }: Part): boolean => claim.class === 'N' && claim.why !== undefined;

function refuseUnowned({ attach, parts }: Placed, source: string): void {
  const refused = parts.filter(isRefused);
  const [first] = refused;
  if (first === undefined || first.claim.class !== 'N') return;
  const { why, instead } = first.claim;
  const names = refused.flatMap(({ points }) => points.map(({ name }) => name));
  const isOther = names.length > 1 || names[0] !== pointName(attach);
  const more = names.length > 3 ? ` and ${names.length - 3} more` : '';
  const what = isOther ? `, which stands for ${names.slice(0, 3).join(', ')}${more}, too,` : '';
  const form = instead ?? 'a probe that runs for the target, such as tracepoint:raw_syscalls:sys_enter';
  throw new KerntapError(
    'program.unscoped',
    `The probe \`${attach.text}\`${placeIn(attach, source)}${what} cannot be scoped to the target: ${why}.`,
    {
      remedy: `${isOther ? 'name the probes that you need' : `use ${form}`}, or pass unscoped="allow" to run it for the whole node (needs node rights)`,
    },
  );
}

const placeIn = ({ span }: AttachPoint, source: string): string => (span ? ` at ${placeOf(source, span.start)}` : '');

// ------------------------------------------------------------------------------------------------------------ probes

const HIDDEN = 'comm, pid and tid are empty or 0 where a task that is not the target’s was interrupted';

/** What a rule says of the task itself, such as that of sched_switch, is shown by that rule. */
const hides = (probe: Probe, { class: owner, ...claim }: Claim, request: ScopeRequest): boolean =>
  runsInAnyTask(owner) &&
  !('translation' in claim && claim.translation?.builtins.comm) &&
  request.strangers === 'hide' &&
  namesTheTask(probe);

function scoped(given: Probe, part: Part, request: ScopeRequest): Probe {
  const { claim } = part;
  if (claim.class === 'N') return given;
  const probe = translated(given, part);
  const own = hides(probe, claim, request) ? hideStrangers(probe, request) : probe;
  const scope = typeof claim.predicate === 'string' ? parseExpression(claim.predicate) : claim.predicate;
  const predicate: Expression = own.predicate
    ? { kind: 'binary', operator: '&&', left: scope, right: own.predicate }
    : scope;
  const { last } = claim;
  if (last === undefined) return { ...own, predicate };
  const statements = [...own.body.statements, { kind: 'expression', expression: last } as const];
  return { ...own, predicate, body: { ...own.body, statements } };
}

/** Where only the raw tracepoint hands over the owner, the probe there. */
function translated(probe: Probe, { claim, points: [point] }: Part): Probe {
  const translation = claim.class === 'N' ? undefined : claim.translation;
  if (translation === undefined) return probe;
  const { kind, parts } = translation.point;
  return {
    ...translateProbe(probe, translation, point?.name ?? ''),
    points: probe.points.map((one) => ({ ...one, kind, parts })),
  };
}

/** A part of what a wildcard stands for, point by point. */
function namedPoints({ points }: Part, attach: AttachPoint, source: string): readonly AttachPoint[] {
  if (points.length > MAX_NAMED) {
    throw new KerntapError(
      'program.too_many_probes',
      `The probe \`${attach.text}\`${placeIn(attach, source)} stands for ${points.length} attach points that must be named one by one, more than ${MAX_NAMED}.`,
    );
  }
  return points.map(({ name }) => ({ ...attach, parts: name.split(':').slice(1), text: name }));
}

function ruleOf(attach: AttachPoint, { claim, points }: Part, parts: number, source: string): AppliedRule {
  const [only] = points;
  return {
    point: parts > 1 && points.length === 1 && only ? only.name : attach.text,
    ...(attach.span && { at: positionAt(source, attach.span.start) }),
    class: claim.class,
    owner: claim.owner,
    points: points.length,
    notes:
      claim.class === 'N' && claim.why !== undefined ? [`${attach.text} is not scoped: ${claim.why}`] : claim.notes,
  };
}

/** What fills the sets of ids that predicates look into. Probes named begin run before all others are attached. */
function ownProbes(placed: readonly Placed[], { target, kernel }: ScopeRequest): readonly Probe[] {
  const predicates = placed.flatMap(({ parts }) =>
    parts.flatMap(({ claim }) => (claim.class !== 'N' && typeof claim.predicate === 'string' ? [claim.predicate] : [])),
  );
  const uses = (set: string) => predicates.some((text) => text.includes(set));
  const fill = (set: string, ids: readonly bigint[]) =>
    // An empty map is not printed at the end.
    uses(set) ? parseProbes(`begin { ${ids.map((id) => `${set}[${id}] = 1;`).join(' ')} } end { clear(${set}); }`) : [];
  const ids = target.groups.map(({ id }) => id);
  return [
    ...fill(GROUP_SET, kernel.cgroups === 'id_set' ? [...ids, ...(target.nested ?? [])] : ids),
    ...fill(
      IO_SET,
      (target.ioGroups ?? []).map(({ id }) => id),
    ),
    // Root 0 is cgroup v2; a cgroup that a task of the target makes is the target's, too.
    ...(kernel.cgroups === 'id_set' && uses(GROUP_SET)
      ? parseProbes(
          `tracepoint:cgroup:cgroup_mkdir /(args.root == 0) && has_key(${GROUP_SET}, cgroup)/ { ${GROUP_SET}[args.id] = 1; }`,
        )
      : []),
  ];
}
