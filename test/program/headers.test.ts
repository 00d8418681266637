import { expect, test } from 'vitest';
import { parseProgram } from '../../src/program/program.ts';
import { tierOf } from '../../src/program/tier.ts';

test.each([
  '#include <linux/sched.h>\nbegin { }',
  '#include <net/sock.h> // for struct sock\nbegin { }',
  '#include <net/sock.h>\r\nbegin { }',
  '#!/usr/bin/env bpftrace\n#include <linux/socket.h>\n#include <net/sock.h>\nbegin { }',
  '  # include <uapi/linux/in.h>\nbegin { }',
  '#include <linux/sched.h>\nstruct mine { int x; };\n#include <linux/fs.h>\nbegin { }',
])('a header of the kernel is left out, since its types are known: %j', (source) => {
  expect(parseProgram(source).attachPoints).toEqual(['begin']);
});

test.each([
  '#include <stdio.h>\nbegin { }',
  '#include "linux/sched.h"\nbegin { }',
  '#include <linux/../../../etc/passwd.h>\nbegin { }',
  '#include <linux/sched.h> }\nbegin { }',
  'begin { }\n#include <linux/sched.h>\nend { }',
  'begin { #include <linux/sched.h>\n }',
])('any other is refused: %j', (source) => {
  expect(() => parseProgram(source)).toThrow('`#include`');
});

test('constants of the headers stand for numbers, and nothing else is changed', () => {
  const [probe] = parseProgram(
    '#include <linux/socket.h>\ntracepoint:a:b /args.family == AF_INET6/ { @AF_INET[args.AF_INET, "AF_INET"] = 5; }',
  ).tree.probes;
  expect(probe?.predicate).toMatchObject({ right: { kind: 'number', text: '10' } });
  expect(probe?.body.statements[0]).toMatchObject({
    target: { name: '@AF_INET', key: [{ field: 'AF_INET' }, { value: 'AF_INET' }] },
  });
});

test("a program's own constant comes before that of a header", () => {
  for (const source of [
    '#define AF_INET 7\n#include <net/sock.h>\ntracepoint:a:b /AF_INET/ { }',
    '#include <net/sock.h>\n#define AF_INET 7\ntracepoint:a:b /AF_INET/ { }',
  ])
    expect(parseProgram(source).tree.probes[0]?.predicate).toMatchObject({ kind: 'number', text: '7' });
});

test('a name is a constant of the headers only where a header is named', () => {
  expect(parseProgram('tracepoint:a:b /AF_INET/ { }').tree.probes[0]?.predicate).toMatchObject({ kind: 'name' });
});

test('places stay those of the text that was sent', () => {
  const source = '#include <net/sock.h>\n\ntracepoint:a:b { @[ppid] = count(); }';
  expect(tierOf(parseProgram(source)).needsNode[0]?.at).toEqual({ line: 3, column: 20 });
});
