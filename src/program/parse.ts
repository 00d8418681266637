import { KerntapError } from '../errors.ts';
import { BUILTINS } from './builtins.ts';
import { HEADER_CONSTANTS, KERNEL_HEADER } from './headers.ts';
import { placeOf, readAttachPoint, readToken, type Token, unterminated } from './lexer.ts';
import { numberOf, unescapeString } from './literals.ts';
import { nearest } from './nearest.ts';
import { PROBE_KINDS, probeKindOf } from './probe-kinds.ts';
import { refused, refuseInTree, refuseToken } from './refusals.ts';
import type {
  AssignOperator,
  AttachPoint,
  BinaryOperator,
  Block,
  ConfigEntry,
  Definition,
  Expression,
  Macro,
  MapDeclaration,
  Probe,
  Statement,
  Tree,
  TypeName,
  UnaryOperator,
} from './tree.ts';
import { deeperThan, nodesOf } from './tree.ts';

/**
 * Reads a whole program of a caller, as bpftrace 0.27 reads it (its src/parser.cpp). Throws `program.invalid` for what is no
 * program, `program.unterminated`, and `program.refused` for what no program may hold or this parser does not know.
 */
export function parseTree(source: string): Tree {
  const tree = createParser(source, 'caller').program();
  refuseInTree(tree, source);
  return tree;
}

/** Reads an expression of ours: its nodes have no spans, and it may use names that begin with `@__` or `$__`. */
export const parseExpression = (text: string): Expression => createParser(text, 'ours').onlyExpression();

/** Reads probes of ours, as `parseExpression` does. */
export const parseProbes = (text: string): readonly Probe[] => createParser(text, 'ours').program().probes;

/** Parentheses, blocks and operators before their operand; what bpftrace reads by recursion, so do we. */
const MAX_NESTING = 64;

/** Of the tree: long chains such as `a + b + c …` are deep, too. */
const MAX_DEPTH = 256;

const MAX_NAME = 128;

// bpftrace src/parser.cpp, BinopPrecedence; all of them group to the left.
const PRECEDENCE: ReadonlyMap<string, number> = new Map(
  [
    ['||'],
    ['&&'],
    ['|'],
    ['^'],
    ['&'],
    ['==', '!='],
    ['<', '<=', '>', '>='],
    ['<<', '>>'],
    ['+', '-'],
    ['*', '/', '%'],
  ].flatMap((operators, level) => operators.map((operator): [string, number] => [operator, level + 1])),
);

const ASSIGNS: ReadonlySet<string> = new Set(['=', '+=', '-=', '*=', '/=', '%=', '&=', '|=', '^=', '<<=', '>>=']);

/** Names that bpftrace's parser never takes for a type or a field of a record (its `is_builtin`). */
const BUILTIN = /^(?:args|ctx|kstack|nsecs|pid|tid|ustack|s?arg\d+|__builtin_\w+)$/;

/** Types that need no `struct` before them; any other name alone in `sizeof` is a value. */
const TYPES =
  /^(?:u?int(?:8|16|32|64)|bool|void|string|inet|buffer|(?:min|max|sum|avg|count|stats|hist|lhist|tseries)_t|[ku]s(?:tack|ym)(?:_t)?|timestamp|macaddr_t|cgroup_path_t|strerror_t|username)$/;

/** Words that begin a construct: as a name they would be read as one. */
const RESERVED: ReadonlySet<string> = new Set([
  ...['if', 'else', 'for', 'while', 'unroll', 'return', 'break', 'continue', 'let', 'import', 'macro', 'fn'],
  ...['sizeof', 'offsetof', 'typeof', 'typeinfo', 'comptime', 'true', 'false', 'struct', 'union', 'enum'],
]);

/** An `if` before it is known whether its value is wanted. */
interface Choice {
  readonly span: { readonly span?: { readonly start: number; readonly end: number } };
  readonly condition: Expression;
  readonly yes: Block;
  readonly otherwise?: Block | Choice;
}

const isChoice = (otherwise: Block | Choice): otherwise is Choice => 'condition' in otherwise;

const choiceStatement = ({ span, condition, yes, otherwise }: Choice): Statement => ({
  kind: 'if',
  condition,
  // biome-ignore lint/suspicious/noThenProperty: no statement is awaited.
  then: yes,
  ...(otherwise && {
    otherwise: isChoice(otherwise) ? { statements: [choiceStatement(otherwise)], ...otherwise.span } : otherwise,
  }),
  ...span,
});

/** What stands at the end of a block that gives no value: bpftrace makes statements of the values in it. */
function withoutValues(statement: Statement): Statement {
  if (statement.kind === 'block') return { ...statement, body: bodyOf(statement.body) };
  if (statement.kind !== 'if') return statement;
  const { otherwise } = statement;
  // biome-ignore lint/suspicious/noThenProperty: no statement is awaited.
  return { ...statement, then: bodyOf(statement.then), ...(otherwise && { otherwise: bodyOf(otherwise) }) };
}

