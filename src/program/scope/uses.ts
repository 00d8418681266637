import { type AnyNode, nodesOf, type Probe, probeNodes, type Tree } from '../tree.ts';

/** What a probe's predicate and body read of the event. */
export interface Uses {
  /** The names in `args.NAME`. */
  readonly fields: ReadonlySet<string>;
  /** True when `args` or `ctx` is used otherwise, or inside a macro. */
  readonly whole: boolean;
  /** Builtins with and without parentheses. */
  readonly names: ReadonlySet<string>;
}

/** The name in `args.NAME`. */
export const fieldOfArgs = (node: AnyNode): string | undefined =>
  node.kind === 'field' && node.object.kind === 'name' && node.object.name === 'args' ? node.field : undefined;

export function usesOf(probe: Probe, { macros }: Pick<Tree, 'macros'>): Uses {
  const fields = new Set<string>();
  const names = new Set<string>();
  let whole = false;

  function read(nodes: Iterable<AnyNode>, inMacro: boolean): void {
    const parts = new Set<AnyNode>();
    for (const node of nodes) {
      const field = fieldOfArgs(node);
      if (field !== undefined && node.kind === 'field') {
        fields.add(field);
        parts.add(node.object);
        whole ||= inMacro;
      } else if (node.kind === 'name') {
        whole ||= (node.name === 'args' || node.name === 'ctx') && !parts.has(node);
        names.add(node.name);
      } else if (node.kind === 'call' && !names.has(node.callee)) {
        names.add(node.callee);
        for (const macro of macros) if (macro.name === node.callee) read(nodesOf(macro.body), true);
      }
    }
  }

  read(probeNodes(probe), false);
  return { fields, whole, names };
}
