import { parseExpression } from '../parse.ts';
import { type AnyNode, type Block, type Expression, mapExpressions, type Probe } from '../tree.ts';
import type { Translation } from './translation.ts';
import { fieldOfArgs } from './uses.ts';

/** The same probe at the raw tracepoint, with every `args.NAME` read from there; `probe` keeps the caller's name. */
export function translateProbe(probe: Probe, { fields, builtins }: Translation, name: string): Probe {
  const texts: Readonly<Record<string, string>> = builtins;
  return rewritten(probe, (node) => {
    if (node.kind === 'name' && node.name === 'probe') return at(node, { kind: 'string', value: name });
    const field = fieldOfArgs(node);
    const builtin = builtinOf(node);
    const text = field !== undefined ? own(fields, field) : builtin && own(texts, builtin);
    return text === undefined ? node : at(node, parseExpression(text));
  });
}

/** The same probe with expressions instead of some builtins. */
export const withBuiltins = <Part extends Pick<Probe, 'predicate' | 'body'>>(
  part: Part,
  texts: Readonly<Record<string, string>>,
): Part =>
  rewritten(part, (node) => {
    const builtin = builtinOf(node);
    const text = builtin && own(texts, builtin);
    return text === undefined ? node : at(node, parseExpression(text));
  });

/** `pid`, `pid()` and `pid(init)` all ask for the current task. */
export function builtinOf(node: AnyNode): string | undefined {
  if (node.kind === 'name') return node.name;
  if (node.kind !== 'call') return undefined;
  return node.arguments.length === 0 || node.callee === 'pid' || node.callee === 'tid' ? node.callee : undefined;
}

function rewritten<Part extends Pick<Probe, 'predicate' | 'body'>>(
  part: Part,
  replace: (node: Expression) => Expression,
): Part {
  const block = (body: Block): Block => mapExpressions(body, replace);
  const predicate = part.predicate && block({ statements: [], value: part.predicate }).value;
  return { ...part, ...(predicate && { predicate }), body: block(part.body) };
}

const own = (texts: Readonly<Record<string, string>>, name: string): string | undefined =>
  Object.hasOwn(texts, name) ? texts[name] : undefined;

/** What stands for a piece of the caller's text is at the place of that piece. */
const at = ({ span }: Expression, node: Expression): Expression => (span ? { ...node, span } : node);
