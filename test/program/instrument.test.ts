import { describe, expect, test } from 'vitest';
import { type Printing, plainProgram, toPrinted } from '../../src/program/instrument.ts';
import { parseExpression, parseTree } from '../../src/program/parse.ts';
import type { AppliedRule } from '../../src/program/scope/scope.ts';
import type { Tree } from '../../src/program/tree.ts';

const NONCE = '6f1c2a9e-0000-4000-8000-000000000000';
const preset: Printing = { timeoutMs: 5_000, nonce: NONCE };

const print = (source: string, printing: Partial<Printing> = {}, rules: readonly AppliedRule[] = []) =>
  toPrinted({ source, attachPoints: [] }, { tree: parseTree(source), rules }, { ...preset, ...printing });

/** The text without its layout. */
const flat = (text: string): string => text.replace(/\s+/g, ' ');

/** As the scoper hands it over: its own condition before the caller's, without a span. */
function scoped(tree: Tree, condition: string): Tree {
  const scope = parseExpression(condition);
  const probes = tree.probes.map((probe) => ({
    ...probe,
    predicate: probe.predicate
      ? ({ kind: 'binary', operator: '&&', left: scope, right: probe.predicate } as const)
      : scope,
  }));
  return { ...tree, probes };
}

const rule = (line: number, column: number): AppliedRule => ({
  point: 'a point',
  at: { line, column },
  class: 'T',
  owner: "task's cgroup",
  points: 1,
  notes: [],
});

describe('the soft stop', () => {
  test('is all that is added to a program that prints nothing', () => {
    const { text, ownPoints, counters, gated } = print('interval:s:1 { @ = count(); }');
    expect(flat(text)).toBe(`interval:s:1 { @ = count(); } self:signal:SIGUSR1 { print("kt.end ${NONCE}"); exit(); } `);
    expect({ ownPoints, counters, gated }).toEqual({ ownPoints: 1, counters: [], gated: false });
  });

  test('prints the nonce of its run', () => {
    const { text, endMarker } = print('begin { }', { nonce: 'another' });
    expect(endMarker).toBe('kt.end another');
    expect(text).toContain(`print("${endMarker}")`);
  });
});

describe('a count beside each printing statement', () => {
  test.each([
    ['printf("x");', '; printf("x"); @__kt_seen_0 = count(); }'],
    ['print(1);', '; print(1); @__kt_seen_0 = count(); }'],
    ['print(@a[1]);', '; print(@a[1]); @__kt_seen_0 = count(); }'],
    ['time("%H");', '; time("%H"); @__kt_seen_0 = count(); }'],
    ['errorf("x");', '; errorf("x"); @__kt_seen_0 = count(); }'],
    ['warnf("x");', '; warnf("x"); @__kt_seen_0 = count(); }'],
    ['if (pid == 1) { printf("x"); }', 'if (pid == 1) { printf("x"); @__kt_seen_0 = count(); }'],
    ['for ($i : 0..3) { printf("x"); }', 'for ($i : 0..3) { printf("x"); @__kt_seen_0 = count(); }'],
    ['$x = { print(1); 2 };', '$x = { print(1); @__kt_seen_0 = count(); 2 };'],
  ])('of %s', (statement, counted) => {
    const { text, counters } = print(`interval:s:1 { @a[1] = 1; ${statement} }`);
    expect(flat(text)).toContain(flat(counted));
    expect(counters).toEqual(['seen_0']);
  });

  test('stands behind it, wherever a value may stand, too', () => {
    const { text } = print('interval:s:1 { pid ? print(1) : print(2) }');
    expect(flat(text)).toMatch(/print\(1\); @__kt_seen_0 = count\(\);.*print\(2\); @__kt_seen_0 = count\(\);/);
  });

  test.each(['print(@a);', 'print(@a, 5);', 'clear(@a);', '@b = strftime("%H", nsecs);'])(
    'is not there for %s, which makes no event or any number',
    (statement) => {
      expect(print(`interval:s:1 { @a[1] = 1; ${statement} }`).counters).toEqual([]);
    },
  );

  test('is a map of its own for each probe, in its predicate, too', () => {
    const { text, counters } = print('begin { print(1) } interval:s:1 /({ print(2); 1 })/ { @ = 1; }');
    expect(counters).toEqual(['seen_0', 'seen_1']);
    expect(flat(text)).toMatch(/print\(2\); @__kt_seen_1 = count\(\);/);
  });

  test('is handed to macros that print, by whatever way they come to it', () => {
    const macros = 'macro outer(x) { inner(x); } macro inner(x) { printf("%d", x) } macro quiet(x) { x }';
    const { text } = print(`${macros} interval:s:1 { outer(1); quiet(2); } begin { inner(3); }`);
    expect(flat(text)).toContain('macro outer(x, @__kt_seen) { inner(x, @__kt_seen); }');
    expect(flat(text)).toContain('macro inner(x, @__kt_seen) { printf("%d", x); @__kt_seen = count(); }');
    expect(flat(text)).toContain('macro quiet(x) { x }');
    expect(flat(text)).toContain('outer(1, @__kt_seen_0); quiet(2);');
    expect(flat(text)).toContain('inner(3, @__kt_seen_1);');
  });

  test('is handed to a macro that is named without parentheses', () => {
    const { text } = print('macro hi() { printf("hi") } begin { hi; }');
    expect(flat(text)).toContain('begin { hi(@__kt_seen_0); }');
  });
});

