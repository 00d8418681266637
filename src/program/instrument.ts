import { type Position, positionAt } from './lexer.ts';
import { parseExpression, parseProbes } from './parse.ts';
import { printTree } from './print.ts';
import type { AppliedRule } from './scope/scope.ts';
import {
  type AttachPoint,
  type Block,
  type Expression,
  mapExpressions,
  nodesOf,
  type Probe,
  pointName,
  probeNodes,
  type Statement,
  type Tree,
} from './tree.ts';

/** A program as it is sent to bpftrace, with what the tracer must know to read its output. */
export interface PrintedProgram {
  /** What the caller wrote. */
  readonly source: string;
  /** What runs. */
  readonly text: string;
  /** The place in `source` of a place in `text`; undefined for what is ours. */
  readonly placeOf: (printed: Position) => Position | undefined;
  /** As the caller wrote them. */
  readonly attachPoints: readonly string[];
  /** How many attach points of `text` are ours. */
  readonly ownPoints: number;
  /** How many of them come before the caller's; the others are the last. */
  readonly ownFirst?: number;
  /** What `print` gives when all before it was read: a nonce, so that no traced text can forge it. */
  readonly endMarker: string;
  /** True when only `begin` and `end` probes are there, so that the run is over as soon as it is armed. */
  readonly endsAtOnce: boolean;
  /** True when the program may end by itself. */
  readonly mayEnd: boolean;
  /** True when printing ends in the kernel at the time limit, so that no flood is endless. */
  readonly gated?: boolean;
  /** Host paths of files that probes are in; the text names the first as `/proc/self/fd/9`, the next as 10, … */
  readonly files: readonly string[];
  /** Our own counters, as `TraceEnd.hidden` names them; absent when printing statements are not counted. */
  readonly counters?: readonly string[];
}

export interface Printing {
  /** Milliseconds from the attachment, after which nothing is printed any more. */
  readonly timeoutMs: number;
  /** A text that nobody can guess. */
  readonly nonce: string;
  /** Whether each rule counts how often its probes fire and how often that is for the target: `all_N` and `in_N`. */
  readonly control?: boolean;
  readonly files?: readonly string[];
}

/** Prints a program, scoped or not, with our own parts in it. */
export function toPrinted(
  { source, attachPoints }: { readonly source: string; readonly attachPoints: readonly string[] },
  { tree, rules }: { readonly tree: Tree; readonly rules: readonly AppliedRule[] },
  { timeoutMs, nonce, control = false, files = [] }: Printing,
): PrintedProgram {
  const endMarker = `kt.end ${nonce}`;
  const whole = control ? { ...tree, probes: tree.probes.flatMap(byPoint) } : tree;
  const ruleOf = control ? rulesOf(whole, rules, source) : [];
  const instrumented = instrument(whole, { timeoutMs, endMarker, ruleOf });
  const { text, placeOf } = printTree(instrumented);
  const isOwn = instrumented.probes.map(({ points }) => points.every(({ span }) => span === undefined));
  return {
    source,
    text,
    placeOf: (printed) => placeOf(printed, source),
    attachPoints,
    ownPoints: isOwn.filter(Boolean).length,
    ownFirst: isOwn.indexOf(false),
    endMarker,
    endsAtOnce: endsAtOnce(tree),
    mayEnd: mayEnd(tree),
    gated: instrumented.probes.length - whole.probes.length > 1,
    files,
    counters: hiddenMapsOf(instrumented.probes)
      .map((name) => name.slice(HIDDEN_MAP.length))
      .filter((name) => /^(?:seen|all|in)_/.test(name)),
  };
}

/** A program of our own that runs as it is, with nothing but the soft stop behind it. */
export function plainProgram(text: string): PrintedProgram {
  const endMarker = 'kt.end';
  const lines = text.split('\n').length;
  return {
    source: text,
    // On a line of its own: a comment in the last line would swallow it.
    text: `${text}\nself:signal:SIGUSR1 { print("${endMarker}"); exit(); }\n`,
    placeOf: (printed) => (printed.line <= lines ? printed : undefined),
    attachPoints: [text], // nothing but the files that it names is looked for in them
    ownPoints: 1,
    endMarker,
    endsAtOnce: false,
    mayEnd: /\bexit\b/.test(text),
    files: [],
  };
}

