import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { KerntapError } from '../../../src/errors.ts';
import { parseTree } from '../../../src/program/parse.ts';
import { printTree } from '../../../src/program/print.ts';
import type { Probe, Statement, Tree } from '../../../src/program/tree.ts';
import { projectRoot } from '../../helpers/machine.ts';
import { scope, scoped } from './node.ts';

const FOLDER = join(projectRoot, 'test/fixtures/agent-programs');

/** A statement of the scoper's has a call without a span. */
const isCallers = (node: Statement): boolean => node.kind !== 'expression' || node.expression.span !== undefined;

/** What is left without the scoper's own: what has no span, and the parts of a list that it took apart. */
function withoutAdditions(scoped: Tree): Tree {
  const callers = scoped.probes.filter(({ points }) => points.some(({ span }) => span));
  const probes = [...Map.groupBy(callers, ({ span }) => span?.start).values()].flatMap((parts): Probe[] => {
    const [first] = parts;
    if (first === undefined) return [];
    const { predicate, ...probe } = first;
    const points = parts.flatMap((part) => part.points).sort((a, b) => (a.span?.start ?? 0) - (b.span?.start ?? 0));
    const user = predicate?.kind === 'binary' && predicate.left.span === undefined ? predicate.right : predicate;
    const statements = probe.body.statements.filter(isCallers);
    return [{ ...probe, body: { ...probe.body, statements }, points, ...(user?.span && { predicate: user }) }];
  });
  return { ...scoped, probes };
}

/** A program, unless it is refused or runs in another form than it was written. */
function scopedOf(source: string): { tree: Tree; scoped: Tree } | undefined {
  try {
    const tree = parseTree(source);
    const { tree: scoped } = scope(source, { unscoped: 'allow' });
    const isRaw = ({ points }: Probe) =>
      points.some(({ kind, text }) => !text.startsWith('r') && kind === 'rawtracepoint');
    return tree.probes.some(isRaw) || scoped.probes.some(isRaw) ? undefined : { tree, scoped };
  } catch (error) {
    if (error instanceof KerntapError) return undefined;
    throw error;
  }
}

test('without its predicates a scoped program is what the caller wrote', () => {
  const kept = globSync('*.bt', { cwd: FOLDER }).flatMap((name) => {
    const both = scopedOf(readFileSync(join(FOLDER, name), 'utf8'));
    return both ? [{ name, ...both }] : [];
  });
  expect(kept.length).toBeGreaterThan(150);
  for (const { name, tree, scoped } of kept) {
    expect(printTree(withoutAdditions(scoped)).text, name).toBe(printTree(tree).text);
  }
});

test('what has no place in the caller’s text is the scoper’s own, and stands before what is the caller’s', () => {
  for (const name of globSync('*.bt', { cwd: FOLDER })) {
    const source = readFileSync(join(FOLDER, name), 'utf8');
    for (const { points, predicate } of scopedOf(source)?.scoped.probes ?? []) {
      if (predicate === undefined) continue;
      expect(predicate.span, name).toBeUndefined();
      if (predicate.kind === 'binary' && predicate.operator === '&&' && predicate.right.span) {
        expect(predicate.left.span, name).toBeUndefined();
      }
      expect(
        points.every(({ kind }) => !['begin', 'end', 'interval'].includes(kind)),
        name,
      ).toBe(true);
    }
  }
});

describe('a task that is not the target’s', () => {
  const own =
    '({ let $__kt_cgroup = curtask->cgroups->dfl_cgrp; ($__kt_cgroup->level >= 3) && ($__kt_cgroup->ancestors[3]->kn->id == 42) })';
  const RETRANSMIT = 'tracepoint:tcp:tcp_retransmit_skb { @[comm, pid] = count(); }';
  const hidden = (program: string, strangers: 'hide' | 'show' = 'hide') => ({
    text: scoped(program, { strangers }),
    rules: scope(program, { strangers }).rules,
  });

  test('is hidden where the event is not its own, and the answer says so', () => {
    const { text, rules } = hidden(RETRANSMIT);
    expect(text).toContain(`@[${own} ? comm : "", ${own} ? pid : 0] = count();`);
    expect(rules[0]?.notes.join()).toMatch(/comm, pid and tid are empty or 0/);
  });

  test.each(['comm()', 'pid()', 'pid(init)', 'tid(curr_ns)'])('is hidden when it is asked for as %s', (asked) => {
    const program = `tracepoint:tcp:tcp_retransmit_skb { @[${asked}] = count(); }`;
    expect(hidden(program).text).toContain(`@[${own} ? ${asked.replace(/\(.*/, '')} : `);
    expect(hidden(program).rules[0]?.notes.join()).toMatch(/comm, pid and tid are empty or 0/);
  });

  test('is not said to be shown where it is hidden', () => {
    const [rule] = hidden('rawtracepoint:sched_wakeup { @[pid] = count(); }').rules;
    expect(rule?.notes).toEqual([expect.stringMatching(/^comm, pid and tid are empty or 0/)]);
  });

  test('is hidden in a switch that may be of another, also when it is asked for as a call', () => {
    const program = 'tracepoint:sched:sched_switch { @[args.next_pid, pid(), comm()] = count(); }';
    expect(hidden(program).text).toMatch(/\? pid : 0, .*\? comm : ""\] = count/);
  });

  test('is hidden where only the raw form of the tracepoint reads it', () => {
    const program = 'tracepoint:block:block_rq_issue { @[args.comm] = count(); }';
    const given = { strangers: 'hide', target: { ioGroups: [{ id: 9n, level: 2 }] } } as const;
    expect(scoped(program, given)).toContain(`@[${own} ? comm : ""] = count();`);
    expect(scope(program, given).rules[0]?.notes.join()).toMatch(/comm, pid and tid are empty or 0/);
  });

  test('is hidden in a macro, wherever that is used', () => {
    expect(hidden('macro who() { comm } tracepoint:tcp:tcp_retransmit_skb { @[who()] = count(); }').text).toContain(
      '? comm : ""',
    );
  });

  test.each([
    ['where every event is its own', 'tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }', 'hide'],
    ['where nobody asks for it', 'tracepoint:tcp:tcp_retransmit_skb { @ = count(); }', 'hide'],
    ['to who may see the node', RETRANSMIT, 'show'],
  ] as const)('is not %s', (_why, program, strangers) => {
    const { text, rules } = hidden(program, strangers);
    expect(text).not.toContain('? comm');
    expect(rules.flatMap(({ notes }) => notes).join()).not.toContain('comm, pid and tid');
  });
});