describe('the gate', () => {
  test('stands before the predicate of each printing probe, but for begin and end', () => {
    const { text, gated, ownPoints } = print(
      'begin { print(1) } interval:s:1 /pid == 1/ { print(2) } interval:s:2 { @ = 1; } end { print(3) }',
    );
    expect({ gated, ownPoints }).toEqual({ gated: true, ownPoints: 2 });
    expect(flat(text)).toContain('interval:s:1 /(@__kt_stop == 0) && (pid == 1)/');
    expect(flat(text)).toContain('interval:s:2 { @ = 1; }');
    expect(text.match(/@__kt_stop == 0/g)).toHaveLength(1);
  });

  test('stands behind the scope and before what the caller added', () => {
    const source = 'interval:s:1 /pid == 1/ { print(1) }';
    const { text } = toPrinted(
      { source, attachPoints: [] },
      { tree: scoped(parseTree(source), 'cgroup == 7'), rules: [] },
      preset,
    );
    expect(flat(text)).toContain('/((cgroup == 7) && (@__kt_stop == 0)) && (pid == 1)/');
  });

  test('is closed by our interval at the time limit, which comes last, and by the soft stop', () => {
    const { text } = print('interval:s:1 { print(1) }', { timeoutMs: 600_000 });
    expect(flat(text)).toContain('@__kt_until = nsecs + 600000000000;');
    expect(flat(text)).toMatch(/self:signal:SIGUSR1 \{ @__kt_stop = 1; print\("kt\.end [^"]+"\); exit\(\); \} $/);
    expect(text.indexOf('interval:ms:50')).toBeGreaterThan(text.indexOf('interval:s:1'));
  });

  test('is closed by every exit() of the program, in macros, too', () => {
    const { text } = print(
      'macro over() { exit(); } interval:s:1 { print(1) } interval:s:2 { exit(); } end { over(); }',
    );
    expect(flat(text)).toContain('{ @__kt_stop = 2; exit(); }');
    expect(flat(text)).toContain('macro over(@__kt_stop) {');
    expect(flat(text)).toContain('over(@__kt_stop);');
  });

  test('leaves a program without one as it is', () => {
    expect(flat(print('begin { print(1); exit(); }').text)).toContain('@__kt_seen_0 = count(); exit(); }');
  });
});

describe('control counts', () => {
  const control = (source: string, rules: readonly AppliedRule[]) =>
    toPrinted(
      { source, attachPoints: [] },
      { tree: scoped(parseTree(source), 'cgroup == 7'), rules },
      { ...preset, control: true },
    );

  test('count all firings and those in scope, before the gate and the caller’s own predicate', () => {
    const { text, counters } = control('interval:s:1 /pid == 1/ { @ = 1; }', [rule(1, 1)]);
    expect(flat(text)).toContain(
      flat('/(((({ @__kt_all_0 = count(); 1 })) && (cgroup == 7)) && (({ @__kt_in_0 = count(); 1 }))) && (pid == 1)/')
        .replaceAll('(({', '({')
        .replaceAll('}))', '})'),
    );
    expect(counters).toEqual(['all_0', 'in_0']);
  });

  test('of several attach points in one list are those of each', () => {
    const { text, counters } = control('interval:s:1, interval:s:2 { @ = 1; }', [rule(1, 1), rule(1, 15)]);
    expect(counters).toEqual(['all_0', 'in_0', 'all_1', 'in_1']);
    expect(flat(text)).toMatch(/interval:s:1 \/.*@__kt_all_0.*\/ \{ @ = 1; \} interval:s:2 \/.*@__kt_all_1/);
  });

  test('of an attach point that is in several files are those of each', () => {
    const source = 'uprobe:libc:malloc { @ = 1; }';
    const tree = parseTree(source);
    const probes = tree.probes.map((probe) => ({
      ...probe,
      points: probe.points.flatMap((point) =>
        [9, 10].map((fd) => ({ ...point, parts: [`/proc/self/fd/${fd}`, 'malloc'] })),
      ),
    }));
    const { counters } = toPrinted(
      { source, attachPoints: [] },
      { tree: { ...tree, probes }, rules: [rule(1, 1), rule(1, 1)] },
      { ...preset, control: true },
    );
    expect(counters).toEqual(['all_0', 'in_0', 'all_1', 'in_1']);
  });

  test('of a wildcard that became several points of one owner are those of all', () => {
    const source = 'tracepoint:sched:* { @ = 1; }';
    const tree = parseTree(source);
    const named = (...names: string[]) =>
      tree.probes.map((probe) => ({
        ...probe,
        points: probe.points.flatMap((point) =>
          names.map((name) => ({ ...point, parts: ['sched', name], text: `tracepoint:sched:${name}` })),
        ),
      }));
    const { counters, text } = toPrinted(
      { source, attachPoints: [] },
      { tree: { ...tree, probes: [...named('a', 'b'), ...named('c')] }, rules: [rule(1, 1), rule(1, 1)] },
      { ...preset, control: true },
    );
    expect(counters).toEqual(['all_0', 'in_0', 'all_1', 'in_1']);
    expect(flat(text)).toMatch(/tracepoint:sched:a, ?tracepoint:sched:b.*all_0.*tracepoint:sched:c.*all_1/);
  });

  test('are kept for no probe without a rule, and never for begin and end', () => {
    expect(control('interval:s:1 { @ = 1; }', []).counters).toEqual([]);
    expect(control('begin { @ = 1; }', [rule(1, 1)]).counters).toEqual([]);
  });
});

describe('what is known of a program', () => {
  test.each([
    ['begin { print(1) } end { print(2) }', { endsAtOnce: true, mayEnd: false }],
    ['BEGIN { exit(); }', { endsAtOnce: true, mayEnd: true }],
    ['interval:s:1 { @ = 1; }', { endsAtOnce: false, mayEnd: false }],
    ['interval:s:1 { assert(pid == 1, "x"); }', { mayEnd: true }],
    ['macro over() { exit() } interval:s:1 { over(); }', { mayEnd: true }],
    ['interval:s:1 { printf("exit"); }', { mayEnd: false }],
  ])('%s: %o', (source, expected) => {
    expect(print(source)).toMatchObject(expected);
  });

  test('places of what the caller wrote, and none for what is ours', () => {
    const source = 'interval:s:1 {\n\n  printf("x"); }';
    const { text, placeOf } = print(source);
    const lines = text.split('\n');
    const placeIn = (piece: string) => {
      const line = lines.findIndex((text) => text.includes(piece));
      return placeOf({ line: line + 1, column: (lines[line] ?? '').indexOf(piece) + 1 });
    };
    expect(placeIn('printf')).toEqual({ line: 3, column: 3 });
    expect(placeIn('@__kt_seen_0 =')).toBeUndefined();
    expect(placeIn('@__kt_stop == 0')).toBeUndefined();
    expect(placeIn('self:signal')).toBeUndefined();
  });

  test('which points are ours, also those that the scoper put first', () => {
    const tree = parseTree('interval:s:1 { print(1) }');
    const first = { points: [{ kind: 'begin', parts: [], text: 'begin' }], body: { statements: [] } };
    const { ownPoints, ownFirst } = toPrinted(
      { source: 'interval:s:1 { print(1) }', attachPoints: [] },
      { tree: { ...tree, probes: [first, ...tree.probes] }, rules: [] },
      preset,
    );
    expect({ ownPoints, ownFirst }).toEqual({ ownPoints: 3, ownFirst: 1 });
  });
});

test('a program of our own runs as it is, with the soft stop on a line of its own', () => {
  const program = plainProgram('begin { } // it');
  expect(program.text).toBe('begin { } // it\nself:signal:SIGUSR1 { print("kt.end"); exit(); }\n');
  expect(program.placeOf({ line: 1, column: 3 })).toEqual({ line: 1, column: 3 });
  expect(program.placeOf({ line: 2, column: 1 })).toBeUndefined();
  expect(program.counters).toBeUndefined();
});
