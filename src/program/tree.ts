/** Where a piece of the caller's text begins and ends: offsets into it. What kerntap adds itself has none. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

interface Node {
  readonly span?: Span;
}

/** A type as it stands in a cast, `sizeof`, `offsetof` or `let`: `struct task_struct *`, `uint8[4]`, `string[64]`. */
export interface TypeName extends Node {
  /** With its keyword and single blanks: `struct sock`, `uint64`. */
  readonly name: string;
  /** How many `*` follow. */
  readonly pointers: number;
  /** What stands in brackets, in the order of the text; `undefined` for `[]`. */
  readonly dimensions: readonly (number | undefined)[];
  /** For `typeof(…)`, whose name is `typeof`: what is in its parentheses. */
  readonly of?: TypeName | Expression;
}

export type UnaryOperator = '!' | '~' | '-' | '+' | '*' | '&';
export type BinaryOperator =
  | '*'
  | '/'
  | '%'
  | '+'
  | '-'
  | '<<'
  | '>>'
  | '<'
  | '<='
  | '>'
  | '>='
  | '=='
  | '!='
  | '&'
  | '^'
  | '|'
  | '&&'
  | '||';
export type AssignOperator = '=' | '+=' | '-=' | '*=' | '/=' | '%=' | '&=' | '|=' | '^=' | '<<=' | '>>=';

export type Expression =
  /** As written, such as `0x1F`, `1_000`, `5ms`, `1e6`. */
  | (Node & { readonly kind: 'number'; readonly text: string })
  /** `value` is what the literal stands for; the printer escapes it again. One character a byte above 0x7f that no UTF-8 makes. */
  | (Node & { readonly kind: 'string'; readonly value: string })
  | (Node & { readonly kind: 'boolean'; readonly value: boolean })
  /** A builtin without parentheses (`pid`), an enum constant, a macro's parameter, `args`, `ctx`. */
  | (Node & { readonly kind: 'name'; readonly name: string })
  /** `$x`; the name holds its `$`. */
  | (Node & { readonly kind: 'variable'; readonly name: string })
  /** `@x` or `@x[a, b]`; the name holds its `@`, `key` is absent for a map without keys. */
  | (Node & { readonly kind: 'map'; readonly name: string; readonly key?: readonly Expression[] })
  /** `$1`, `$#`: a parameter of the command line. */
  | (Node & { readonly kind: 'positional'; readonly text: string })
  /** `callee(arguments)`; `kstack(3)`, `printf("…")`, a macro. */
  | (Node & { readonly kind: 'call'; readonly callee: string; readonly arguments: readonly Expression[] })
  | (Node & { readonly kind: 'unary'; readonly operator: UnaryOperator; readonly operand: Expression })
  /** `++x`, `x--`. */
  | (Node & {
      readonly kind: 'update';
      readonly operator: '++' | '--';
      readonly prefix: boolean;
      readonly operand: Expression;
    })
  | (Node & {
      readonly kind: 'binary';
      readonly operator: BinaryOperator;
      readonly left: Expression;
      readonly right: Expression;
    })
  | (Node & {
      readonly kind: 'ternary';
      readonly condition: Expression;
      readonly yes: Expression;
      readonly no: Expression;
    })
  /** `object.field`, `object->field`, `tuple.0`. */
  | (Node & {
      readonly kind: 'field';
      readonly object: Expression;
      readonly field: string;
      readonly arrow: boolean;
    })
  | (Node & { readonly kind: 'index'; readonly object: Expression; readonly index: Expression })
  | (Node & { readonly kind: 'cast'; readonly type: TypeName; readonly operand: Expression })
  /** `(a, b)`, `(a,)`, `()`. */
  | (Node & { readonly kind: 'tuple'; readonly items: readonly Expression[] })
  /** `(a = 1, b = 2)`. */
  | (Node & {
      readonly kind: 'record';
      readonly fields: readonly { readonly name: string; readonly value: Expression }[];
    })
  /** `{ statements; value }` where an expression stands. */
  | (Node & { readonly kind: 'block_value'; readonly body: Block })
  /** `if c { a } else { b }` where an expression stands. */
  | (Node & { readonly kind: 'if_value'; readonly condition: Expression; readonly yes: Block; readonly no: Block })
  | (Node & { readonly kind: 'sizeof'; readonly of: TypeName | Expression })
  | (Node & { readonly kind: 'offsetof'; readonly of: TypeName | Expression; readonly fields: readonly string[] })
  /** A type where a value stands, such as the argument of `getopt` or `typeof`-like functions. */
  | (Node & { readonly kind: 'type'; readonly type: TypeName })
  | (Node & { readonly kind: 'comptime'; readonly operand: Expression });

