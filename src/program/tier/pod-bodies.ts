import { BUILTINS } from '../builtins.ts';
import type { Block, Expression, Probe, Span, Statement, Tree } from '../tree.ts';
import { type Checked, type Finding, type Remedy, wordsOf } from './finding.ts';
import { GRAPH, type Kind, mayCast } from './graph.ts';
import { expand, macroOf } from './macros.ts';
import { FOR_PODS, IN_BARE, MODES, OF_CURRENT, READ_MEMORY, TEXTS, WITH_MODES } from './names.ts';
import { type Place, placeOf, structureOf } from './place.ts';
import { POD_REMEDIES as REMEDIES } from './remedies.ts';

/**
 * What of the bodies and predicates of a program reaches beyond the target: each value is followed from where it comes
 * from to where it is used, and a pointer that does not belong to the event is never read through.
 */
export function* podBodies(program: Checked): Generator<Finding> {
  const state: State = { stored: new Map(), left: MAX_STEPS };
  // Kinds only ever become less certain, so that a few rounds settle what maps and variables hold.
  for (let before = -1; before !== certainty(state.stored); ) {
    before = certainty(state.stored);
    for (const one of bodiesOf(program.tree)) readBody(program, one, state);
  }
  const seen = new Set<string>();
  for (const one of bodiesOf(program.tree)) {
    for (const finding of readBody(program, one, state)) {
      const key = `${finding.span?.start} ${finding.reason}`;
      if (seen.has(key)) continue;
      seen.add(key);
      yield finding;
    }
  }
}

interface State {
  /** What maps and variables hold. */
  readonly stored: Map<string, Kind>;
  /** How many expressions may still be looked at. */
  left: number;
}

/** For all of a program: macros and long chains of variables could otherwise take minutes. */
const MAX_STEPS = 500_000;
const MAX_MACRO_DEPTH = 16;

interface Body {
  /** Keeps the variables of one probe apart from those of another. */
  readonly owner: number;
  readonly probe: Probe;
  readonly place: Place;
}

/** Each probe once for every kind of place that it is attached to; what no place is known for is refused elsewhere. */
function* bodiesOf({ probes }: Tree): Generator<Body> {
  for (const [owner, probe] of probes.entries()) {
    for (const point of probe.points) {
      const place = placeOf(point);
      if (place) yield { owner, probe, place };
    }
  }
}

const OPAQUE = 'opaque';
/** Of what was never stored. */
const UNSET = 'unset';
/** Of what is refused already: nothing more is said of what is done with it. */
const REFUSED = 'refused';

const certainty = (stored: ReadonlyMap<string, Kind>): number =>
  [...stored.values()].reduce((sum, kind) => sum + (kind === OPAQUE ? 2 : 1), 0);

function join(left: Kind, right: Kind): Kind {
  if (left === right || left === UNSET || right === REFUSED) return right;
  return right === UNSET || left === REFUSED ? left : OPAQUE;
}

/** What a map gives back later: the kernel may have given what a pointer leads to, to a neighbour by then. */
const lasting = (kind: Kind): Kind =>
  kind === 'text' || (kind.endsWith(' *') && !kind.startsWith('user ')) ? OPAQUE : kind;

const KNOWN = new Set(BUILTINS.map(({ name }) => name));
const INTEGER = /^u?int(?:8|16|32|64)$|^bool$|^enum /;

/** Kinds whose bytes are the event's own. */
const OWN_BYTES: ReadonlySet<Kind> = new Set(['string', 'text', 'array', UNSET, REFUSED]);

const MEMORY = 'it reads memory of the kernel that need not be of the event';
const PAYLOAD = 'it reads data that the process handles, which the right to trace does not cover';
const STRANGER = 'the event is not that of the task which happens to run, so this would tell of a stranger';
const BARE = 'this probe fires for nobody, and what runs then belongs to a stranger';

