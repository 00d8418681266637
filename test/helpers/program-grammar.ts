import * as fc from 'fast-check';
import { SEEDS } from '../fixtures/programs/seeds.ts';

/** One of these texts. */
const one = (...texts: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...texts);

type Part = string | fc.Arbitrary<string>;

/** Texts and what is generated, in a row. */
const text = (strings: TemplateStringsArray, ...parts: readonly Part[]): fc.Arbitrary<string> =>
  fc
    .tuple(...parts.map((part) => (typeof part === 'string' ? fc.constant(part) : part)))
    .map((values) => strings.reduce((whole, string, i) => whole + string + (values[i] ?? ''), ''));

const rows = (part: fc.Arbitrary<string>, maxLength: number, minLength = 0, between = ' ') =>
  fc.array(part, { minLength, maxLength }).map((items) => items.join(between));

/** Blanks and comments, as they may stand between any two tokens. */
const layout = one('', ' ', '\n', '\t', ' /* { } " */ ', ' // / {\n', '  ');

const number = one('0', '1', '7', '42', '1_000', '0x1F', '1e6', '5ms', '017', '2s', '3u', '1ull');
const string = one(
  '""',
  '"a"',
  '"a b"',
  '"\\n"',
  '"\\x41\\101"',
  '"é"',
  '"\\xff"',
  '"/ {"',
  '"%d %s\\n"',
  '"#include"',
  '"swapper/0"',
);
const variable = one('$a', '$b', '$i', '$kv', '$if');
const map = one('@', '@a', '@b', '@start', '@for');
const builtin = one(
  'pid',
  'tid',
  'comm',
  'cpu',
  'nsecs',
  'elapsed',
  'uid',
  'curtask',
  'args',
  'arg0',
  'arg2',
  'retval',
  'ctx',
  'func',
  'probe',
  'kstack',
  'ustack',
  'cgroup',
  'rand',
  'ncpus',
  'AF_INET',
  'x',
);
const field = one(
  'comm',
  'pid',
  'skaddr',
  'filename',
  'ret',
  'next_pid',
  'prev_comm',
  '__sk_common.skc_dport',
  'real_parent',
  'if',
  'd_name.name',
);
const plainType = one(
  'uint8',
  'int64',
  'uint64',
  'bool',
  'string',
  'struct sock',
  'struct task_struct',
  'union u',
  'enum e',
  'foo',
);
const type = text`${plainType}${one('', '', ' *', '**', '[4]', '[]', ' *[2]', '[2][3]')}`;
const callee = one(
  'print',
  'printf',
  'count',
  'sum',
  'hist',
  'str',
  'kstack',
  'ustack',
  'ksym',
  'ntop',
  'nsecs',
  'has_key',
  'delete',
  'exit',
  'join',
  'getopt',
  'strncmp',
  'mine',
);
const unaryOperator = one('-', '!', '~', '*', '- ', '! ');
const binaryOperator = one(
  '+',
  '-',
  '*',
  '/',
  '%',
  '<<',
  '>>',
  '<',
  '<=',
  '>',
  '>=',
  '==',
  '!=',
  '&',
  '^',
  '|',
  '&&',
  '||',
).map((sign) => ` ${sign} `);
const assign = one('=', '+=', '-=', '*=', '/=', '%=', '&=', '|=', '^=', '<<=', '>>=');