/**
 * Statements, and the trailing expression without `;` that gives a block its value. The block of an `if` statement may have
 * one, too, which is then for nothing; the bodies of probes and loops have none.
 */
export interface Block extends Node {
  readonly statements: readonly Statement[];
  readonly value?: Expression;
}

export type Statement =
  | (Node & { readonly kind: 'expression'; readonly expression: Expression })
  /** To a variable, a map or a map's item; to the name `_` for what is not wanted. */
  | (Node & {
      readonly kind: 'assign';
      readonly target: Expression;
      readonly operator: AssignOperator;
      readonly value: Expression;
    })
  /** `let $x`, `let $x: uint64`, `let $x = 1`. */
  | (Node & { readonly kind: 'let'; readonly name: string; readonly type?: TypeName; readonly value?: Expression })
  /** `otherwise` of an `else if` is a block with that one statement. */
  | (Node & {
      readonly kind: 'if';
      readonly condition: Expression;
      readonly then: Block;
      readonly otherwise?: Block;
    })
  | (Node & { readonly kind: 'while'; readonly condition: Expression; readonly body: Block })
  | (Node & { readonly kind: 'unroll'; readonly count: Expression; readonly body: Block })
  /** `for ($i : from..to)`. */
  | (Node & {
      readonly kind: 'for_range';
      readonly variable: string;
      readonly from: Expression;
      readonly to: Expression;
      readonly body: Block;
    })
  /** `for ($kv : @map)`. */
  | (Node & { readonly kind: 'for_each'; readonly variable: string; readonly over: Expression; readonly body: Block })
  | (Node & { readonly kind: 'return'; readonly value?: Expression })
  | (Node & { readonly kind: 'break' })
  | (Node & { readonly kind: 'continue' })
  | (Node & { readonly kind: 'block'; readonly body: Block });

/**
 * One of a probe's list. `kind` is the full name of the probe kind, whatever alias the caller wrote, and `parts` is what the
 * colons separate after it, without quotes: `tracepoint` + `sched`, `sched_switch`; `uprobe` + `/bin/bash`, `readline+4`;
 * `profile` + `hz`, `99`; `begin`.
 */
export interface AttachPoint extends Node {
  readonly kind: string;
  readonly parts: readonly string[];
  /** What the caller wrote; for our own the same as `pointName` gives. */
  readonly text: string;
}

export interface Probe extends Node {
  readonly points: readonly AttachPoint[];
  readonly predicate?: Expression;
  readonly body: Block;
}

export interface ConfigEntry extends Node {
  readonly key: string;
  readonly value: Expression;
}

/** `let @m = lruhash(100);` */
export interface MapDeclaration extends Node {
  readonly name: string;
  readonly type: string;
  readonly size?: Expression;
}

/** `macro name($a, @b, c) { … }`; the parameters hold their sigils. */
export interface Macro extends Node {
  readonly name: string;
  readonly parameters: readonly string[];
  readonly body: Block;
}

/** A struct, union or enum of the caller's, `struct name { … }`. Members are C declarations without comments. */
export interface Definition extends Node {
  readonly keyword: 'struct' | 'union' | 'enum';
  readonly name: string;
  /** With `__attribute__((packed))` behind it. */
  readonly packed?: true;
  /** Each without its `;` or `,`: `int a`, `char b[16]`, `A = 1`. */
  readonly members: readonly string[];
}