function bodyOf({ statements, value, ...rest }: Block): Block {
  const all = value === undefined ? statements : [...statements, statementOf(value)];
  return {
    ...rest,
    statements: all.map((statement, i) => (i === all.length - 1 ? withoutValues(statement) : statement)),
  };
}

function statementOf(value: Expression): Statement {
  if (value.kind === 'block_value') return { ...value, kind: 'block' };
  if (value.kind === 'if_value') {
    const { yes, no, ...rest } = value;
    // biome-ignore lint/suspicious/noThenProperty: no statement is awaited.
    return { ...rest, kind: 'if', then: yes, otherwise: no };
  }
  return { kind: 'expression', expression: value, ...(value.span && { span: value.span }) };
}

function createParser(source: string, whose: 'caller' | 'ours') {
  let at = 0;
  let ahead: Token | undefined;
  let lastEnd = 0;
  let nesting = 0;
  const open: { readonly what: string; readonly start: number }[] = [];
  const constants = new Map<string, string>();
  const branches: number[] = [];

  // ------------------------------------------------------------------------------------------------------- tokens

  function peek(): Token {
    if (ahead === undefined) {
      ahead = readToken(source, at);
      refuseToken(ahead, source);
    }
    return ahead;
  }

  function take(): Token {
    const token = peek();
    ({ end: at, end: lastEnd } = token);
    ahead = undefined;
    return token;
  }

  const is = (text: string): boolean => peek().text === text;
  const textAfter = ({ end }: Token): string => readToken(source, end).text;

  function maybe(text: string): boolean {
    if (!is(text)) return false;
    take();
    return true;
  }

  function expect(text: string): Token {
    if (!is(text)) throw unexpected(`\`${text}\``);
    return take();
  }

  /** The error for a token that cannot stand where `wanted` is. */
  function unexpected(wanted: string, token: Token = peek()): KerntapError {
    const opened = open.at(-1);
    if (token.kind === 'end' && opened) return unterminated(opened.what, source, opened.start);
    const what = token.kind === 'end' ? 'The program ends' : `\`${token.text.slice(0, 60)}\` stands`;
    return invalid(`${what} at ${placeOf(source, token.start)} where ${wanted} is expected.`);
  }

  /** Reads what is between `from` and `to`, and names it when the program ends before. */
  function between<Read>(from: string, what: string, to: string, read: () => Read): Read {
    open.push({ what, start: expect(from).start });
    const value = nested(read);
    expect(to);
    open.pop();
    return value;
  }

  function nested<Read>(read: () => Read): Read {
    if (++nesting > MAX_NESTING) {
      const { text, start } = peek();
      throw refused(text, source, start, `it is nested more than ${MAX_NESTING} deep`);
    }
    const value = read();
    nesting--;
    return value;
  }

  const spanFrom = (start: number) => (whose === 'ours' ? {} : { span: { start, end: lastEnd } });
  const startOf = ({ span }: Expression): number => span?.start ?? 0;

  function word(wanted: string): string {
    const { kind, text, start } = peek();
    if (kind !== 'word') throw unexpected(wanted);
    if (text.length > MAX_NAME) throw refused(text, source, start, `a name has at most ${MAX_NAME} characters`);
    return take().text;
  }

  /** A name that stands for something: one that begins no construct. */
  function name(wanted: string): string {
    if (RESERVED.has(peek().text)) throw unexpected(wanted);
    return word(wanted);
  }

  function sigilled(kind: 'variable' | 'map', wanted: string): string {
    if (peek().kind !== kind) throw unexpected(wanted);
    const { text, start } = take();
    if (text.length > MAX_NAME) throw refused(text, source, start, `a name has at most ${MAX_NAME} characters`);
    return text;
  }

  function number(wanted: string): string {
    const token = peek();
    if (token.kind !== 'number') throw unexpected(wanted);
    if (numberOf(token.text) === undefined) throw unexpected('a number that bpftrace knows');
    return take().text;
  }

  function string(): string {
    const { text, start } = take();
    return unescapeString(text.slice(1, -1), (written, offset) =>
      invalid(`\`${written}\` at ${placeOf(source, start + 1 + offset)} is no escape that bpftrace knows.`),
    );
  }

  // -------------------------------------------------------------------------------------------------- whole programs

  function program(): Tree {
    const tree = { config: [] as ConfigEntry[], definitions: [] as Definition[] };
    const later = { maps: [] as MapDeclaration[], macros: [] as Macro[], probes: [] as Probe[] };
    if (source.startsWith('#!')) at = readToken(source, 0).end;
    let configured = false;
    let preamble = true;
    for (;;) {
      while (preamble && directive());
      const { kind, text, start } = peek();
      if (kind === 'end') break;
      const isConfig = text === 'config';
      if (isConfig || /^(?:struct|union|enum)$/.test(text)) {
        if (!preamble || (isConfig && configured)) {
          const why = preamble ? 'there is one config block at most' : 'it stands before all probes, macros and maps';
          throw refused(text, source, start, why);
        }
        if (isConfig) tree.config.push(...config());
        else tree.definitions.push(definition());
        configured ||= isConfig;
        continue;
      }
      preamble = false;
      refuseOpenBranch();
      if (text === 'macro') later.macros.push(macro());
      else if (text === 'let') later.maps.push(mapDeclaration());
      else if (text === 'fn') throw refused(text, source, start, 'bpftrace 0.27 cannot call it; write a macro');
      else later.probes.push(probe());
    }
    const all: Tree = { ...tree, ...later };
    for (const { body, predicate } of [
      ...all.macros.map(({ body }) => ({ body, predicate: undefined })),
      ...all.probes,
    ]) {
      refuseDepth(body);
      if (predicate) refuseDepth(predicate);
    }
    return all;
  }

  function refuseDepth(root: Block | Expression): void {
    const { start: from = 0, end = 0 } = root.span ?? {};
    // Each level is a character at least.
    const deep = end - from > MAX_DEPTH ? deeperThan(root, MAX_DEPTH) : undefined;
    if (!deep) return;
    const start = deep.span?.start ?? 0;
    throw refused(readToken(source, start).text, source, start, `more than ${MAX_DEPTH} operators are in a row`);
  }

  // ----------------------------------------------------------------------------------------------- preprocessor lines

  /**
   * Takes the few preprocessor lines that can be understood without a preprocessor, so that nothing of them is passed on:
   * numbers with a name, headers of the kernel, and what stands there for kernels without type information.
   */
  function directive(): boolean {
    const token = readToken(source, at);
    if (token.kind !== 'directive') return false;
    const [, word = '', name = '', value] =
      /^#\s*(\w+)(?:\s+(\w+))?(?:\s+(\w+))?\s*$/.exec(token.text.replace(/\/\*.*?\*\/|\/\/.*/g, ' ')) ?? [];
    const isBranch = value === undefined && name === 'BPFTRACE_HAVE_BTF';
    if (word === 'define' && value !== undefined && numberOf(value) !== undefined) define(token, name, value);
    else if (word === 'ifdef' && isBranch) branches.push(token.start);
    else if (word === 'ifndef' && isBranch) branches.push(token.start);
    else if (KERNEL_HEADER.test(token.text)) {
      for (const [called, number] of HEADER_CONSTANTS) if (!constants.has(called)) constants.set(called, number);
    } else if (!(/^(?:else|endif)$/.test(word) && name === '' && branches.length > 0)) return false;
    else if (word === 'endif') branches.pop();
    at = token.end;
    lastEnd = token.end;
    if (word === 'ifndef' || word === 'else') skipBranch();
    return true;
  }

  const constantOr = (called: string): string => constants.get(called) ?? called;

  function define({ start }: Token, called: string, value: string): void {
    if (!/^[A-Za-z_]\w*$/.test(called) || called.length > MAX_NAME || RESERVED.has(called) || KNOWN.has(called))
      throw refused('#define', source, start, `${called.slice(0, 60)} has a meaning of its own`);
    constants.set(called, value);
  }

  /** Goes behind the `#else` or `#endif` of the branch that is not for this kernel. */
  function skipBranch(): void {
    for (let inner = 0; inner >= 0; ) {
      const { kind, text, end } = readToken(source, at);
      if (kind === 'end') refuseOpenBranch();
      at = end;
      const word = kind === 'directive' ? /^#\s*(\w*)/.exec(text)?.[1] : undefined;
      if (word === 'else' && inner === 0) return;
      inner += word === undefined ? 0 : word.startsWith('if') ? 1 : word === 'endif' ? -1 : 0;
    }
    branches.pop();
  }

  function refuseOpenBranch(): void {
    const start = branches.at(-1);
    if (start !== undefined) throw unterminated('condition', source, start);
  }

  function onlyExpression(): Expression {
    const value = expression();
    if (peek().kind !== 'end') throw unexpected('the end');
    return value;
  }

  function config(): readonly ConfigEntry[] {
    take();
    expect('=');
    return between('{', 'config block', '}', () => {
      const entries: ConfigEntry[] = [];
      while (!is('}')) {
        const { start } = peek();
        const key = word('a key');
        expect('=');
        entries.push({ key, value: configValue(), ...spanFrom(start) });
        if (!is('}')) expect(';');
      }
      return entries;
    });
  }

  function configValue(): Expression {
    const { kind, text, start } = peek();
    if (kind === 'string') return { kind, value: string(), ...spanFrom(start) };
    if (kind === 'number') return { kind, text: number('a number'), ...spanFrom(start) };
    if (text === 'true' || text === 'false')
      return { kind: 'boolean', value: take().text === 'true', ...spanFrom(start) };
    return { kind: 'name', name: word('a value'), ...spanFrom(start) };
  }

  /** `let @m = hash(5);` */
  function mapDeclaration(): MapDeclaration {
    const { start } = take();
    const map = sigilled('map', 'a map');
    expect('=');
    const type = word('a kind of map');
    const size = between('(', 'parenthesis', ')', (): Expression => {
      const from = peek().start;
      return { kind: 'number', text: number('a plain number of keys'), ...spanFrom(from) };
    });
    maybe(';');
    return { name: map, type, size, ...spanFrom(start) };
  }

  function macro(): Macro {
    const { start } = take();
    const called = name('a name');
    const parameters = between('(', 'parenthesis', ')', () => (is(')') ? [] : listOf(macroParameter)));
    const body = block('value');
    return { name: called, parameters, body, ...spanFrom(start) };
  }

  function macroParameter(): string {
    const { kind, text } = peek();
    if (kind === 'variable' || kind === 'map') return sigilled(kind, 'a parameter');
    if (BUILTIN.test(text)) throw unexpected('a parameter that is no builtin');
    return name('a parameter');
  }

  // ------------------------------------------------------------------------------------------------- C definitions

  function definition(): Definition {
    const { start, text } = take();
    const keyword = text as Definition['keyword'];
    const called = name('a name');
    // bpftrace takes the first brace behind the keyword, even one in a comment.
    if (/\/[/*]/.test(source.slice(start, peek().start)))
      throw refused(text, source, start, 'a definition has no comment before its brace');
    const members = between('{', 'definition', '}', () => (keyword === 'enum' ? enumerators() : structMembers()));
    const packed = is('__attribute__') && attribute();
    maybe(';');
    return { keyword, name: called, members, ...(packed && { packed }), ...spanFrom(start) };
  }

  function attribute(): true {
    const { start } = take();
    for (const text of ['(', '(', 'packed', ')', ')']) {
      if (!maybe(text)) throw refused('__attribute__', source, start, 'a definition may have ((packed)) only');
    }
    return true;
  }

  function structMembers(): readonly string[] {
    const members: string[] = [];
    while (!is('}')) {
      members.push(cText([';'], STRUCT_TOKEN));
      expect(';');
    }
    return members;
  }

  function enumerators(): readonly string[] {
    const members: string[] = [];
    while (!is('}')) {
      members.push(cText([',', '}'], ENUM_TOKEN));
      if (!is('}')) expect(',');
    }
    return members;
  }

  /** Tokens of C up to one of `ends`, written anew; a struct or union may be in a struct. */
  function cText(ends: readonly string[], allowed: RegExp): string {
    const texts: string[] = [];
    while (texts.length === 0 || !ends.includes(peek().text)) {
      const { kind, text, start } = peek();
      if (kind === 'end') throw unexpected('a member');
      if (text === '{' && texts.slice(-2).some((before) => before === 'struct' || before === 'union')) {
        const inner = between('{', 'definition', '}', structMembers);
        texts.push(`{ ${inner.map((member) => `${member}; `).join('')}}`);
      } else if (allowed.test(text)) texts.push(kind === 'word' ? constantOr(word('a member')) : take().text);
      else throw refused(text, source, start, 'members are plain: `int a; char b[16]; struct x *c;`');
    }
    return texts.join(' ').replace(/ (?=[[\],])|(?<=\[) /g, '');
  }

  // ---------------------------------------------------------------------------------------------------------- probes

  function probe(): Probe {
    const { start } = peek();
    const points: AttachPoint[] = [];
    do points.push(attachPoint());
    while (maybe(',') && !['/', '{', ''].includes(peek().text)); // A comma may stand behind the last one, too.
    const predicate = is('/') ? between('/', 'predicate', '/', expression) : undefined;
    if (peek().kind === 'end') {
      throw new KerntapError('program.unterminated', `The probe at ${placeOf(source, start)} has no block.`, {
        remedy: 'write its statements in braces: tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }',
      });
    }
    const body = block('none');
    return { points, ...(predicate && { predicate }), body, ...spanFrom(start) };
  }

  function attachPoint(): AttachPoint {
    const token = readAttachPoint(source, at);
    const { text, start } = token;
    if (text === '') throw unexpected('a probe');
    refuseToken(token, source);
    ({ end: at, end: lastEnd } = token);
    ahead = undefined;
    const [called = '', ...parts] = partsOf(text);
    const kind = probeKindOf(called);
    if (kind === undefined) throw unknownKind(called, start);
    return { kind, parts, text, ...spanFrom(start) };
  }

  function unknownKind(called: string, start: number): KerntapError {
    const place = placeOf(source, start);
    if (/[*=?]/.test(called)) {
      const why = called.includes('=')
        ? 'an attach point has no name of its own'
        : 'the kind of a probe is written in full';
      return refused(called, source, start, why);
    }
    const names = nearest(called, PROBE_KINDS);
    return new KerntapError('program.invalid', `\`${called.slice(0, 60)}\` at ${place} is no probe kind of bpftrace.`, {
      remedy: `${names.length > 0 ? `did you mean: ${names.join(', ')}; ` : ''}bpf_info names the kinds that attach`,
    });
  }

  // ------------------------------------------------------------------------------------------------------ statements

  /** `value`: an expression without `;` at its end is its value; `none`: it is one more statement. */
  function block(gives: 'value' | 'none'): Block {
    const { start } = peek();
    const { statements, value } = between('{', 'block', '}', () => blockInside(gives));
    const whole: Block = { statements, ...(value && { value }), ...spanFrom(start) };
    return gives === 'value' ? whole : bodyOf(whole);
  }

  function blockInside(gives: 'value' | 'none'): { statements: readonly Statement[]; value?: Expression } {
    const statements: Statement[] = [];
    while (!is('}')) {
      const next = statement();
      if (!('value' in next)) {
        statements.push(next.statement);
      } else if (gives === 'value') return { statements, value: next.value };
      else statements.push(statementOf(next.value));
    }
    return { statements };
  }

  /** A statement with its `;`, or the expression without one at the end of a block. */
  function statement(): { statement: Statement } | { value: Expression } {
    const { kind, text, start, end } = peek();
    if (kind === 'variable' || kind === 'map') return sigilledStatement();
    switch (text) {
      case 'while':
      case 'unroll':
        return { statement: loop() };
      case 'for':
        return { statement: forLoop() };
      case 'break':
      case 'continue': {
        const jump = take().text === 'break' ? ({ kind: 'break' } as const) : ({ kind: 'continue' } as const);
        endOfStatement();
        return { statement: { ...jump, ...spanFrom(start) } };
      }
      case 'return': {
        take();
        const value = is(';') || is('}') ? undefined : expression();
        endOfStatement();
        return { statement: { kind: 'return', ...(value && { value }), ...spanFrom(start) } };
      }
      case 'let':
        return { statement: declaration() };
      case '_':
        if (readToken(source, end).text !== '=') break;
        return { statement: assignment({ kind: 'name', name: take().text, ...spanFrom(start) }) };
      case 'if':
        return ifStatement();
      case '{':
        return blockStatement();
    }
    return endOfExpression(expression());
  }

  function endOfStatement(): void {
    if (!is('}')) expect(';');
  }

  /** What an expression is once its `;` was found, or the end of the block. */
  function endOfExpression(value: Expression): { statement: Statement } | { value: Expression } {
    if (is('}')) return { value };
    expect(';');
    return { statement: { kind: 'expression', expression: value, ...spanFrom(startOf(value)) } };
  }

  /** One that begins with a variable or map. Without parentheses it is no ternary, and nothing follows its `++`, as in bpftrace. */
  function sigilledStatement(): { statement: Statement } | { value: Expression } {
    const { start } = peek();
    const target = primary();
    const { text } = peek();
    if (ASSIGNS.has(text)) return { statement: assignment(target) };
    if (text === '++' || text === '--') {
      take();
      return endOfExpression({ kind: 'update', operator: text, prefix: false, operand: target, ...spanFrom(start) });
    }
    const value = binary(0, postfix(target));
    if (ASSIGNS.has(peek().text)) {
      throw invalid(
        `What stands at ${placeOf(source, start)} cannot be assigned: only a variable, a map or its item can.`,
      );
    }
    if (is('?')) throw invalid(`The condition at ${placeOf(source, start)} needs parentheses: ($x) ? a : b.`);
    return endOfExpression(value);
  }

  function assignment(target: Expression): Statement {
    const operator = take().text as AssignOperator;
    const value = expression();
    endOfStatement();
    return { kind: 'assign', target, operator, value, ...spanFrom(startOf(target)) };
  }

  function declaration(): Statement {
    const { start } = take();
    const variable = sigilled('variable', 'a variable');
    const type = maybe(':') ? typeName() : undefined;
    const value = maybe('=') ? expression() : undefined;
    endOfStatement();
    return { kind: 'let', name: variable, ...(type && { type }), ...(value && { value }), ...spanFrom(start) };
  }

  /** In parentheses any expression; without them one that ends before the block. */
  const condition = (): Expression => (is('(') ? between('(', 'parenthesis', ')', expression) : unary());

  function loop(): Statement {
    const { text, start } = take();
    const head = condition();
    const body = block('none');
    if (text === 'while') return { kind: 'while', condition: head, body, ...spanFrom(start) };
    return { kind: 'unroll', count: head, body, ...spanFrom(start) };
  }

  function forLoop(): Statement {
    const { start } = take();
    const head = is('(') ? between('(', 'parenthesis', ')', forHead) : forHead();
    const body = block('none');
    return { ...head, body, ...spanFrom(start) };
  }

  function forHead() {
    const variable = sigilled('variable', 'a variable');
    expect(':');
    const from = primary();
    if (maybe('..')) return { kind: 'for_range', variable, from, to: primary() } as const;
    if (from.kind !== 'map' || from.key) throw unexpected('a map or a range such as 0..10');
    return { kind: 'for_each', variable, over: from } as const;
  }

  function choice(): Choice {
    const { start } = take();
    const head = condition();
    const yes = block('value');
    if (!maybe('else')) return { condition: head, yes, span: spanFrom(start) };
    if (!is('if') && !is('{')) throw unexpected('`{` or `if`');
    const otherwise = is('if') ? nested(choice) : block('value');
    return { condition: head, yes, otherwise, span: spanFrom(start) };
  }

  function ifStatement(): { statement: Statement } | { value: Expression } {
    const found = choice();
    if (goesOn()) return endOfExpression(ternary(binary(0, postfix(choiceValue(found)))));
    if (is('}') && hasValue(found)) return { value: choiceValue(found) };
    maybe(';');
    return { statement: choiceStatement(found) };
  }

  function blockStatement(): { statement: Statement } | { value: Expression } {
    const body = block('value');
    const span = body.span && { span: body.span };
    if (goesOn()) return endOfExpression(ternary(binary(0, postfix({ kind: 'block_value', body, ...span }))));
    if (is('}') && body.value) return { value: { kind: 'block_value', body, ...span } };
    maybe(';');
    return { statement: { kind: 'block', body, ...span } };
  }

  /** Whether an `if` or a block that stands at the begin of a statement is a part of a longer expression. */
  const goesOn = (): boolean => is('?') || /^(?:\.|->|\[|\+\+|--)$/.test(peek().text) || binaryOperator() !== undefined;

  const hasValue = ({ yes, otherwise }: Choice): boolean =>
    yes.value !== undefined &&
    otherwise !== undefined &&
    (isChoice(otherwise) ? hasValue(otherwise) : otherwise.value !== undefined);

  function choiceValue({ span, condition: head, yes, otherwise }: Choice): Expression {
    if (!otherwise) {
      const start = span.span?.start ?? 0;
      throw refused('if', source, start, 'it has no value without an else');
    }
    const no: Block = isChoice(otherwise)
      ? { statements: [], value: choiceValue(otherwise), ...otherwise.span }
      : otherwise;
    return { kind: 'if_value', condition: head, yes, no, ...span };
  }

  // ----------------------------------------------------------------------------------------------------- expressions

  const expression = (): Expression => ternary(binary(0, unary()));

  function ternary(head: Expression): Expression {
    if (!is('?')) return head;
    const start = startOf(head);
    const mark = take();
    if (maybe(':')) {
      // bpftrace puts its condition in twice; so do we, but never one in the other, which doubles each time.
      for (const node of nodesOf(head)) {
        if (node.kind === 'ternary' && node.yes === node.condition)
          throw refused('?:', source, mark.start, 'its condition holds another one; use a variable');
      }
      const no = nested(expression);
      return { kind: 'ternary', condition: head, yes: head, no, ...spanFrom(start) };
    }
    const yes = nested(expression);
    expect(':');
    const no = nested(expression);
    return { kind: 'ternary', condition: head, yes, no, ...spanFrom(start) };
  }

  function binaryOperator(): { operator: BinaryOperator; precedence: number } | undefined {
    const token = peek();
    const precedence = token.kind === 'punctuation' ? PRECEDENCE.get(token.text) : undefined;
    // Before a block it closes a predicate.
    if (precedence === undefined || (token.text === '/' && textAfter(token) === '{')) return undefined;
    return { operator: token.text as BinaryOperator, precedence };
  }

  function binary(least: number, first: Expression): Expression {
    let left = first;
    for (let next = binaryOperator(); next && next.precedence >= least; next = binaryOperator()) {
      take();
      const { operator, precedence } = next;
      const right = binary(precedence + 1, unary());
      left = { kind: 'binary', operator, left, right, ...spanFrom(startOf(left)) };
    }
    return left;
  }

  function unary(): Expression {
    const { kind, text, start } = peek();
    if (kind !== 'punctuation') return postfix(primary());
    switch (text) {
      case '++':
      case '--': {
        take();
        const operand = countable(nested(unary), start);
        return { kind: 'update', operator: text, prefix: true, operand, ...spanFrom(start) };
      }
      case '&': {
        take();
        const from = peek().start;
        const operand: Expression =
          peek().kind === 'map'
            ? { kind: 'map', name: sigilled('map', 'a map'), ...spanFrom(from) }
            : { kind: 'variable', name: sigilled('variable', 'a variable or map'), ...spanFrom(from) };
        return { kind: 'unary', operator: text, operand, ...spanFrom(start) };
      }
      case '!':
      case '~':
      case '-':
      case '*': {
        const operator: UnaryOperator = text;
        take();
        return { kind: 'unary', operator, operand: nested(unary), ...spanFrom(start) };
      }
      default:
        return postfix(primary());
    }
  }

  function countable(operand: Expression, start: number): Expression {
    if (operand.kind === 'variable' || operand.kind === 'map') return operand;
    throw invalid(`What is counted at ${placeOf(source, start)} is no variable or map.`);
  }

  function postfix(first: Expression): Expression {
    let object = first;
    for (;;) {
      const { text, start } = peek();
      const from = startOf(object);
      if (text === '.' || text === '->') {
        take();
        const arrow = text === '->';
        const field = !arrow && peek().kind === 'number' ? tupleIndex() : word('a field');
        object = { kind: 'field', object, field, arrow, ...spanFrom(from) };
      } else if (text === '[') {
        const index = between('[', 'bracket', ']', expression);
        object = { kind: 'index', object, index, ...spanFrom(from) };
      } else if (text === '++' || text === '--') {
        const operand = countable(object, start);
        take();
        object = { kind: 'update', operator: text, prefix: false, operand, ...spanFrom(from) };
      } else return object;
    }
  }

  function tupleIndex(): string {
    if (!/^(?:0|[1-9]\d{0,5})$/.test(peek().text)) throw unexpected('the number of a field');
    return take().text;
  }

  function primary(): Expression {
    const { kind, text, start } = peek();
    switch (kind) {
      case 'number':
        return { kind, text: number('a number'), ...spanFrom(start) };
      case 'string':
        return { kind, value: string(), ...spanFrom(start) };
      case 'variable':
        return { kind, name: sigilled(kind, 'a variable'), ...spanFrom(start) };
      case 'positional':
        if (!/^\$(?:#|0*[1-9]\d{0,8})$/.test(text)) throw unexpected('$1 or a higher number');
        return { kind, text: take().text, ...spanFrom(start) };
      case 'map': {
        const called = sigilled(kind, 'a map');
        const key = is('[') ? between('[', 'bracket', ']', () => listOf(expression)) : undefined;
        return { kind, name: called, ...(key && { key }), ...spanFrom(start) };
      }
      case 'word':
        return wordValue(text, start);
      default: {
        if (text === '(') return parenthesis();
        if (text !== '{') throw unexpected('an expression');
        const body = block('value');
        return { kind: 'block_value', body, ...spanFrom(start) };
      }
    }
  }

  function listOf<Item>(item: () => Item): readonly Item[] {
    const items: Item[] = [];
    do items.push(item());
    while (maybe(','));
    return items;
  }

  function wordValue(text: string, start: number): Expression {
    switch (text) {
      case 'if':
        return choiceValue(choice());
      case 'true':
      case 'false':
        take();
        return { kind: 'boolean', value: text === 'true', ...spanFrom(start) };
      case 'comptime': {
        take();
        const operand = nested(unary);
        return { kind: 'comptime', operand, ...spanFrom(start) };
      }
      case 'sizeof': {
        take();
        const of = between('(', 'parenthesis', ')', typeOrValue);
        return { kind: 'sizeof', of, ...spanFrom(start) };
      }
      case 'offsetof':
        take();
        return { kind: 'offsetof', ...between('(', 'parenthesis', ')', fieldOfType), ...spanFrom(start) };
      case 'typeinfo':
        throw refused(text, source, start, "it is for bpftrace's own library");
    }
    const called = name('an expression');
    if (!is('(')) {
      const constant = constants.get(called);
      if (constant !== undefined) return { kind: 'number', text: constant, ...spanFrom(start) };
      return { kind: 'name', name: called, ...spanFrom(start) };
    }
    const given = between('(', 'parenthesis', ')', () => (is(')') ? [] : listOf(expression)));
    return { kind: 'call', callee: called, arguments: given, ...spanFrom(start) };
  }

  function fieldOfType(): { of: TypeName | Expression; fields: readonly string[] } {
    const of = /^(?:struct|union|enum)$/.test(peek().text) ? typeName() : expression();
    expect(',');
    const fields = [word('a field')];
    while (maybe('.')) fields.push(word('a field'));
    return { of, fields };
  }

  /** `(…)`: nothing, a record, a cast, a value or a tuple. */
  function parenthesis(): Expression {
    const { start } = peek();
    const inside = between('(', 'parenthesis', ')', (): Expression | { readonly cast: TypeName } => {
      const first = peek();
      if (is(')')) return { kind: 'tuple', items: [] };
      if (first.kind === 'word' && textAfter(first) === '=' && !BUILTIN.test(first.text)) return record();
      const cast = castType();
      if (cast) return { cast };
      const value = expression();
      if (!is(',')) return value;
      const items = [value];
      while (maybe(',') && !is(')')) items.push(expression());
      return { kind: 'tuple', items };
    });
    if ('cast' in inside) {
      const operand = nested(unary);
      return { kind: 'cast', type: inside.cast, operand, ...spanFrom(start) };
    }
    return inside.kind === 'tuple' || inside.kind === 'record' ? { ...spanFrom(start), ...inside } : inside;
  }

  function record(): Expression {
    const fields = listOf(() => {
      const called = word('a name');
      expect('=');
      return { name: called, value: expression() };
    });
    return { kind: 'record', fields };
  }

  // ----------------------------------------------------------------------------------------------------------- types

  /** The type of `(type) value`. A name in parentheses before what can begin a value is one: `(x) - 1` casts, as in bpftrace. */
  function castType(): TypeName | undefined {
    if (is('typeof')) {
      const type = typeName();
      if (!is(')') || !beginsValue(readToken(source, peek().end))) throw unexpected('a value to cast');
      return type;
    }
    const found = peekType();
    if (!found) return undefined;
    const close = readToken(source, found.end);
    if (close.text !== ')' || !beginsValue(readToken(source, close.end))) {
      // bpftrace has read a type up to here and takes its size for a number, whatever follows.
      if (found.odd) throw unexpected('a number, as the size of a type', found.odd);
      return undefined;
    }
    return takeType(found);
  }

  const beginsValue = ({ kind, text }: Token): boolean =>
    kind !== 'end' && (kind !== 'punctuation' || /^[(\-!~*&]/.test(text));

  /** What `sizeof` and `typeof` take: a type where it cannot be a value. */
  function typeOrValue(): TypeName | Expression {
    const { text } = peek();
    const found = peekType();
    if (found && readToken(source, found.end).text === ')') {
      if (/^(?:struct|union|enum)$/.test(text) || TYPES.test(text) || found.suffixes > 0) return takeType(found);
    }
    return expression();
  }

  function typeName(): TypeName {
    const { start } = peek();
    if (maybe('typeof')) {
      const of = between('(', 'parenthesis', ')', typeOrValue);
      return { name: 'typeof', pointers: 0, dimensions: [], of, ...spanFrom(start) };
    }
    const found = peekType('also builtins');
    if (!found) throw unexpected('a type');
    return takeType(found);
  }

  interface FoundType {
    readonly type: TypeName;
    readonly start: number;
    readonly end: number;
    readonly suffixes: number;
    /** What stands in brackets and is no number. */
    readonly odd?: Token;
    readonly mixed: boolean;
  }

  /** The type that begins at the next token, if one does; nothing is taken. */
  function peekType(builtins?: 'also builtins'): FoundType | undefined {
    const first = peek();
    if (first.kind !== 'word' || (!builtins && BUILTIN.test(first.text))) return undefined;
    let { text: called, end } = first;
    if (/^(?:struct|union|enum)$/.test(called)) {
      const second = readToken(source, end);
      if (second.kind !== 'word') return undefined;
      called = `${called} ${second.text}`;
      end = second.end;
    }
    let pointers = 0;
    const dimensions: (number | undefined)[] = [];
    let odd: Token | undefined;
    let mixed = false;
    for (let token = readToken(source, end); ; token = readToken(source, end)) {
      if (token.text === '*') {
        pointers++;
        mixed ||= dimensions.length > 0;
        end = token.end;
      } else if (token.text === '[') {
        const size = readToken(source, token.end);
        if (size.text === ']') {
          dimensions.push(undefined);
          end = size.end;
          continue;
        }
        const count = size.kind === 'number' ? Number(numberOf(size.text) ?? -1) : -1;
        const close = readToken(source, size.end);
        if (count < 0 || close.text !== ']') {
          odd ??= size;
          break;
        }
        dimensions.push(count);
        end = close.end;
      } else break;
    }
    const type: TypeName = { name: called, pointers, dimensions };
    return { type, start: first.start, end, suffixes: pointers + dimensions.length, mixed, ...(odd && { odd }) };
  }

  function takeType({ type, start, end, mixed }: FoundType): TypeName {
    if (mixed) throw refused(source.slice(start, end), source, start, 'a type has its `*` before its brackets');
    for (const size of type.dimensions) {
      if ((size ?? 0) > MAX_ARRAY)
        throw refused(String(size), source, start, `an array has at most ${MAX_ARRAY} items`);
    }
    if (type.name.split(' ').some((part) => part.length > MAX_NAME))
      throw refused(type.name, source, start, `a name has at most ${MAX_NAME} characters`);
    at = end;
    lastEnd = end;
    ahead = undefined;
    return { ...type, ...spanFrom(start) };
  }

  return { program, onlyExpression };
}

const MAX_ARRAY = 1_048_576;

const KNOWN: ReadonlySet<string> = new Set(BUILTINS.map(({ name }) => name));

const STRUCT_TOKEN = /^(?:(?!__(?:attribute|asm|has))[A-Za-z_]\w*|\d+|0[xX][\da-fA-F]+|[*[\],:])$/;
const ENUM_TOKEN = /^(?:(?!__(?:attribute|asm|has))[A-Za-z_]\w*|\d+|0[xX][\da-fA-F]+|[=+\-|]|<<)$/;

const invalid = (message: string): KerntapError => new KerntapError('program.invalid', message);

/** What the colons of an attach point separate, without quotes. */
function partsOf(text: string): readonly string[] {
  const parts = [''];
  let quoted = false;
  for (const character of text) {
    if (character === '"') quoted = !quoted;
    else if (character === ':' && !quoted) parts.push('');
    else parts[parts.length - 1] += character;
  }
  return parts;
}
