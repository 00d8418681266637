import { type Position, positionAt } from './lexer.ts';
import { escapeString } from './literals.ts';
import {
  type AttachPoint,
  type Block,
  type Definition,
  type Expression,
  isExpression,
  type Macro,
  type Probe,
  type Span,
  type Statement,
  type Tree,
  type TypeName,
} from './tree.ts';

/** A program as bpftrace gets it. */
export interface Printed {
  readonly text: string;
  /** The place in `source`, from which the tree was read, of a place in `text`; undefined for what the caller did not write. */
  readonly placeOf: (printed: Position, source: string) => Position | undefined;
}

/**
 * Writes a program anew: one statement a line, braces always, every operand that is not a single thing in parentheses. What
 * bpftrace reads is this text only, so that no difference between its parser and ours can carry anything through.
 */
export function printTree(tree: Tree): Printed {
  const out = createWriter();
  const print = printer(out);
  print.config(tree);
  for (const definition of tree.definitions) print.definition(definition);
  for (const { name, type, size, span } of tree.maps) {
    out.within(span, () => {
      out.write(`let ${name} = ${type}(`);
      if (size) print.expression(size);
      out.line(');');
    });
  }
  for (const macro of tree.macros) print.macro(macro);
  for (const probe of tree.probes) print.probe(probe);
  return out.printed();
}

/** Writes one expression, as it stands in a printed program. */
export function printExpression(expression: Expression): string {
  const out = createWriter();
  printer(out).expression(expression);
  return out.printed().text;
}

type Writer = ReturnType<typeof createWriter>;

/** A stretch of the printed text, up to the next one: of which piece of the source it is, and where the text of that begins. */
interface Stretch {
  readonly start: number;
  readonly from: number;
  readonly span: Span | undefined;
}