/** A whole program as it was understood. What no field of it can hold is refused by the parser. */
export interface Tree {
  readonly config: readonly ConfigEntry[];
  readonly definitions: readonly Definition[];
  readonly maps: readonly MapDeclaration[];
  readonly macros: readonly Macro[];
  readonly probes: readonly Probe[];
}

/** The attach point as bpftrace reads it, before quoting: `tracepoint:sched:sched_switch`. */
export const pointName = ({ kind, parts }: Pick<AttachPoint, 'kind' | 'parts'>): string => [kind, ...parts].join(':');

/** An attach point of ours. */
export const pointOf = (kind: string, ...parts: readonly string[]): AttachPoint => ({
  kind,
  parts,
  text: pointName({ kind, parts }),
});

export type AnyNode = Expression | Statement;

const blockNodes = (block: Block | undefined): readonly AnyNode[] =>
  block === undefined ? [] : [...block.statements, ...(block.value ? [block.value] : [])];

/** Tells the two things apart that `sizeof`, `offsetof` and `typeof` take. */
export const isExpression = (of: TypeName | Expression): of is Expression => 'kind' in of;

const typeNodes = (type: TypeName | undefined): readonly AnyNode[] =>
  type?.of === undefined ? [] : isExpression(type.of) ? [type.of] : typeNodes(type.of);

/** The nodes directly below one, in the order of the text. */
export function childrenOf(node: AnyNode): readonly AnyNode[] {
  switch (node.kind) {
    case 'number':
    case 'string':
    case 'boolean':
    case 'name':
    case 'variable':
    case 'positional':
    case 'break':
    case 'continue':
      return [];
    case 'type':
      return typeNodes(node.type);
    case 'map':
      return node.key ?? [];
    case 'call':
      return node.arguments;
    case 'unary':
    case 'update':
    case 'comptime':
      return [node.operand];
    case 'cast':
      return [...typeNodes(node.type), node.operand];
    case 'binary':
      return [node.left, node.right];
    case 'ternary':
      return [node.condition, node.yes, node.no];
    case 'field':
      return [node.object];
    case 'index':
      return [node.object, node.index];
    case 'tuple':
      return node.items;
    case 'record':
      return node.fields.map(({ value }) => value);
    case 'block_value':
    case 'block':
      return blockNodes(node.body);
    case 'if_value':
      return [node.condition, ...blockNodes(node.yes), ...blockNodes(node.no)];
    case 'sizeof':
    case 'offsetof':
      return isExpression(node.of) ? [node.of] : typeNodes(node.of);
    case 'expression':
      return [node.expression];
    case 'assign':
      return [node.target, node.value];
    case 'let':
      return [...typeNodes(node.type), ...(node.value ? [node.value] : [])];
    case 'if':
      return [node.condition, ...blockNodes(node.then), ...blockNodes(node.otherwise)];
    case 'while':
      return [node.condition, ...blockNodes(node.body)];
    case 'unroll':
      return [node.count, ...blockNodes(node.body)];
    case 'for_range':
      return [node.from, node.to, ...blockNodes(node.body)];
    case 'for_each':
      return [node.over, ...blockNodes(node.body)];
    case 'return':
      return node.value ? [node.value] : [];
  }
}

/** Every node of a block, or of one node with itself, parents before their children. */
export function* nodesOf(root: AnyNode | Block): Generator<AnyNode> {
  const pending: AnyNode[] = 'kind' in root ? [root] : [...blockNodes(root)].reverse();
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    yield node;
    pending.push(...[...childrenOf(node)].reverse());
  }
}