/** Maps of ours begin so; a caller's cannot. */
export const HIDDEN_MAP = '@__kt_';

interface Instruments {
  readonly timeoutMs: number;
  readonly endMarker: string;
  /** By the index of `probes`, the rule whose control counts the probe keeps. */
  readonly ruleOf: readonly (number | undefined)[];
}

const SEEN = `${HIDDEN_MAP}seen`;
const STOP = `${HIDDEN_MAP}stop`;
const UNTIL = `${HIDDEN_MAP}until`;

/** Values of the gate `@__kt_stop`: printing is over, since we ended it or since the program called exit(). */
const ENDED = 1;
const EXITING = 2;

const TICK_MS = 50;

/**
 * Adds our own parts to a program: the soft stop, a count beside each printing statement, and the gate by which printing
 * ends in the kernel at the time limit, since a bpftrace that reads an endless flood never comes to look at a signal. Its
 * own parts have no span.
 */
function instrument(tree: Tree, { timeoutMs, endMarker, ruleOf }: Instruments): Tree {
  const needs = needsOfMacros(tree);
  const isGated = tree.probes.map((probe) => repeats(probe) && doesPrint(probe, needs));
  const gated = isGated.includes(true);

  const probes = tree.probes.map((probe, index): Probe => {
    const counts = { needs, seen: `${SEEN}_${index}`, gated };
    const { scope, user } = predicateOf(probe);
    const rule = repeats(probe) ? ruleOf[index] : undefined;
    const predicate = allOf([
      rule === undefined ? undefined : counting(`${HIDDEN_MAP}all_${rule}`),
      scope,
      rule === undefined ? undefined : counting(`${HIDDEN_MAP}in_${rule}`),
      // Behind the scope, which few events pass, and before what is the caller's, whose side effects are over, too.
      isGated[index] ? parseExpression(`${STOP} == 0`) : undefined,
      user && countedValue(user, counts),
    ]);
    return { ...probe, ...(predicate && { predicate }), body: countedBlock(probe.body, counts) };
  });

  const macros = tree.macros.map((macro) => {
    const own = needs.get(macro.name);
    if (!own) return macro;
    return {
      ...macro,
      parameters: [...macro.parameters, ...hiddenNames(own, SEEN, gated)],
      body: countedBlock(macro.body, { needs, seen: SEEN, gated }),
    };
  });

  return { ...tree, macros, probes: [...probes, ...(gated ? [tick(timeoutMs)] : []), softStop(endMarker, gated)] };
}

/** True when the program is over as soon as it is armed, since only `begin` and `end` probes are there. */
const endsAtOnce = ({ probes }: Tree): boolean =>
  probes.every(({ points }) => points.every(({ kind }) => kind === 'begin' || kind === 'end'));

/** True when the program may end without being asked to: by exit(), which assert() calls, too, or since an iterator is through. */
const mayEnd = ({ probes, macros }: Tree): boolean =>
  probes.some(({ points }) => points.some(({ kind }) => kind === 'iter')) ||
  [...probes.flatMap((probe) => [...probeNodes(probe)]), ...macros.flatMap(({ body }) => [...nodesOf(body)])].some(
    (node) => node.kind === 'call' && (node.callee === 'exit' || node.callee === 'assert'),
  );

// ----------------------------------------------------------------------------------------------------------- our probes

const softStop = (endMarker: string, gated: boolean): Probe =>
  ownProbe(`self:signal:SIGUSR1 { ${gated ? `${STOP} = ${ENDED};` : ''} print("${endMarker}"); exit(); }`);

// The kernel skips a tick that interrupts another probe, and a full buffer loses an exit(): so both are tried again.
const tick = (timeoutMs: number): Probe =>
  ownProbe(`interval:ms:${TICK_MS} {
    if (${UNTIL} == 0) { ${UNTIL} = nsecs + ${timeoutMs * 1_000_000}; } else if (nsecs >= ${UNTIL}) { ${STOP} = ${ENDED}; }
    if (${STOP} == ${EXITING}) { exit(); }
  }`);

function ownProbe(text: string): Probe {
  const [probe] = parseProbes(text);
  if (probe === undefined) throw new Error(`no probe: ${text}`);
  return probe;
}