/** Finds out what one probe stores, and gives what of it reaches too far. */
function readBody({ source, tree }: Checked, { owner, probe, place }: Body, state: State): readonly Finding[] {
  const findings: Finding[] = [];
  const { stored } = state;
  let macroDepth = 0;

  function refuse(node: { readonly span?: Span }, reason: string, remedy: Remedy, otherwise = 'the expression'): Kind {
    findings.push({
      ...(node.span && { span: node.span }),
      construct: wordsOf(source, node.span, otherwise),
      reason,
      remedy,
    });
    return REFUSED;
  }

  /** Where the probe tells what is looked for, the event that has it. */
  function betterThan(remedy: Remedy): Remedy {
    if (probe.points.some(({ text }) => /open/.test(text))) return REMEDIES.opens;
    return probe.points.some(({ text }) => /signal/.test(text)) ? REMEDIES.sent : remedy;
  }

  const nameOf = (name: string): string => (name.startsWith('@') ? name : `${owner} ${name}`);

  function store(name: string, kind: Kind): void {
    stored.set(nameOf(name), join(stored.get(nameOf(name)) ?? UNSET, kind));
  }

  // ------------------------------------------------------------------------------------------------------ expressions

  /** A value that is kept, printed or counted: no whole structure. */
  function value(node: Expression): Kind {
    const kind = kindOf(node);
    if (GRAPH.has(kind)) return refuse(node, 'a whole structure holds more than the event', REMEDIES.walk);
    return kind;
  }

  function kindOf(node: Expression): Kind {
    if (--state.left < 0) return refuse(node, 'the program is too long to be followed', REMEDIES.macros);
    switch (node.kind) {
      case 'number':
      case 'boolean':
      case 'type':
        return 'number';
      case 'sizeof':
      case 'offsetof':
        // Not run, but read by the same rules as all else.
        if ('kind' in node.of) kindOf(node.of);
        return 'number';
      case 'string':
        return 'string';
      case 'positional':
        return refuse(node, 'parameters of a command line do not exist here', REMEDIES.parameters);
      case 'name':
        return nameKind(node, node.name);
      case 'variable':
        return stored.get(nameOf(node.name)) ?? UNSET;
      case 'map':
        node.key?.forEach(value);
        return lasting(stored.get(node.name) ?? UNSET);
      case 'call':
        return callKind(node);
      case 'unary':
        if (node.operator === '*') return refuse(node, MEMORY, REMEDIES.walk);
        if (node.operator === '&') return refuse(node, 'it is an address', REMEDIES.store);
        value(node.operand);
        return 'number';
      case 'update':
        target(node.operand, 'number');
        return 'number';
      case 'binary':
        value(node.left);
        value(node.right);
        return 'number';
      case 'ternary':
        value(node.condition);
        return join(value(node.yes), value(node.no));
      case 'field':
        return fieldKind(node);
      case 'index':
        return indexKind(node);
      case 'cast':
        return castKind(node);
      case 'tuple':
        node.items.forEach(value);
        return 'list';
      case 'record':
        for (const field of node.fields) value(field.value);
        return 'list';
      case 'block_value':
        return blockKind(node.body);
      case 'if_value':
        value(node.condition);
        return join(blockKind(node.yes), blockKind(node.no));
      case 'comptime':
        return value(node.operand);
    }
  }

  /** What a macro stands for at the place of its call; undefined for what is no call of one. */
  function macroKind(node: Expression, name: string, given: readonly Expression[]): Kind | undefined {
    const { length } = tree.macros.filter((one) => one.name === name);
    if (length === 0) return undefined;
    // Of several, bpftrace takes the one whose parameters fit best.
    const macro = length === 1 ? macroOf(tree, name, given.length) : undefined;
    const body = macro && macroDepth < MAX_MACRO_DEPTH ? expand(macro, given) : undefined;
    if (body === undefined) return refuse(node, 'it does not fit the parameters of the macro', REMEDIES.macros, name);
    macroDepth++;
    const kind = blockKind(body);
    macroDepth--;
    return kind;
  }

  function nameKind(node: Expression, name: string): Kind {
    const expanded = macroKind(node, name, []);
    if (expanded !== undefined) return expanded;
    if (place.bare && !IN_BARE.has(name) && !isConstant(name)) return refuse(node, BARE, REMEDIES.bare);
    const argument = /^arg(\d+)$/.exec(name)?.[1];
    if (argument !== undefined) {
      return (
        place.argument(Number(argument)) ??
        refuse(node, 'the type of this argument is not known here', betterThan(REMEDIES.argument))
      );
    }
    if (name === 'retval') return place.retval;
    if (name === 'args') return refuse(node, 'only its fields may be used', REMEDIES.memory);
    if (!place.ownTask && OF_CURRENT.has(name)) return refuse(node, STRANGER, REMEDIES.current);
    if (name === 'curtask') return 'struct task_struct *';
    if (isConstant(name)) return 'number';
    return allowed(node, name) ?? (TEXTS.has(name) ? 'string' : 'number');
  }

  /** Refuses a function or builtin that is not for everybody. */
  function allowed(node: Expression, name: string): Kind | undefined {
    if (FOR_PODS.has(name)) return undefined;
    return refuse(
      node,
      KNOWN.has(name) ? 'it reads what does not belong to one pod' : 'it is not known to belong to one pod',
      node.kind === 'call' ? REMEDIES.call : REMEDIES.name,
    );
  }

  function callKind(node: Extract<Expression, { kind: 'call' }>): Kind {
    const { callee, arguments: given } = node;
    const expanded = macroKind(node, callee, given);
    if (expanded !== undefined) return expanded;
    // No command line gives an option here, so it is its default.
    if (callee === 'getopt') return given[1] ? value(given[1]) : 'number';
    if (place.bare && !IN_BARE.has(callee)) return refuse(node, BARE, REMEDIES.bare);
    if (!place.ownTask && OF_CURRENT.has(callee)) return refuse(node, STRANGER, REMEDIES.current);
    const refusal = allowed(node, callee);
    if (refusal !== undefined) return refusal;
    const kinds = given.map((argument) => {
      if (WITH_MODES.has(callee) && argument.kind === 'name') return modeKind(argument);
      return value(argument);
    });
    const ofMemory = READ_MEMORY.get(callee) ?? 0;
    for (const [at, argument] of given.entries()) {
      const kind = kinds[at] ?? UNSET;
      if (at < ofMemory) checkMemory(callee, argument, kind);
      else if (ofMemory === 0) checkArgument(callee, argument, kind);
    }
    // bpftrace 0.27 reads on behind the end: the stack of the program, or what is next to a field.
    if (callee === 'buf' && given[1]) refuse(given[1], 'it may read behind the end', REMEDIES.length);
    if (callee === 'find' && given[2]) target(given[2], kinds[0] ?? OPAQUE);
    if (callee === 'pton') return 'array';
    return TEXTS.has(callee) ? 'string' : 'number';
  }

  function modeKind(node: Extract<Expression, { kind: 'name' }>): Kind {
    if (node.name === 'raw') return refuse(node, 'it prints addresses instead of names', REMEDIES.addresses);
    return MODES.has(node.name) ? 'number' : value(node);
  }

  function checkArgument(callee: string, node: Expression, kind: Kind): void {
    if (kind === REFUSED) return;
    if (callee === 'join' && kind !== 'user text *') refuse(node, PAYLOAD, REMEDIES.payload);
    if (callee === 'join' && !place.ownTask) refuse(node, STRANGER, REMEDIES.current);
    if (callee === 'path' && structureOf(kind) !== 'struct path') refuse(node, MEMORY, REMEDIES.walk);
    if (callee === 'socket_cookie' && kind !== 'struct sock *') refuse(node, MEMORY, REMEDIES.walk);
    if (callee === 'ksym' && kind !== OPAQUE) refuse(node, 'it would tell where the kernel is', REMEDIES.symbol);
    if (callee === 'cgroup_path' && node.kind !== 'string' && !(node.kind === 'name' && node.name === 'cgroup'))
      refuse(node, 'the cgroup of another may have this number', REMEDIES.name);
    if (/^(?:comm|leader_comm|leader_tid)$/.test(callee) && kind !== 'struct task_struct *')
      refuse(node, 'it would tell of another task', REMEDIES.task);
  }

  function checkMemory(callee: string, node: Expression, kind: Kind): void {
    if (OWN_BYTES.has(kind) && !(callee === 'memcmp' && kind === 'text')) return;
    if (kind !== 'user text')
      refuse(node, place.ownTask ? PAYLOAD : MEMORY, place.ownTask ? REMEDIES.payload : REMEDIES.memory);
    else if (!place.ownTask) refuse(node, STRANGER, REMEDIES.current);
  }

  function fieldKind(node: Extract<Expression, { kind: 'field' }>): Kind {
    const { object, field } = node;
    if (object.kind === 'name' && object.name === 'args') {
      if (place.bare) return refuse(node, BARE, REMEDIES.bare);
      return (
        place.field(field) ??
        refuse(node, 'it tells of another task, or its type is not known here', betterThan(REMEDIES.otherTask))
      );
    }
    const kind = kindOf(object);
    if (kind === 'list' || /^\d+$/.test(field)) return OPAQUE;
    if (kind === REFUSED) return kind;
    const structure = structureOf(kind);
    if (structure === undefined) return refuse(node, MEMORY, REMEDIES.walk);
    if (structure.startsWith('user ') && !place.ownTask) return refuse(node, STRANGER, REMEDIES.current);
    return (
      GRAPH.get(structure)?.get(field) ??
      refuse(
        node,
        `\`${field}\` of ${structure.replace('user ', '')} is not among the fields that belong to one pod`,
        structure === 'struct task_struct' ? REMEDIES.task : REMEDIES.walk,
      )
    );
  }

  function indexKind({ object, index, ...node }: Extract<Expression, { kind: 'index' }>): Kind {
    const kind = kindOf(object);
    value(index);
    if (kind === REFUSED) return kind;
    if (kind === 'user text *') return place.ownTask ? 'user text' : refuse(node, STRANGER, REMEDIES.current);
    if (kind === 'list') return OPAQUE;
    if (kind !== 'array' && kind !== 'text') return refuse(node, MEMORY, REMEDIES.walk);
    return index.kind === 'number' ? 'number' : refuse(node, 'it may read behind the end', REMEDIES.index);
  }

  function castKind(node: Extract<Expression, { kind: 'cast' }>): Kind {
    const { type, operand } = node;
    const from = value(operand);
    if (from === REFUSED) return from;
    if (type.pointers === 0) {
      if (INTEGER.test(type.name)) return type.dimensions.length > 0 && from === 'number' ? 'array' : 'number';
      return refuse(node, 'a value may be read as an integer, or as the structure that it is', REMEDIES.walk);
    }
    return (
      mayCast(from, `${type.name} ${'*'.repeat(type.pointers)}`, place.protocol) ??
      refuse(node, 'it reads memory of the kernel as something that the event does not hand over', REMEDIES.walk)
    );
  }

  // ------------------------------------------------------------------------------------------------------- statements

  function target(node: Expression, kind: Kind): void {
    if (node.kind === 'variable') store(node.name, kind);
    else if (node.kind === 'map') {
      node.key?.forEach(value);
      store(node.name, kind);
    } else refuse(node, 'only maps and variables may be changed', REMEDIES.store);
  }

  function blockKind({ statements, value: last }: Block): Kind {
    statements.forEach(statement);
    return last ? value(last) : 'number';
  }

  function statement(node: Statement): void {
    switch (node.kind) {
      case 'expression':
        value(node.expression);
        return;
      case 'assign': {
        const kind = value(node.value);
        target(node.target, node.operator === '=' ? kind : 'number');
        return;
      }
      case 'let':
        if (node.value) store(node.name, value(node.value));
        return;
      case 'if':
        value(node.condition);
        blockKind(node.then);
        if (node.otherwise) blockKind(node.otherwise);
        return;
      case 'while':
        refuse(
          node.span ? { span: { start: node.span.start, end: node.span.start + 'while'.length } } : node,
          'how often it repeats is not known before it runs',
          REMEDIES.while,
        );
        value(node.condition);
        blockKind(node.body);
        return;
      case 'unroll':
        value(node.count);
        blockKind(node.body);
        return;
      case 'for_range':
        value(node.from);
        value(node.to);
        store(node.variable, 'number');
        blockKind(node.body);
        return;
      case 'for_each':
        value(node.over);
        store(node.variable, 'list');
        blockKind(node.body);
        return;
      case 'return':
        if (node.value) value(node.value);
        return;
      case 'block':
        blockKind(node.body);
        return;
      case 'break':
      case 'continue':
        return;
    }
  }

  if (probe.predicate) value(probe.predicate);
  blockKind(probe.body);
  return findings;
}

/** Constants of enums, such as `TCP_CLOSE`, and words of ours that a scope adds are numbers. */
const isConstant = (name: string): boolean => /^[A-Z][A-Z0-9_]*$/.test(name);
