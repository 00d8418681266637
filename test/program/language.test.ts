import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KerntapError } from '../../src/errors.ts';
import { positionAt } from '../../src/program/lexer.ts';
import { numberOf } from '../../src/program/literals.ts';
import { parseExpression, parseProbes, parseTree } from '../../src/program/parse.ts';
import { printExpression, printTree } from '../../src/program/print.ts';
import { parseProgram } from '../../src/program/program.ts';
import { childrenOf, nodesOf, probeNodes } from '../../src/program/tree.ts';
import { SEEDS } from '../fixtures/programs/seeds.ts';
import { forAll } from '../helpers/for-all.ts';
import { CHECKS, unlessRefused } from '../helpers/program-checks.ts';
import { mutated, programs } from '../helpers/program-grammar.ts';

const printed = (source: string): string => printTree(parseTree(source)).text;

/** The one expression of `begin { EXPRESSION; }` as it is printed. */
const expressionOf = (source: string): string =>
  printed(`begin { ${source}; }`).split('\n').slice(2, -2).join('\n').slice(2, -1);

function errorOf(source: string): string {
  try {
    parseTree(source);
  } catch (error) {
    if (error instanceof KerntapError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'none';
}

describe('an expression is printed as bpftrace groups it', () => {
  test.each([
    ['1 + 2 * 3', '1 + (2 * 3)'],
    ['1 * 2 + 3', '(1 * 2) + 3'],
    ['1 - 2 - 3', '(1 - 2) - 3'],
    ['1 - (2 - 3)', '1 - (2 - 3)'],
    ['1 << 2 + 3', '1 << (2 + 3)'],
    ['1 < 2 << 3', '1 < (2 << 3)'],
    ['1 == 2 < 3', '1 == (2 < 3)'],
    ['1 & 2 == 3', '1 & (2 == 3)'],
    ['1 ^ 2 & 3', '1 ^ (2 & 3)'],
    ['1 | 2 ^ 3', '1 | (2 ^ 3)'],
    ['1 && 2 | 3', '1 && (2 | 3)'],
    ['1 || 2 && 3', '1 || (2 && 3)'],
    ['pid || 1 ? 2 : 3', '((pid || 1) ? 2 : 3)'],
    ['pid ? 1 : tid ? 2 : 3', '(pid ? 1 : (tid ? 2 : 3))'],
    ['1 ?: 2', '(1 ? 1 : 2)'],
    ['-pid + !tid', '(-pid) + (!tid)'],
    ['1 - -2', '1 - (-2)'],
    ['- -pid', '(-(-pid))'],
    ['-curtask->pid', '(-curtask->pid)'],
    ['*curtask->files', '(*curtask->files)'],
    ['(*curtask).pid', '(*curtask).pid'],
    ['(uint8)pid + 1', '((uint8)pid) + 1'],
    ['(struct sock *)args.skaddr', '(struct sock *)args.skaddr'],
    ['((struct sock *)args.skaddr)->a.b', '((struct sock *)args.skaddr)->a.b'],
    ['(uint8)(pid + 1)', '(uint8)(pid + 1)'],
    ['(uint8)-1', '(uint8)(-1)'],
    ['(((pid)))', 'pid'],
    // What bpftrace 0.27 makes of a name in parentheses before an operator that can begin a value.
    ['(cpu) - 1', '(cpu)(-1)'],
    ['(pid) - 1', 'pid - 1'],
    ['x[1] + 1', '(x)[1] + 1'],
    ['$x[1][2]', '$x[1][2]'],
    ['@x[1][2]', '@x[1][2]'],
    ['$x++ ', '$x++'],
    ['++$x', '(++$x)'],
    ['(1,)', '(1,)'],
    ['(1, 2,)', '(1, 2)'],
    ['$t.1.0', '$t.1.0'],
    ['(a = 1, b = (c = 2)).b.c', '(a = 1, b = (c = 2)).b.c'],
    ['sizeof(uint8 [ 4 ])', 'sizeof(uint8[4])'],
    ['sizeof( struct  sock * )', 'sizeof(struct sock *)'],
    ['offsetof(struct sock , a . b)', 'offsetof(struct sock, a.b)'],
    ['comptime (1 + 2) * 3', '(comptime (1 + 2)) * 3'],
    ['print(if (pid) { 1 } else { 2 } + 1)', 'print((if (pid) {\n    1\n  } else {\n    2\n  }) + 1)'],
  ])('%s: %s', (source, expected) => {
    expect(expressionOf(source)).toBe(expected);
  });
});

describe('a string is printed with escapes of our own', () => {
  test.each([
    ['"\\x41\\101\\7"', '"AA\\x07"'],
    ['"\\n\\t\\r\\"\\\\"', '"\\n\\t\\r\\"\\\\"'],
    ['"a\tb"', '"a\\tb"'],
    ['"é世"', '"é世"'],
    ['"\\xe9\\xFF\\351"', '"\\xe9\\xff\\xe9"'],
    ['"\\xc3\\xa9"', '"\\xc3\\xa9"'],
    ['"\\x1f1"', '"\\x1f1"'],
    ['"} tracepoint:a:b { //"', '"} tracepoint:a:b { //"'],
  ])('%s: %s', (source, expected) => {
    expect(expressionOf(`print(${source})`)).toBe(`print(${expected})`);
  });
});

describe('an attach point', () => {
  test.each([
    ['t:sched:sched_switch', 'tracepoint:sched:sched_switch'],
    ['BEGIN', 'begin'],
    ['Tracepoint:"sched":"sched_sw*"', 'tracepoint:sched:sched_sw*'],
    ['U:/bin/bash:"a":b', 'usdt:/bin/bash:a:b'],
    ['fr:vfs_read', 'fexit:vfs_read'],
    ['kretfunc:vfs_read', 'fexit:vfs_read'],
    ['u:"/a b/{x}, y":cpp:"f(int, char)"', 'uprobe:"/a b/{x}, y":cpp:"f(int, char)"'],
    ['u:/usr/lib/*/libc.so.6:malloc+0x4', 'uprobe:/usr/lib/*/libc.so.6:malloc+0x4'],
    ['u:"/a$1/b":main', 'uprobe:"/a$1/b":main'],
    ['i:1s', 'interval:1s'],
  ])('%s is printed as %s', (source, expected) => {
    const tree = parseTree(`${source} { }`);
    expect(printTree(tree).text).toBe(`${expected}\n{\n}\n`);
    expect(tree.probes[0]?.points[0]?.text).toBe(source);
  });
});

test.each(Object.entries(SEEDS))('%s: is read, and what is printed is printed again', (_, source) => {
  const once = printed(source);
  expect(printed(once)).toBe(once);
});

test('a program is printed without its comments, one statement a line', () => {
  const lines = printed(
    'begin { @ = 1; /* a */ if pid { print(1); } else if (tid) { $a = 2 } // b\n while (1) { break } }',
  ).split('\n');
  expect(lines).toEqual([
    ...['begin', '{', '  @ = 1;', '  if (pid) {', '    print(1);', '  } else if (tid) {', '    $a = 2;', '  }'],
    ...['  while (1) {', '    break;', '  }', '}', ''],
  ]);
});

describe('what is no program is named with its place', () => {
  test.each([
    ['begin {\n  @a = = 1; }', 'program.invalid: `=` stands at line 2, column 8 where an expression is expected.'],
    ['begin { print(1) print(2); }', 'program.invalid: `print` stands at line 1, column 18 where `;` is expected.'],
    ['begin { print(1,); }', 'program.invalid: `)` stands at line 1, column 17 where an expression is expected.'],
    ['begin { print(1; }', 'program.invalid: `;` stands at line 1, column 16 where `)` is expected.'],
    ['begin { print(1', 'program.unterminated: The parenthesis that begins at line 1, column 14 is not closed.'],
    ['begin { @a[1', 'program.unterminated: The bracket that begins at line 1, column 11 is not closed.'],
    [
      'begin { $x = 08; }',
      'program.invalid: `08` stands at line 1, column 14 where a number that bpftrace knows is expected.',
    ],
    ['begin { print("\\a"); }', 'program.invalid: `\\a` at line 1, column 16 is no escape that bpftrace knows.'],
    ['begin { print("\\400"); }', 'program.invalid: `\\400` at line 1, column 16 is no escape that bpftrace knows.'],
    ['begin { $a ? 1 : 2; }', 'program.invalid: The condition at line 1, column 9 needs parentheses: ($x) ? a : b.'],
    [
      'begin { $a.b = 1; }',
      'program.invalid: What stands at line 1, column 9 cannot be assigned: only a variable, a map or its item can.',
    ],
    ['begin { $x = 5; 5++; }', 'program.invalid: What is counted at line 1, column 18 is no variable or map.'],
    [
      'begin { for ($i : 5) { } }',
      'program.invalid: `)` stands at line 1, column 20 where a map or a range such as 0..10 is expected.',
    ],
    ['begin { }; end { }', 'program.invalid: `;` at line 1, column 10 is no probe kind of bpftrace.'],
    ['kporbe:vfs_read { }', 'program.invalid: `kporbe` at line 1, column 1 is no probe kind of bpftrace.'],
    ['begin { if pid == 1 { } }', 'program.invalid: `==` stands at line 1, column 16 where `{` is expected.'],
    [
      'begin { $x = (foo[$i] + 1); }',
      'program.invalid: `$i` stands at line 1, column 19 where a number, as the size of a type is expected.',
    ],
    ['begin { print(1);\f }', 'program.invalid: `\f` stands at line 1, column 18 where an expression is expected.'],
  ])('%j', (source, expected) => {
    expect(errorOf(source)).toBe(expected);
  });

  test('and a kind of probe with the nearest one', () => {
    expect(() => parseTree('kporbe:vfs_read { }')).toThrow(
      expect.objectContaining({ remedy: expect.stringContaining('did you mean: kprobe') }),
    );
  });
});

describe('a place in the printed text', () => {
  const source = 't:sched:sched_switch\n/pid > 1/ { $x = (1 +\n  "é" . y); @[comm] = nope(); }';

  test('leads to the place in the source of what is printed there', () => {
    const program = 'BEGIN { /* é */ @[comm] =\n  nope(pid); if (tid) { print(args.x) } }';
    const { text, placeOf } = printTree(parseTree(program));
    for (const word of ['comm', 'nope', 'pid', 'tid', 'args', 'print', '@']) {
      expect(placeOf(positionAt(text, text.indexOf(word)), program)).toEqual(
        positionAt(program, program.indexOf(word)),
      );
    }
    expect(placeOf({ line: 1, column: 1 }, program)).toEqual({ line: 1, column: 1 });
  });

  test('is none where the caller wrote nothing', () => {
    const tree = parseTree('begin { @a = 1; }');
    const [probe] = tree.probes;
    if (!probe) expect.unreachable();
    const guarded = { ...probe, predicate: parseExpression('curtask->pid == 5') };
    const { text, placeOf } = printTree({ ...tree, probes: [guarded, ...parseProbes('end { @__x = 1; }')] });
    for (const word of ['curtask', '==', 'end', '@__x']) {
      expect(placeOf(positionAt(text, text.indexOf(word)), source)).toBeUndefined();
    }
    expect(placeOf(positionAt(text, text.indexOf('@a')), 'begin { @a = 1; }')).toEqual({ line: 1, column: 9 });
  });
});

test('what is ours may use names that no caller may, and has no place', () => {
  const expression = parseExpression('@__set[curtask->pid] && $__x == 1');
  expect(printExpression(expression)).toBe('@__set[curtask->pid] && ($__x == 1)');
  const probes = parseProbes('self:signal:SIGUSR1 { print(("kt.end", 1)); exit(); }');
  expect(
    probes
      .flatMap((probe) => [...probeNodes(probe)])
      .concat([...nodesOf(expression)])
      .every(({ span }) => span === undefined),
  ).toBe(true);
});

describe('what is nested', () => {
  const deep = (text: string, times: number, end = '') =>
    `begin { print(${text.repeat(times)}1${end.repeat(times)}); }`;

  test.each([
    ['parentheses', deep('(', 20_000)],
    ['parentheses that close', deep('(', 5_000, ')')],
    ['brackets', deep('@a[', 5_000, ']')],
    ['blocks', `begin ${'{ '.repeat(8_000)}`],
    ['blocks as values', deep('{', 5_000, '}')],
    ['operators before', deep('-', 15_000)],
    ['operators before with blanks', deep('! ', 8_000)],
    ['casts', deep('(uint8)', 2_000)],
    ['calls', deep('f(', 5_000, ')')],
    ['ternaries', deep('1 ? 1 : ', 2_000)],
    ['ifs', `begin { ${'if (1) '.repeat(2_000)}`],
    ['else ifs', `begin { ${'if (1) { } else '.repeat(1_000)} { } }`],
    ['structs', `struct a { ${'struct { '.repeat(1_500)}`],
    ['comptime', deep('comptime ', 1_500)],
    ['typeof', `begin { let $x : ${'typeof('.repeat(2_000)}`],
    ['sums', deep('1 + ', 4_000)],
    ['fields', `begin { print($a${'.b'.repeat(8_000)}); }`],
    ['conditions that name themselves twice', deep('1 ?: (', 2_000, ')')],
  ])('too deep is refused: %s', (_, source) => {
    expect(errorOf(source)).toMatch(/^program\.(?:refused|invalid|unterminated): /);
  });

  test('as people write it is read', () => {
    expect(errorOf(deep('(', 30, ')'))).toBe('none');
    expect(errorOf(`begin { ${'if (1) { } else '.repeat(25)} { } }`)).toBe('none');
    expect(errorOf(`tracepoint:a:b /${'pid == 1 || '.repeat(100)} 0/ { }`)).toBe('none');
  });
});

test.each<[string, bigint | undefined]>([
  ['0', 0n],
  ['017', 15n],
  ['0x1F', 31n],
  ['1_000', 1000n],
  ['1e6', 1_000_000n],
  ['5ms', 5_000_000n],
  ['1d', 86_400_000_000_000n],
  ['18446744073709551615', 2n ** 64n - 1n],
  ...[
    '18446744073709551616',
    '0x',
    '08',
    '1e',
    '1e0',
    '12e3',
    '1_',
    '0x1u',
    '1ULL',
    '0b1',
    '4294967296u',
    '1e20',
    '9223372036854775808l',
  ].map((text): [string, undefined] => [text, undefined]),
])('the number %s is %s', (text, value) => {
  expect(numberOf(text)).toBe(value);
});

describe('of 20,000 programs that were made up', () => {
  test('each is read or refused; what is read is printed in one way, and scoped at every probe when it is admitted', () => {
    let read = 0;
    const check = (source: string) => {
      const program = unlessRefused(() => parseProgram(source));
      if (!program) return;
      read++;
      for (const holds of CHECKS) holds(program);
    };
    forAll(programs, check, 10_000);
    expect(read).toBeGreaterThan(9_000);
    read = 0;
    forAll(mutated, check, 10_000);
    expect(read).toBeGreaterThan(2_000);
  }, 180_000);

  test('the nodes of each lie within their parents', () => {
    const check = (source: string) => {
      if (errorOf(source) !== 'none') return;
      for (const probe of parseTree(source).probes) {
        for (const node of probeNodes(probe)) {
          const { start = -1, end = -1 } = node.span ?? {};
          if (!(start >= 0 && start < end && end <= source.length)) expect.fail(`a span of ${source}`);
          for (const child of childrenOf(node)) {
            const inside = (child.span?.start ?? -1) >= start && (child.span?.end ?? source.length + 1) <= end;
            if (!inside) expect.fail(`${child.kind} is outside of ${node.kind} in ${source}`);
          }
        }
      }
    };
    forAll(programs, check, 1_000);
  });

  test('no comment and no text of a string is taken for anything else', () => {
    const words = fc
      .string({ unit: 'grapheme', maxLength: 20 })
      .map((text) => text.replaceAll('*/', '').replaceAll('\0', ''));
    forAll(
      words,
      (text) => {
        const plain = printed('begin { print("a"); }');
        expect(printed(`begin { /*${text}*/ print("a"); }`)).toBe(plain);
        const literal = `"${text.replace(/[\\"\n]/g, '')}"`;
        const tree = parseTree(`begin { print(${literal}); }`);
        const strings = tree.probes.flatMap((probe) => [...probeNodes(probe)]).filter((node) => node.kind === 'string');
        expect(strings.map(({ value }) => value)).toEqual([literal.slice(1, -1)]);
      },
      500,
    );
  });
});