function createWriter() {
  const pieces: string[] = [];
  let length = 0;
  let indent = '';
  const stretches: Stretch[] = [{ start: 0, from: 0, span: undefined }];

  function write(text: string): void {
    pieces.push(text);
    length += text.length;
  }

  function stretchAt(offset: number): Stretch | undefined {
    let [low, high] = [0, stretches.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((stretches[middle]?.start ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    return stretches[low - 1];
  }

  return {
    write,
    /** The text and the end of the line, behind which the next piece is indented. */
    line(text: string): void {
      write(`${text}\n${indent}`);
    },
    /** Lines between braces. */
    braced(lines: () => void): void {
      const before = indent;
      indent += '  ';
      write(`{\n${indent}`);
      lines();
      indent = before;
      // What was indented for one more line becomes the line of the brace.
      const last = pieces.at(-1) ?? '';
      pieces[pieces.length - 1] = last.slice(0, -2);
      length -= 2;
      write('}');
    },
    /** All that `print` writes is of `span`, but for what has a span of its own. */
    within(span: Span | undefined, print: () => void): void {
      const outer = stretches.at(-1);
      stretches.push({ start: length, from: length, span });
      print();
      stretches.push({ start: length, from: outer?.from ?? 0, span: outer?.span });
    },
    printed(): Printed {
      const text = pieces.join('');
      return {
        text,
        placeOf(printed, source) {
          const offset = offsetOf(text, printed);
          const { from = 0, span } = stretchAt(offset) ?? {};
          if (!span) return undefined;
          // To the letter where the caller wrote it in the same way, else to the begin of what it is a part of.
          const same = source.startsWith(text.slice(from, offset), span.start);
          return positionAt(source, same ? span.start + offset - from : span.start);
        },
      };
    },
  };
}

function offsetOf(text: string, { line, column }: Position): number {
  const lines = text.split('\n');
  const before = lines.slice(0, line - 1).reduce((sum, { length }) => sum + length + 1, 0);
  return before + [...(lines[line - 1] ?? '')].slice(0, column - 1).join('').length;
}

function printer(out: Writer) {
  const { write, line, braced, within } = out;

  function separated<Item>(items: readonly Item[], print: (item: Item) => void): void {
    for (const [i, item] of items.entries()) {
      if (i > 0) write(', ');
      print(item);
    }
  }

  // -------------------------------------------------------------------------------------------------- whole programs

  function config({ config: entries }: Pick<Tree, 'config'>): void {
    if (entries.length === 0) return;
    write('config = ');
    braced(() => {
      for (const { key, value, span } of entries) {
        within(span, () => {
          write(`${key} = `);
          expression(value);
          line(';');
        });
      }
    });
    line('');
  }

  function definition({ keyword, name, members, packed, span }: Definition): void {
    within(span, () => {
      write(`${keyword} ${name} `);
      braced(() => {
        for (const [i, member] of members.entries()) {
          const comma = i < members.length - 1 ? ',' : '';
          line(`${member}${keyword === 'enum' ? comma : ';'}`);
        }
      });
      line(packed ? ' __attribute__((packed));' : ';');
    });
  }

  function macro({ name, parameters, body, span }: Macro): void {
    within(span, () => {
      write(`macro ${name}(${parameters.join(', ')}) `);
      block(body, 'value');
      line('');
    });
  }

  function probe({ points, predicate, body, span }: Probe): void {
    within(span, () => {
      for (const [i, point] of points.entries()) {
        if (i > 0) line(',');
        within(point.span, () => write(printPoint(point)));
      }
      line('');
      if (predicate) {
        write('/');
        // Not as it is: a `*` would make a comment of the slash.
        whole(predicate);
        line('/');
      }
      block(body, 'none');
      line('');
    });
  }

  // ------------------------------------------------------------------------------------------------------ statements

  /** `gives`: whether bpftrace takes an expression without `;` at the end for the value of this block. */
  function block({ statements, value, span }: Block, gives: 'value' | 'none'): void {
    within(span, () =>
      braced(() => {
        for (const [i, one] of statements.entries()) {
          statement(one, i === statements.length - 1 && value === undefined && holdsValue(one));
        }
        if (value === undefined) return;
        if (isPlainValue(value)) expression(value);
        else whole(value);
        line(gives === 'value' ? '' : ';');
      }),
    );
  }

  /** `closed`: an `if` or a block needs its `;`, or what is a value in it would become the value of the block around it. */
  function statement(node: Statement, closed: boolean): void {
    within(node.span, () => {
      switch (node.kind) {
        case 'expression':
          whole(node.expression);
          line(';');
          return;
        case 'assign':
          expression(node.target);
          write(` ${node.operator} `);
          expression(node.value);
          line(';');
          return;
        case 'let':
          write(`let ${node.name}`);
          if (node.type) {
            write(': ');
            typeName(node.type);
          }
          if (node.value) {
            write(' = ');
            expression(node.value);
          }
          line(';');
          return;
        case 'if':
          choice(node.condition, node.then, node.otherwise);
          line(closed ? ';' : '');
          return;
        case 'while':
          head('while', node.condition);
          loop(node.body);
          return;
        case 'unroll':
          head('unroll', node.count);
          loop(node.body);
          return;
        case 'for_range':
          write(`for (${node.variable} : `);
          operand(node.from, RANGE_ENDS);
          write('..');
          operand(node.to, RANGE_ENDS);
          write(') ');
          loop(node.body);
          return;
        case 'for_each':
          write(`for (${node.variable} : `);
          expression(node.over);
          write(') ');
          loop(node.body);
          return;
        case 'return':
          write('return');
          if (node.value) {
            write(' ');
            expression(node.value);
          }
          line(';');
          return;
        case 'break':
        case 'continue':
          line(`${node.kind};`);
          return;
        case 'block':
          block(node.body, 'value');
          line(closed ? ';' : '');
          return;
      }
    });
  }

  function head(keyword: string, condition: Expression): void {
    write(`${keyword} (`);
    expression(condition);
    write(') ');
  }

  function loop(body: Block): void {
    block(body, 'none');
    line('');
  }

  function choice(condition: Expression, then: Block, otherwise: Block | undefined): void {
    head('if', condition);
    block(then, 'value');
    if (!otherwise) return;
    write(' else ');
    const [only] = otherwise.statements;
    if (only?.kind === 'if' && otherwise.statements.length === 1 && !otherwise.value) {
      within(only.span, () => choice(only.condition, only.then, only.otherwise));
    } else valueOr(otherwise);
  }

  /** An `if` whose value is wanted: an `if` without one, alone behind its `else`, stays in a block. */
  function choiceOfValues(condition: Expression, yes: Block, no: Block): void {
    head('if', condition);
    block(yes, 'value');
    write(' else ');
    valueOr(no);
  }

  function valueOr(otherwise: Block): void {
    const { statements, value } = otherwise;
    if (value?.kind === 'if_value' && statements.length === 0) {
      within(value.span, () => choiceOfValues(value.condition, value.yes, value.no));
    } else block(otherwise, 'value');
  }

  // ----------------------------------------------------------------------------------------------------- expressions

  /** An operand: in parentheses, unless it is one of `bare`. */
  function operand(node: Expression, bare: ReadonlySet<Expression['kind']> = SINGLE): void {
    if (bare.has(node.kind)) {
      expression(node);
      return;
    }
    write('(');
    expression(node);
    write(')');
  }

  /**
   * An expression where a statement begins or a predicate stands. One that begins with an operator would be a part of an
   * `if` before it, `$x ? 1 : 2` is no statement for bpftrace, and an `if` or a block would be another statement.
   */
  function whole(node: Expression): void {
    const needs = APART.has(node.kind) || (node.kind === 'update' && node.prefix);
    if (needs) operand(node);
    else expression(node);
  }

  function expression(node: Expression): void {
    within(node.span, () => inner(node));
  }

  function inner(node: Expression): void {
    switch (node.kind) {
      case 'number':
      case 'positional':
        write(node.text);
        return;
      case 'string':
        write(escapeString(node.value));
        return;
      case 'boolean':
        write(String(node.value));
        return;
      case 'name':
      case 'variable':
        write(node.name);
        return;
      case 'map':
        write(node.name);
        if (node.key) {
          write('[');
          separated(node.key, expression);
          write(']');
        }
        return;
      case 'call':
        write(`${node.callee}(`);
        separated(node.arguments, expression);
        write(')');
        return;
      case 'unary':
        write(node.operator);
        operand(node.operand);
        return;
      case 'update':
        if (node.prefix) write(node.operator);
        operand(node.operand);
        write(node.prefix ? '' : node.operator);
        return;
      case 'binary':
        operand(node.left);
        write(` ${node.operator} `);
        operand(node.right);
        return;
      case 'ternary':
        operand(node.condition);
        write(' ? ');
        operand(node.yes);
        write(' : ');
        operand(node.no);
        return;
      case 'field':
        operand(node.object);
        write(`${node.arrow ? '->' : '.'}${node.field}`);
        return;
      case 'index':
        // `(x[$i] …` would be read as a type that is cast to, `(x)[$i]` is not.
        operand(node.object, INDEXED);
        write('[');
        expression(node.index);
        write(']');
        return;
      case 'cast':
        write('(');
        typeName(node.type);
        write(')');
        operand(node.operand);
        return;
      case 'tuple':
        write('(');
        separated(node.items, expression);
        write(node.items.length === 1 ? ',)' : ')');
        return;
      case 'record':
        write('(');
        separated(node.fields, ({ name, value }) => {
          write(`${name} = `);
          expression(value);
        });
        write(')');
        return;
      case 'block_value':
        block(node.body, 'value');
        return;
      case 'if_value':
        choiceOfValues(node.condition, node.yes, node.no);
        return;
      case 'sizeof':
        write('sizeof(');
        typeOrValue(node.of);
        write(')');
        return;
      case 'offsetof':
        write('offsetof(');
        typeOrValue(node.of);
        write(`, ${node.fields.join('.')})`);
        return;
      case 'type':
        typeName(node.type);
        return;
      case 'comptime':
        write('comptime ');
        operand(node.operand);
        return;
    }
  }

  const typeOrValue = (of: TypeName | Expression): void => (isExpression(of) ? expression(of) : typeName(of));

  function typeName({ name, pointers, dimensions, of, span }: TypeName): void {
    within(span, () => {
      write(name);
      if (of) {
        write('(');
        typeOrValue(of);
        write(')');
      }
      if (pointers > 0) write(` ${'*'.repeat(pointers)}`);
      for (const size of dimensions) write(`[${size ?? ''}]`);
    });
  }

  return { config, definition, macro, probe, expression };
}

const APART: ReadonlySet<Expression['kind']> = new Set(['ternary', 'unary', 'if_value', 'block_value']);

/** Whether an `if` or a block at the end of another would be taken for its value without parentheses. */
const isPlainValue = (node: Expression): boolean =>
  node.kind === 'block_value'
    ? node.body.value !== undefined
    : node.kind === 'if_value' && node.yes.value !== undefined && isPlainElse(node.no);

const isPlainElse = ({ statements, value }: Block): boolean =>
  value !== undefined && (value.kind !== 'if_value' || statements.length > 0 || isPlainValue(value));

/** Whether an expression without `;` ends one of the blocks that end a statement. */
function holdsValue(node: Statement): boolean {
  const ends =
    node.kind === 'block'
      ? [node.body]
      : node.kind === 'if'
        ? [node.then, ...(node.otherwise ? [node.otherwise] : [])]
        : [];
  return ends.some(({ statements, value }) => {
    const last = statements.at(-1);
    return value !== undefined || (last !== undefined && holdsValue(last));
  });
}

/** What stands alone: no operator beside it can take a part of it. */
const RANGE_ENDS: ReadonlySet<Expression['kind']> = new Set([
  ...(['number', 'string', 'boolean', 'name', 'variable', 'map', 'positional', 'call'] as const),
  ...(['tuple', 'record', 'sizeof', 'offsetof'] as const),
]);
const SINGLE: ReadonlySet<Expression['kind']> = new Set([...RANGE_ENDS, 'field', 'index']);
const INDEXED: ReadonlySet<Expression['kind']> = new Set(
  [...SINGLE].filter((kind) => kind !== 'name' && kind !== 'boolean'),
);

/** The attach point as bpftrace reads it, in quotes where a part holds what would end it. */
const printPoint = ({ kind, parts }: AttachPoint): string =>
  [kind, ...parts.map((part) => (/^[\w.*+\-/@~%]*$/.test(part) ? part : `"${part.replace(/["\\]/g, '\\$&')}"`))].join(
    ':',
  );
