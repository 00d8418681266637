import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KerntapError } from '../../src/errors.ts';
import { MAX_PROGRAM_BYTES, parseProgram } from '../../src/program/program.ts';
import { recordings } from '../bpftrace/recordings.ts';
import { forAll } from '../helpers/for-all.ts';

const LONG = 'begin { } //'.padEnd(MAX_PROGRAM_BYTES + 1, '-');
const LONG_IN_UTF8 = 'é'.repeat(8193);

/** The error of a refused program, in the words that a caller reads. */
function refusalOf(program: string | Uint8Array): { code: string; message: string } {
  try {
    parseProgram(program);
  } catch (error) {
    if (error instanceof KerntapError) return { code: error.code, message: error.message };
    throw error;
  }
  return { code: 'none', message: 'it was read' };
}

describe('a program', () => {
  test('is its text, what was understood of it, and its attach points', () => {
    const source = 'begin { @ = 1 } // counts';
    expect(parseProgram(source)).toMatchObject({ source, tree: { probes: [{}] }, attachPoints: ['begin'] });
  });

  test('may come as bytes', () => {
    expect(parseProgram(new TextEncoder().encode('begin { print("é") }')).source).toBe('begin { print("é") }');
  });

  test('of 16,384 bytes is read', () => {
    const source = 'begin { } //'.padEnd(MAX_PROGRAM_BYTES, '-');
    expect(parseProgram(source).source).toBe(source);
  });
});

describe('attach points', () => {
  test.each<[string, string[]]>([
    [
      'tracepoint:sched:sched_switch,tracepoint:sched:sched_wakeup { }',
      ['tracepoint:sched:sched_switch', 'tracepoint:sched:sched_wakeup'],
    ],
    ['kprobe:a, /* and */\n // also\n kprobe:b , { }', ['kprobe:a', 'kprobe:b']],
    ['kprobe:a,kprobe:b,/pid == 1/{ }end{ }', ['kprobe:a', 'kprobe:b', 'end']],
    ['uprobe:/usr/lib/*/libc.so.6:malloc /pid == 1/ { }', ['uprobe:/usr/lib/*/libc.so.6:malloc']],
    ['uprobe:"/opt/a b/{x}":main { }', ['uprobe:"/opt/a b/{x}":main']],
    ['profile:hz:99 /pid / 2 == 1 && (1 / 2)/ { @ = 1 / 2 } i:s:1 { }', ['profile:hz:99', 'i:s:1']],
    ['tracepoint:a:b /comm == "}{/ {"/ { } end { }', ['tracepoint:a:b', 'end']],
    ['tracepoint:a:b /{ let $x = 5; $x + 1 } / { } end { }', ['tracepoint:a:b', 'end']],
    ['#!/usr/bin/env bpftrace\nbegin { } // }', ['begin']],
    ['config = { stack_mode = "perf" } begin { }', ['begin']],
    ['struct pair { int a; struct { int b; } c; }; union u { int a; } enum e { A, B } begin { }', ['begin']],
    ['struct packed { int a; } __attribute__((packed)); begin { }', ['begin']],
    ['let @a = hash(5); let @b = lruhash(2) macro twice($x) { { $x * 2 } } begin { @a[1] = twice(2) }', ['begin']],
  ])('of %s are found in order', (source, attachPoints) => {
    expect(parseProgram(source).attachPoints).toEqual(attachPoints);
  });
});

describe('a program is refused', () => {
  test.each<[string | Uint8Array, string, string]>([
    ['', 'program.empty', 'The program is empty.'],
    [' \n\t', 'program.empty', 'The program is empty.'],
    ['// nothing\n/* here */', 'program.empty', 'The program has no probe.'],
    ['struct a { int x; };', 'program.empty', 'The program has no probe.'],
    [LONG, 'program.too_long', 'The program has 16,385 bytes; at most 16,384 are read.'],
    [LONG_IN_UTF8, 'program.too_long', 'The program has 16,386 bytes; at most 16,384 are read.'],
    ['begin { }\0', 'program.encoding', 'The program holds a NUL byte at line 1, column 10.'],
    ['\ufeffbegin { }', 'program.encoding', 'The program begins with a byte order mark.'],
    ['begin { print("\ud83d") }', 'program.encoding', 'The program holds half of a surrogate pair.'],
    [Buffer.from('begin { print("\xff") }', 'latin1'), 'program.encoding', 'The program is no valid UTF-8.'],
    [Buffer.from('\ufeffbegin { }'), 'program.encoding', 'The program begins with a byte order mark.'],
    ['begin { } /* open', 'program.unterminated', 'The comment that begins at line 1, column 11 is not closed.'],
    ['begin { }\n/*/', 'program.unterminated', 'The comment that begins at line 2, column 1 is not closed.'],
    ['begin { print("open); }', 'program.unterminated', 'The string that begins at line 1, column 15 is not closed.'],
    ['begin { print("a\nb"); }', 'program.unterminated', 'The string that begins at line 1, column 15 is not closed.'],
    ['begin { if (1) { }', 'program.unterminated', 'The block that begins at line 1, column 7 is not closed.'],
    [
      'begin { } kprobe:f /pid',
      'program.unterminated',
      'The predicate that begins at line 1, column 20 is not closed.',
    ],
    ['begin { } kprobe:f,', 'program.unterminated', 'The probe at line 1, column 11 has no block.'],
  ])('case %#: %2$s, %3$s', (source, code, message) => {
    expect(refusalOf(source)).toEqual({ code, message });
  });
});