const hiddenMapsOf = (probes: readonly Probe[]): readonly string[] => {
  const names = probes
    .flatMap((probe) => [...probeNodes(probe)])
    .flatMap((node) => (node.kind === 'map' && node.name.startsWith(HIDDEN_MAP) ? [node.name] : []));
  return [...new Set(names)];
};

// -------------------------------------------------------------------------------------------------------- what is printed

/** Each run of one makes one message, or its argument is a map: that is printed at the end, too, and is not counted. */
const PRINTING = ['printf', 'print', 'time', 'join', 'errorf', 'warnf'];

function isCounted(node: Expression & { kind: 'call' }): boolean {
  const [first] = node.arguments;
  const isMap = node.callee === 'print' && first?.kind === 'map' && first.key === undefined;
  return PRINTING.includes(node.callee) && !isMap;
}

/** Which of our maps a macro writes: in it, only maps that it is given may be used. */
interface Needs {
  seen: boolean;
  stop: boolean;
}

function needsOfMacros({ macros }: Tree): ReadonlyMap<string, Needs> {
  const all = new Map(macros.map(({ name }): [string, Needs] => [name, { seen: false, stop: false }]));
  for (let changed = true; changed; ) {
    changed = false;
    for (const { name, body } of macros) {
      const own = all.get(name);
      for (const node of nodesOf(body)) {
        const called =
          node.kind === 'call' ? all.get(node.callee) : node.kind === 'name' ? all.get(node.name) : undefined;
        const seen = called?.seen || (node.kind === 'call' && isCounted(node));
        const stop = called?.stop || (node.kind === 'call' && node.callee === 'exit');
        if (!own || ((!seen || own.seen) && (!stop || own.stop))) continue;
        own.seen ||= seen;
        own.stop ||= stop;
        changed = true;
      }
    }
  }
  return new Map([...all].filter(([, { seen, stop }]) => seen || stop));
}

const hiddenNames = ({ seen, stop }: Needs, seenMap: string, gated: boolean): readonly string[] => [
  ...(seen ? [seenMap] : []),
  ...(stop && gated ? [STOP] : []),
];

const hidden = (needs: Needs, seen: string, gated: boolean): readonly Expression[] =>
  hiddenNames(needs, seen, gated).map((name) => ({ kind: 'map', name }));

function doesPrint(probe: Probe, needs: ReadonlyMap<string, Needs>): boolean {
  for (const node of probeNodes(probe)) {
    if (node.kind === 'call' && (PRINTING.includes(node.callee) || needs.get(node.callee)?.seen)) return true;
    if (node.kind === 'name' && needs.get(node.name)?.seen) return true;
  }
  return false;
}

const repeats = ({ points }: Probe): boolean => points.some(({ kind }) => kind !== 'begin' && kind !== 'end');

/** What stands in for the expressions of a probe or macro, whose counter is `seen`. */
interface Counting {
  readonly needs: ReadonlyMap<string, Needs>;
  readonly seen: string;
  readonly gated: boolean;
}

const countedBlock = (block: Block, counting: Counting): Block =>
  spliced(mapExpressions(block, (node) => counted(node, counting)));

const countedValue = (expression: Expression, counting: Counting): Expression =>
  countedBlock({ statements: [], value: expression }, counting).value ?? expression;

/** A printing statement with its count behind it, an exit() with the gate closed before it, a macro with our maps. */
function counted(node: Expression, { needs, seen, gated }: Counting): Expression {
  switch (node.kind) {
    case 'block_value':
      return { ...node, body: spliced(node.body) };
    case 'if_value':
      return { ...node, yes: spliced(node.yes), no: spliced(node.no) };
    case 'name': {
      const macro = needs.get(node.name);
      return macro ? { ...node, kind: 'call', callee: node.name, arguments: hidden(macro, seen, gated) } : node;
    }
    case 'call': {
      const macro = needs.get(node.callee);
      const call = { kind: 'expression', expression: node, ...(node.span && { span: node.span }) } as const;
      if (macro) return { ...node, arguments: [...node.arguments, ...hidden(macro, seen, gated)] };
      // One map a probe: the kernel adds without a lock, and never runs a probe inside of itself.
      if (isCounted(node)) return own([call, count(seen)]);
      if (node.callee === 'exit' && gated) return own([set(STOP, EXITING), call]);
      return node;
    }
    default:
      return node;
  }
}