/** A node that lies more than `depth` levels below `root`; undefined when none does. Needs no stack of its own. */
export function deeperThan(root: AnyNode | Block, depth: number): AnyNode | undefined {
  let level: readonly AnyNode[] = 'kind' in root ? [root] : blockNodes(root);
  for (let i = 0; i < depth && level.length > 0; i++) level = level.flatMap(childrenOf);
  return level[0];
}

/** Every node of a probe: its predicate, then its body. */
export function* probeNodes({ predicate, body }: Pick<Probe, 'predicate' | 'body'>): Generator<AnyNode> {
  if (predicate) yield* nodesOf(predicate);
  yield* nodesOf(body);
}

/** Replaces expressions from the leaves up; `replace` gives back the same node for what stays. */
export function mapExpressions(root: Block, replace: (expression: Expression) => Expression): Block {
  const block = (body: Block): Block => ({
    ...body,
    statements: body.statements.map(statement),
    ...(body.value && { value: expression(body.value) }),
  });
  const optional = <Key extends string>(key: Key, value: Expression | undefined) =>
    (value === undefined ? {} : { [key]: expression(value) }) as { [K in Key]?: Expression };

  const type = (name: TypeName): TypeName =>
    name.of === undefined ? name : { ...name, of: isExpression(name.of) ? expression(name.of) : type(name.of) };

  function expression(node: Expression): Expression {
    return replace(inner(node));
  }

  function inner(node: Expression): Expression {
    switch (node.kind) {
      case 'number':
      case 'string':
      case 'boolean':
      case 'name':
      case 'variable':
      case 'positional':
        return node;
      case 'type':
        return { ...node, type: type(node.type) };
      case 'map':
        return node.key ? { ...node, key: node.key.map(expression) } : node;
      case 'call':
        return { ...node, arguments: node.arguments.map(expression) };
      case 'unary':
      case 'update':
      case 'comptime':
        return { ...node, operand: expression(node.operand) };
      case 'cast':
        return { ...node, type: type(node.type), operand: expression(node.operand) };
      case 'binary':
        return { ...node, left: expression(node.left), right: expression(node.right) };
      case 'ternary':
        return {
          ...node,
          condition: expression(node.condition),
          yes: expression(node.yes),
          no: expression(node.no),
        };
      case 'field':
        return { ...node, object: expression(node.object) };
      case 'index':
        return { ...node, object: expression(node.object), index: expression(node.index) };
      case 'tuple':
        return { ...node, items: node.items.map(expression) };
      case 'record':
        return { ...node, fields: node.fields.map((field) => ({ ...field, value: expression(field.value) })) };
      case 'block_value':
        return { ...node, body: block(node.body) };
      case 'if_value':
        return { ...node, condition: expression(node.condition), yes: block(node.yes), no: block(node.no) };
      case 'sizeof':
      case 'offsetof':
        return { ...node, of: isExpression(node.of) ? expression(node.of) : type(node.of) };
    }
  }

  function statement(node: Statement): Statement {
    switch (node.kind) {
      case 'expression':
        return { ...node, expression: expression(node.expression) };
      case 'assign':
        return { ...node, target: expression(node.target), value: expression(node.value) };
      case 'let':
        return { ...node, ...(node.type && { type: type(node.type) }), ...optional('value', node.value) };
      case 'if':
        return {
          ...node,
          condition: expression(node.condition),
          // biome-ignore lint/suspicious/noThenProperty: no statement is awaited.
          then: block(node.then),
          ...(node.otherwise && { otherwise: block(node.otherwise) }),
        };
      case 'while':
        return { ...node, condition: expression(node.condition), body: block(node.body) };
      case 'unroll':
        return { ...node, count: expression(node.count), body: block(node.body) };
      case 'for_range':
        return { ...node, from: expression(node.from), to: expression(node.to), body: block(node.body) };
      case 'for_each':
        return { ...node, over: expression(node.over), body: block(node.body) };
      case 'return':
        return { ...node, ...optional('value', node.value) };
      case 'block':
        return { ...node, body: block(node.body) };
      case 'break':
      case 'continue':
        return node;
    }
  }

  return block(root);
}