describe('a construct is refused', () => {
  test.each([
    ['import "stdlib/process/process.bpf.c"; begin { }', 'import', 'line 1, column 1'],
    ['/* " */ import // "\n"x.bt"; begin { }', 'import', 'line 1, column 9'],
    ['config = { stack_mode = "raw" }\nimport "x.bt"; begin { }', 'import', 'line 2, column 1'],
    ['begin { if (1) { import "x"; } }', 'import', 'line 1, column 18'],
    ['#include <stdio.h>\nbegin { }', '#include', 'line 1, column 1'],
    ['begin { }\n#include <linux/sched.h>\nend { }', '#include', 'line 2, column 1'],
    ['#define X } tracepoint:sched:sched_switch { @leak = count();\nbegin { X }', '#define', 'line 1, column 1'],
    ['#define pid 5\nbegin { }', '#define', 'line 1, column 1'],
    ['#if 1\n#endif\nbegin { }', '#if', 'line 1, column 1'],
    ['#else\nbegin { }', '#else', 'line 1, column 1'],
    ['// c\n  # define X }\nbegin { }', '# define', 'line 2, column 3'],
    ['begin { print("a");\n#include "/etc/passwd"\n}', '#include', 'line 2, column 1'],
    ['begin { }\n#!/bin/sh\nend { }', '#', 'line 2, column 1'],
    ['begin { cat("/etc/shadow"); }', 'cat', 'line 1, column 9'],
    ['begin { cat\n/* x */ ("/etc/shadow"); }', 'cat', 'line 1, column 9'],
    ['kprobe:f /cgroup == cgroupid("/x")/ { }', 'cgroupid', 'line 1, column 21'],
    ['fexit:f { skboutput("/x.pcap", args.skb, 1, 0); }', 'skboutput', 'line 1, column 11'],
    ['begin { system("id"); }', 'system', 'line 1, column 9'],
    ['macro m() { signal(9) } begin { m(); }', 'signal', 'line 1, column 13'],
    ['kprobe:f { signal_thread(9); }', 'signal_thread', 'line 1, column 12'],
    ['kprobe:f { override(1); }', 'override', 'line 1, column 12'],
    ['kprobe:f { write_user(1, 2, 3); }', 'write_user', 'line 1, column 12'],
    ['begin { $u = uid; $r = __signal_process(12); }', '__signal_process', 'line 1, column 24'],
    ['begin { $u = rand(); __probe_write_user /* x */ ($u, $u, 8); }', '__probe_write_user', 'line 1, column 22'],
    ['macro m() { __signal(9, false) } begin { m(); }', '__signal', 'line 1, column 13'],
    ['begin { bpf_send_signal_task(curtask, 9, 0, 0); }', 'bpf_send_signal_task', 'line 1, column 9'],
    ['self:signal:SIGUSR1 { clear(@a); }', 'self:signal:SIGUSR1', 'line 1, column 1'],
    ['begin { }\nSELF:signal:SIGUSR1 { }', 'SELF:signal:SIGUSR1', 'line 2, column 1'],
    ['config = { print_maps_on_exit = false } begin { }', 'print_maps_on_exit', 'line 1, column 12'],
    ['config = { stack_mode = raw; /* = */ max_map_keys = 9 } begin { }', 'max_map_keys', 'line 1, column 38'],
    ['let @a = hash(10001); begin { }', '10001', 'line 1, column 15'],
    ['let @a = lruhash(1e9); begin { }', '1e9', 'line 1, column 18'],
    ['let @a = hash(0x7fffffff) begin { }', '0x7fffffff', 'line 1, column 15'],
    ['begin { @__stop = 1; }', '@__stop', 'line 1, column 9'],
    ['begin { $__i = 1; }', '$__i', 'line 1, column 9'],
    ['begin { print("é"); $__i }', '$__i', 'line 1, column 21'],
    ["begin { print('a'); }", "'", 'line 1, column 15'],
    ['begin { print(1) \\\n }', '\\', 'line 1, column 18'],
    ['begin { } // a\r#include "x"', '\\r', 'line 1, column 15'],
    ['tracepoint:a:b/* " */ { } // "', 'tracepoint:a:b/*', 'line 1, column 1'],
    ['profile:hz:99/pid == 1/ { }', 'profile:hz:99/pid', 'line 1, column 1'],
    ['begin// "\n{ } // "', 'begin/', 'line 1, column 1'],
    ['begin, #include "x"\n{ }', '#include', 'line 1, column 8'],
    // clang reads struct definitions, and for it %: is # and a quote hides a comment.
    ['struct a {\n%:include "/etc/passwd"\nint x; } begin { }', '%', 'line 2, column 1'],
    ["struct a { int x['/*'];\n#include \"/etc/passwd\"\nint y['*/']; } begin { }", "'", 'line 1, column 18'],
    ['struct a { int x[sizeof("}")]; } begin { }', '(', 'line 1, column 24'],
    [
      'struct a { int x; } __attribute__((aligned(\n%:include "x"\n8))); begin { }',
      '__attribute__',
      'line 1, column 21',
    ],
    ['struct a { int x __attribute__((aligned(8))); } begin { }', '__attribute__', 'line 1, column 18'],
    ['struct a /* { */ { int x; }; begin { }', 'struct', 'line 1, column 1'],
    ['enum e { A = __has_include(<a>) } begin { }', '__has_include', 'line 1, column 14'],
    ['begin { } struct a { int x; }', 'struct', 'line 1, column 11'],
    ['config = { } config = { } begin { }', 'config', 'line 1, column 14'],
    ['begin { } config = { }', 'config', 'line 1, column 11'],
    ['fn one($x : int64) : int64 { return 1; } begin { }', 'fn', 'line 1, column 1'],
    ['begin { print(typeinfo(pid)); }', 'typeinfo', 'line 1, column 15'],
    ['t*:sched:sched_switch { }', 't*', 'line 1, column 1'],
    ['mine=begin { }', 'mine=begin', 'line 1, column 1'],
    ['profile:hz:$1 { }', 'profile:hz:$1', 'line 1, column 1'],
    ['let @__a = hash(5); begin { }', '@__a', 'line 1, column 1'],
    ['macro m($__a) { 1 } begin { }', '$__a', 'line 1, column 1'],
    ['begin { for ($__i : 0..5) { } }', '$__i', 'line 1, column 9'],
    ['begin { let $__i; }', '$__i', 'line 1, column 9'],
    ['begin { print(((1 ?: 2) + 3) ?: 4); }', '?:', 'line 1, column 30'],
    ['begin { $x = if (pid) { 1 }; }', 'if', 'line 1, column 14'],
    ['begin { let $x : uint8[4]*; }', 'uint8[4]*', 'line 1, column 18'],
    [`begin { $${'x'.repeat(128)} = 1; }`, `$${'x'.repeat(59)}`, 'line 1, column 9'],
  ])('%j: %s at %s', (source, construct, place) => {
    const { code, message } = refusalOf(source);
    expect(code).toBe('program.refused');
    expect(message).toContain(`\`${construct}`);
    expect(message).toContain(` at ${place} is refused: `);
  });

  test.each([
    'begin { print("import \\"x\\"; #include cat(1) @__x /*"); } // import "x"',
    '/* import "x"; cat("y") */ begin { }',
    'begin { print(curtask->signal->oom_score_adj); @import = 1; $cat = 2; @system[comm] = count(); }',
    'uprobe:/usr/lib/*/libc.so.6:malloc { @ = count(); }',
    'struct a { int x; } __attribute__((packed)); begin { print(((struct sock *)0)->__sk_common.skc_state); }',
    'tracepoint:a:b /* c */ /pid == 1/ // d\n{ }',
    "struct a { int x; /* don't */ } begin { }",
    'struct a { int x; // \\\n/*\n#include "/etc/passwd"\n// \\\n*/\n} begin { }',
    'struct a { int x; /* ??/\n#include "x"\n*/ } begin { }',
    '#define TWO 2\n#include <linux/sched.h>\nbegin { print(TWO); }',
    '#ifdef BPFTRACE_HAVE_BTF\n#else\n#include "/etc/passwd"\n#if 1\n#else\n#endif\n#endif\nbegin { }',
    'begin { }\r\nend { }\r\n',
    'begin { $a = 5 % 3; @b[pid ? 1 : 2] = 7; }',
  ])('but not its name alone: %s', (source) => {
    expect(refusalOf(source).code).toBe('none');
  });
});