const own = (statements: readonly Statement[]): Expression => ({ kind: 'block_value', body: { statements } });

const isOwn = (node: Expression): node is Expression & { kind: 'block_value' } =>
  node.kind === 'block_value' && node.span === undefined && node.body.value === undefined;

/** Takes what stands in for whole statements out of its block. */
function spliced({ value, ...block }: Block): Block {
  const statements = block.statements.flatMap(splicedStatement);
  if (value && isOwn(value)) return { ...block, statements: [...statements, ...value.body.statements] };
  return { ...block, statements, ...(value && { value }) };
}

function splicedStatement(statement: Statement): readonly Statement[] {
  switch (statement.kind) {
    case 'expression':
      return isOwn(statement.expression) ? statement.expression.body.statements : [statement];
    case 'if':
      return [
        {
          ...statement,
          // biome-ignore lint/suspicious/noThenProperty: no statement is awaited.
          then: spliced(statement.then),
          ...(statement.otherwise && { otherwise: spliced(statement.otherwise) }),
        },
      ];
    case 'while':
    case 'unroll':
    case 'for_range':
    case 'for_each':
    case 'block':
      return [{ ...statement, body: spliced(statement.body) }];
    default:
      return [statement];
  }
}

const count = (name: string) =>
  ({
    kind: 'assign',
    target: { kind: 'map', name },
    operator: '=',
    value: { kind: 'call', callee: 'count', arguments: [] },
  }) as const;

const set = (name: string, value: number) =>
  ({
    kind: 'assign',
    target: { kind: 'map', name },
    operator: '=',
    value: { kind: 'number', text: String(value) },
  }) as const;

// --------------------------------------------------------------------------------------------------------- predicates

/** True, and counts how often it was asked. */
const counting = (name: string): Expression => ({
  kind: 'block_value',
  body: { statements: [count(name)], value: { kind: 'number', text: '1' } },
});

/** Takes `SCOPE && USER` apart: what the scoper added has no span. */
function predicateOf({ predicate }: Probe): { readonly scope?: Expression; readonly user?: Expression } {
  if (!predicate) return {};
  if (predicate.span) return { user: predicate };
  if (predicate.kind === 'binary' && predicate.operator === '&&' && predicate.right.span) {
    return { scope: predicate.left, user: predicate.right };
  }
  return { scope: predicate };
}

const allOf = (conditions: readonly (Expression | undefined)[]): Expression | undefined =>
  conditions
    .filter((condition) => condition !== undefined)
    .reduce<Expression | undefined>(
      (left, right) => (left ? { kind: 'binary', operator: '&&', left, right } : right),
      undefined,
    );

// ------------------------------------------------------------------------------------------------------ control counts

/** One probe for each rule: for each of the caller's attach points, and for each file in which one is. */
function byPoint(probe: Probe): readonly Probe[] {
  const written = ({ span, text }: AttachPoint) => `${span?.start} ${text}`;
  const times = Map.groupBy(probe.points, written);
  const groups = Map.groupBy(probe.points, (point) =>
    (times.get(written(point))?.length ?? 0) > 1 ? pointName(point) : (point.span?.start ?? point.text),
  );
  return [...groups.values()].map((points) => ({ ...probe, points }));
}

/** For each probe its rule: that of the same attach point; the scoper keeps the order where one became several. */
function rulesOf({ probes }: Tree, rules: readonly AppliedRule[], source: string): readonly (number | undefined)[] {
  const free = rules.map((rule, index) => ({ rule, index }));
  return probes.map(({ points: [point] }) => {
    const at = free.findIndex(({ rule }) => point && isRuleOf(rule, point, source));
    return at === -1 ? undefined : free.splice(at, 1)[0]?.index;
  });
}

function isRuleOf({ point, at }: AppliedRule, { text, span }: AttachPoint, source: string): boolean {
  if (!at || !span) return point === text; // without a place, its text must do
  const { line, column } = positionAt(source, span.start);
  return at.line === line && at.column === column;
}