const grammar = fc.letrec<{ value: string; statement: string; block: string; target: string }>((tie) => {
  const value = tie('value');
  const target = tie('target');
  const block = tie('block');
  const values = rows(value, 3, 0, ', ');
  return {
    target: fc.oneof(
      { maxDepth: 3, depthIdentifier: 'program' },
      variable,
      map,
      text`${map}[${value}]`,
      text`${map}[${value}, ${value}]`,
    ),
    value: fc.oneof(
      { maxDepth: 4, depthIdentifier: 'program' },
      { weight: 4, arbitrary: fc.oneof(number, variable, builtin, map) },
      string,
      text`args.${field}`,
      text`(${value})`,
      { weight: 3, arbitrary: text`${value}${binaryOperator}${value}` },
      { weight: 3, arbitrary: text`(${value}${binaryOperator}${value})` },
      text`${map}[${value}]`,
      text`${map}[${value}, ${value}]`,
      text`${unaryOperator}${value}`,
      text`(${target})${one('++', '--')}`,
      text`${one('++', '--')}${target}`,
      text`&${one('$a', '@a')}`,
      text`${value} ? ${value} : ${value}`,
      text`(${value} ? ${value} : ${value})`,
      text`(${value}) ?: ${value}`,
      { weight: 2, arbitrary: text`${callee}(${values})` },
      text`(${type})${value}`,
      text`((${type})${value})->${field}`,
      text`(${value}).${field}`,
      text`${variable}->${field}`,
      text`curtask->${field}`,
      text`${variable}.${one('0', '1', '12')}`,
      text`(${value})[${value}]`,
      text`x[${value}]`,
      text`(${value}, ${value})`,
      text`(${value},)`,
      one('()', 'true', 'false', '$1', '$#'),
      text`(a = ${value}, b = ${value})`,
      text`{ ${tie('statement')} ${value} }`,
      text`if (${value}) ${block} else { ${value} }`,
      text`if (${value}) { ${value} } else if (${value}) { ${value} } else { ${value} }`,
      text`sizeof(${fc.oneof(type, value)})`,
      text`offsetof(struct sock, ${field})`,
      text`comptime (${value})`,
      text`(typeof(${value}))${value}`,
    ),
    statement: fc.oneof(
      { maxDepth: 4, depthIdentifier: 'program' },
      { weight: 3, arbitrary: text`${target} ${assign} ${value};` },
      { weight: 3, arbitrary: text`${map}[${value}] = ${one('count()', 'sum(1)', 'nsecs', 'hist(pid)')};` },
      { weight: 3, arbitrary: text`print(${value});` },
      text`printf("%d %s\\n", ${value}, ${value});`,
      text`${value};`,
      text`(${value});`,
      text`${target}${one('++', '--')};`,
      text`_ = ${value};`,
      text`let ${variable}${one('', ': uint64', ': struct sock *', ': typeof(pid)')}${fc.oneof(fc.constant(''), text` = ${value}`)};`,
      { weight: 2, arbitrary: text`if (${value}) ${block}` },
      text`if (${value}) ${block} else ${block}`,
      text`if ${one('pid', '!pid', '(pid) ')} ${block} else if (${value}) ${block} else ${block}`,
      text`while (${value}) ${block}`,
      text`unroll (${number}) ${block}`,
      text`for ($i : ${one('0', '(1 + 1)', '$a')}..${one('5', 'ncpus', '(cpu)')}) ${block}`,
      text`for $kv : ${map} ${block}`,
      one('break;', 'continue;', 'return;'),
      text`return ${value};`,
      block,
    ),
    block: text`{${layout}${rows(tie('statement'), 3)}${layout}${fc.oneof({ weight: 3, arbitrary: fc.constant('') }, value)}}`,
  };
});

/** Attach points of every kind and of every way in which an event has its owner. */
const point = one(
  ...['begin', 'end', 'BEGIN', 'END', 'interval:s:1', 'i:ms:100', 'profile:hz:99', 'p:hz:49', 'software:page-faults:1'],
  ...['tracepoint:syscalls:sys_enter_openat', 't:syscalls:sys_exit_read', 'tracepoint:raw_syscalls:sys_enter'],
  ...[
    'tracepoint:sched:sched_switch',
    'tracepoint:sched:sched_wakeup',
    'rawtracepoint:sched_switch',
    'rt:sched_wakeup',
  ],
  ...['tracepoint:sched:sched_process_*', 'tracepoint:tcp:*', 'tracepoint:*:*'],
  ...['tracepoint:sock:inet_sock_set_state', 'tracepoint:tcp:tcp_retransmit_skb', 'tracepoint:skb:kfree_skb'],
  ...['tracepoint:net:net_dev_queue', 'tracepoint:block:block_rq_issue', 'rawtracepoint:block_rq_complete'],
  ...['tracepoint:irq:softirq_entry', 'tracepoint:timer:timer_start', 'tracepoint:oom:mark_victim'],
  ...[
    'kprobe:vfs_read',
    'k:tcp_*',
    'kretprobe:vfs_read',
    'kprobe:ext4:ext4_sync_file',
    'fentry:tcp_connect',
    'fr:vfs_read',
  ],
  ...[
    'uprobe:/bin/bash:readline',
    'u:"/opt/a b/x":main',
    'uretprobe:/usr/lib/*/libc.so.6:malloc',
    'usdt:/bin/bash:a:b',
  ],
  ...['hardware:cycles:1000000', 'iter:task', 'watchpoint:0x1000:8:w'],
);

const predicate = fc.oneof({ weight: 2, arbitrary: fc.constant('') }, text`${layout}/ ${grammar.value} /${layout}`);
const probe = text`${rows(point, 2, 1, ', ')} ${predicate}${grammar.block}`;