const REFUSED = [
  'lost-events',
  'map-full',
  'map-full-flood',
  'no-final-maps',
  'cat',
  'cat-off',
  'cgroupid-missing',
  'unsafe-function',
  'error-at-end',
  'syntax-error',
];

test.each(recordings)('the recorded program $name is read, unless it is refused by design', ({ name, program }) => {
  expect(refusalOf(program).code !== 'none').toBe(REFUSED.includes(name));
});

test('any text is read or refused with an error of ours', () => {
  const piece = fc.constantFrom(
    ...[
      'begin',
      'kprobe:f',
      'uprobe:/a/*',
      ',',
      '{',
      '}',
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
      ' ',
    ],
    ...[
      'struct',
      'let',
      'config',
      'macro',
      'import',
      'cat(',
      ')',
      '(',
      '@',
      '@__',
      '$',
      ';',
      '1',
      '__attribute__',
      '\ud800',
    ],
  );
  const text = fc.array(fc.oneof({ weight: 5, arbitrary: piece }, fc.string({ unit: 'binary' })), { maxLength: 40 });
  const check = (program: string | Uint8Array) => {
    expect(() => refusalOf(program)).not.toThrow();
  };
  forAll(text, (pieces) => check(pieces.join('')), 2000);
  forAll(fc.uint8Array({ maxLength: 200 }), check, 500);
});
