import { type Block, type Expression, type Macro, mapExpressions, nodesOf, type Tree } from '../tree.ts';

type Call = Extract<Expression, { kind: 'call' }>;

/** The macro that a call is of; one without parameters may be called without parentheses. */
export const macroOf = ({ macros }: Pick<Tree, 'macros'>, name: string, count: number): Macro | undefined =>
  macros.find((macro) => macro.name === name && macro.parameters.length === count);

/** The body of a macro with the caller's arguments in it; undefined for arguments that do not fit its parameters. */
export function expand({ parameters, body }: Macro, given: Call['arguments']): Block | undefined {
  const values = new Map(parameters.map((name, at) => [name, given[at]]));
  for (const [name, value] of values) {
    if (name.startsWith('@') && (value?.kind !== 'map' || value.key !== undefined)) return undefined;
    if (name.startsWith('$') && value?.kind !== 'variable') return undefined;
  }
  return mapExpressions(body, (node) => {
    if (node.kind === 'map') {
      const map = values.get(node.name);
      return map?.kind === 'map' ? { ...node, name: map.name } : node;
    }
    return node.kind === 'name' || node.kind === 'variable' ? (values.get(node.name) ?? node) : node;
  });
}

/** What an expression is known to be before the program runs: a number, through casts, options and macros that name one. */
export function constantOf(node: Expression, tree: Pick<Tree, 'macros'>, depth = 8): Expression | undefined {
  if (depth === 0) return undefined;
  if (node.kind === 'number') return node;
  if (node.kind === 'cast' && node.type.pointers === 0) return constantOf(node.operand, tree, depth - 1);
  if (node.kind === 'call' && node.callee === 'getopt' && node.arguments[1])
    return constantOf(node.arguments[1], tree, depth - 1);
  const name = node.kind === 'name' ? node.name : node.kind === 'call' ? node.callee : undefined;
  const macro = name === undefined ? undefined : macroOf(tree, name, 0);
  if (macro === undefined || macro.body.statements.length > 0) return undefined;
  return macro.body.value && constantOf(macro.body.value, tree, depth - 1);
}

/** Whether a macro calls itself, by itself or through others. */
export function isRecursive(macro: Macro, { macros }: Pick<Tree, 'macros'>): boolean {
  const seen = new Set<string>();
  const pending = [macro];
  for (let one = pending.pop(); one; one = pending.pop()) {
    for (const node of nodesOf(one.body)) {
      const name = node.kind === 'call' ? node.callee : node.kind === 'name' ? node.name : undefined;
      if (name === macro.name) return true;
      if (name === undefined || seen.has(name)) continue;
      seen.add(name);
      pending.push(...macros.filter((other) => other.name === name));
    }
  }
  return false;
}
