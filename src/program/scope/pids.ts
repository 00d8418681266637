import { type Block, type Expression, mapExpressions, type Probe, type Tree } from '../tree.ts';

const NAMES = ['pid', 'tid'];

/**
 * Makes `pid` and `tid` those of the initial pid namespace. bpftrace gives those of its own, which are 0 for tasks in
 * deeper or other namespaces, so that they could not be told apart (bpf_get_ns_current_pid_tgid).
 */
export function translatePids(tree: Tree): Tree {
  const block = (body: Block): Block => mapExpressions(body, ofInitialNamespace);
  const probe = (one: Probe): Probe => ({
    ...one,
    ...(one.predicate && { predicate: valueIn(block({ statements: [], value: one.predicate }), one.predicate) }),
    body: block(one.body),
  });
  return {
    ...tree,
    macros: tree.macros.map((macro) => ({ ...macro, body: block(macro.body) })),
    probes: tree.probes.map(probe),
  };
}

const valueIn = ({ value }: Block, otherwise: Expression): Expression => value ?? otherwise;

function ofInitialNamespace(node: Expression): Expression {
  const name =
    node.kind === 'name' ? node.name : node.kind === 'call' && node.arguments.length === 0 ? node.callee : '';
  if (!NAMES.includes(name)) return node;
  return {
    ...(node.span && { span: node.span }),
    kind: 'call',
    callee: name,
    arguments: [{ kind: 'name', name: 'init' }],
  };
}