const before = one(
  ...[
    '',
    '',
    '',
    '',
    'config = { stack_mode = perf }\n',
    'config = { missing_probes = "warn"; str_trunc_trailer = "..."; }\n',
  ],
  ...['struct pair { int a; char b[4]; };\n', 'union u { int a; struct { int b; } c; }\n', 'enum e { A, B = 5 };\n'],
  ...['let @a = hash(5);\n', 'let @b = lruhash(100) ', '#define AF_INET 2\n', '#!/usr/bin/env bpftrace\n'],
  ...['#ifndef BPFTRACE_HAVE_BTF\n#include <linux/sched.h>\n#endif\n'],
);
const macro = fc.oneof(
  { weight: 4, arbitrary: fc.constant('') },
  text`macro mine(${one('', 'x', '$a', '@a', '$a, @b, x')}) ${grammar.block}\n`,
);

const generated = text`${before}${macro}${rows(probe, 3, 1, '\n')}${layout}`;

/** Programs that look valid, of every construct: most are read, some not, as generated types and numbers do not always fit. */
export const programs: fc.Arbitrary<string> = fc.oneof(
  { weight: 1, arbitrary: one(...Object.values(SEEDS)) },
  { weight: 4, arbitrary: generated },
);

const scrap = fc.oneof(
  one(
    '{',
    '}',
    '(',
    ')',
    '[',
    ']',
    '/',
    '//',
    '/*',
    '*/',
    '"',
    '\\',
    "'",
    '#',
    '%:',
    '\n',
    '\r',
    '\r\n',
    ' ',
    '\t',
    '\f',
    '\0',
    '\u00a0',
  ),
  one(
    ',',
    ';',
    ':',
    '.',
    '..',
    '->',
    '?',
    '=',
    '==',
    '+',
    '++',
    '-',
    '--',
    '*',
    '&',
    '&&',
    '|',
    '<<',
    '@',
    '@__',
    '$',
    '$__',
    '$1',
    '_',
  ),
  one(
    'if',
    'else',
    'for',
    'while',
    'unroll',
    'return',
    'let',
    'import',
    'macro',
    'fn',
    'config',
    'struct',
    'sizeof',
    'comptime',
    'typeof',
  ),
  one(
    'import "x";',
    '#include <a>',
    '#define X }',
    'cat("/x")',
    'system("x")',
    '__signal(9)',
    'self:signal:SIGUSR1',
    'tracepoint:a:b {',
  ),
  one(
    '0b1',
    '1e',
    '08',
    '0x',
    '99999999999999999999',
    '1ULL',
    'é',
    '\ud800',
    '(x)',
    '(struct x *)',
    '__attribute__((x))',
    '\\x4',
  ),
  fc.string({ unit: 'binary', maxLength: 3 }),
);

/** What may stand in the place of a name or a number in many programs. */
const fitting = fc.oneof(
  builtin,
  number,
  variable,
  map,
  string,
  one('(pid, 1)', '-pid', 'count()', 'pid + 1', '{ 1 }'),
);
const NAME = /\b(?:pid|tid|comm|cpu|nsecs|uid|elapsed|x|\d+)\b|\$\w+|@\w+/;

/** Where a change begins and how much it takes, as parts of the text, and what it puts there. */
const change = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  how: one('layout', 'layout', 'name', 'name', 'anywhere'),
  takes: fc.nat({ max: 6 }),
  blank: layout,
  name: fitting,
  puts: fc.oneof(
    fc.constant(''),
    scrap,
    one(...Object.values(SEEDS)).map((seed) => seed.slice(0, 40)),
  ),
});

/** The piece of `program` nearest behind `from` that matches; an empty one at its end when none does. */
function pieceBehind(program: string, from: number, pattern: RegExp): { start: number; end: number } {
  const found = pattern.exec(program.slice(from));
  const start = found ? from + found.index : program.length;
  return { start, end: start + (found?.[0].length ?? 0) };
}

/** Programs with a few places changed at random: hostile ones, and many that are still read. */
export const mutated: fc.Arbitrary<string> = fc
  .tuple(programs, fc.array(change, { minLength: 1, maxLength: 3 }))
  .map(([program, changes]) =>
    changes.reduce((changed, { at, how, takes, blank, name, puts }) => {
      const from = Math.floor(at * changed.length);
      if (how === 'anywhere') return changed.slice(0, from) + puts + changed.slice(from + takes);
      const { start, end } = pieceBehind(changed, from, how === 'layout' ? /\s+/ : NAME);
      return changed.slice(0, start) + (how === 'layout' ? ` ${blank} ` : name) + changed.slice(end);
    }, program),
  );
