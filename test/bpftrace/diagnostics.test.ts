import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDiagnostics } from '../../src/bpftrace/diagnostics.ts';
import { plainProgram } from '../../src/program/instrument.ts';
import { forAll } from '../helpers/for-all.ts';

// What bpftrace writes for whole programs is checked with the recordings in reader.test.ts.

const located = (message: string, severity = 'ERROR', place = '1:1-5') =>
  `stdin:${place}: ${severity}: ${message}\nsource\n~~~~\n`;
const diagnose = (stderr: string, preamble = '', text = 'begin { }') =>
  parseDiagnostics(stderr, preamble, plainProgram(text));
const only = (stderr: string, text?: string) => diagnose(stderr, '', text)[0];

describe('positions', () => {
  test('are characters, although bpftrace counts bytes', () => {
    expect(only(located('Undefined map: @y', 'ERROR', '1:26-28'), 'begin { print("é😀"); @y }')?.at).toEqual({
      line: 1,
      column: 22,
    });
  });

  test('of several lines are the first line', () => {
    const stderr =
      'stdin:1-2: ERROR: syntax: C definitions must appear before probes and functions\nbegin { }\nstruct a\n';
    expect(only(stderr, 'begin { }\nstruct a {};')?.at).toEqual({ line: 1, column: 1 });
  });

  test('in what is ours are none, and what only warns there is left out', () => {
    const ours = (severity: string) => `stdin:3:1-5: ${severity}: something\nself:signal:SIGUSR1\n~~~~\n`;
    expect(diagnose(ours('ERROR'), '', 'begin { }\n')).toEqual([{ severity: 'error', message: 'something' }]);
    expect(diagnose(ours('WARNING'), '', 'begin { }\n')).toEqual([]);
  });

  test('are those of the source, wherever the text that ran has them', () => {
    const program = { source: 'begin{@y}', text: 'begin\n{\n  @y;\n}\n', placeOf: () => ({ line: 1, column: 7 }) };
    expect(parseDiagnostics(located('Undefined map: @y', 'ERROR', '3:3-5'), '', program)[0]?.at).toEqual({
      line: 1,
      column: 7,
    });
  });

  test('of a chain end at the line of the caller', () => {
    const stderr = `stdlib/base.bt:1177:3-19: ERROR: The retval builtin can only be used with 'kretprobe' and 'uretprobe' and 'fentry' probes
  __builtin_retval
  ~~~~~~~~~~~~~~~~
stdin:1:15-21: ERROR: expanded from
begin { print(retval); }
              ~~~~~~
`;
    expect(only(stderr, 'begin { print(retval); }')).toMatchObject({
      severity: 'error',
      at: { line: 1, column: 15 },
      remedy: expect.stringContaining('list_helpers'),
    });
  });
});

describe('what is left out', () => {
  test.each([
    'WARNING: Unknown error -1: couldn\'t set RLIMIT_MEMLOCK for bpftrace. If your program is not loading, you can try "ulimit -l 8192" to fix the problem',
    'WARNING: Could not read functions from /sys/kernel/tracing/available_filter_functions. If this is expected, use --traceable-functions to set this path manually.',
    'WARNING: The kernel contains bpf_iter__task struct but does not support loading an iterator program against it. Please report this bug.',
    'WARNING: Script is using an unstable feature: tseries. To prevent this warning you must explicitly enable it in the config e.g. unstable_tseries=enable',
    'WARNING: Total lost event count: 2363',
    'stdin:1:38-50: WARNING: Addrspace mismatch\nx\n~',
    'stdin:1:50-60: WARNING: Return value discarded.\nx\n~',
    "stdin:1:109-128: WARNING: signed operands for '/' can lead to undefined behavior (cast to unsigned to silence warning)\nx\n~",
    'stdin:1:109-114: WARNING: Expression of type: uint64 being cast to type: int64. This may cause unexpected results. Use an explicit cast to suppress this warning.\nx\n~',
    'Clang parse error',
    "/etc/hostname:1:1: error: unknown type name 'secret'",
    'ERROR: Include headers with missing type definitions or install BTF information to your system.',
    'stdlib/strings.bt:188:3-33: WARNING: Return value discarded.\n  x\n  ~\nstdin:1:77-88: WARNING: expanded from\nx\n~',
  ])('%s', (text) => {
    expect(diagnose(`${text}\n`)).toEqual([]);
  });

  test('the source that bpftrace quotes, even where it looks like a message', () => {
    const program = "begin {\n  foo(); // \nERROR: Unknown function: 'planted'\n}";
    const stderr = "stdin:2-3: WARNING: Unused map: @z\n  foo(); // \nERROR: Unknown function: 'planted'\n";
    expect(diagnose(stderr, '', program).map(({ message }) => message)).toEqual(['Unused map: @z']);
  });

  test('paths that the caller did not name', () => {
    const stderr = 'ERROR: unable to create /var/lib/kerntap/runs/7/bpftrace.AbCdEf: No space left on device\n';
    expect(only(stderr)?.message).toBe('unable to create (a path of the server): No space left on device');
  });

  test('paths that the caller named, or of the system, stay', () => {
    const message = "something about '/opt/app/main' and /usr/lib/x.so";
    expect(only(located(message), 'uprobe:/opt/app/main:f { }')?.message).toBe(message);
  });

  test('control characters, and what is beyond 300 characters', () => {
    const message = only(located(`a\u001b[31m\u202eb${'c'.repeat(400)}`))?.message ?? '';
    expect(message).toMatch(/^a \[31m bc+…$/u);
    expect(message.length).toBe(300);
  });

  test('everything after the first 20, warnings before errors', () => {
    const warnings = Array.from({ length: 30 }, (_, n) => located(`Unused map: @m${n}`, 'WARNING')).join('');
    const diagnostics = diagnose(warnings + located('Undefined map: @y'));
    expect(diagnostics.length).toBe(20);
    expect(diagnostics[0]?.severity).toBe('error');
  });

  test('what is said twice, and more than one syntax error at a place', () => {
    const stderr =
      located("syntax: expected ')'") + located("syntax: expected ';'") + located('Undefined map: @y').repeat(2);
    expect(diagnose(stderr).map(({ message }) => message)).toEqual(["syntax: expected ')'", 'Undefined map: @y']);
  });
});

describe('what is said', () => {
  test.each([
    ["Unknown function: 'foo'", { kind: 'function', name: 'foo', context: '' }],
    ["Unknown identifier: 'nosuch'", { kind: 'function', name: 'nosuch', context: '' }],
    ['Invalid probe type: tracpoint', { kind: 'probe', name: 'tracpoint', context: '' }],
    [
      'No matches for tracepoint sched:sched_swich.',
      { kind: 'probe', name: 'tracepoint:sched:sched_swich', context: 'tracepoint' },
    ],
    [
      "Struct/union of type 'struct tracepoint:sched:sched_switch_args' does not contain a field named 'x'",
      { kind: 'field', name: 'x', context: 'tracepoint:sched:sched_switch' },
    ],
    [
      "Struct/union of type 'struct task_struct' does not contain a field named 'x'",
      { kind: 'field', name: 'x', context: 'struct task_struct' },
    ],
  ])('%s tells which name was unknown, with a remedy', (message, unknown) => {
    expect(only(located(message))).toMatchObject({ severity: 'error', unknown, remedy: expect.any(String) });
  });

  test.each([
    [
      "Probe has no valid attach points. If this is expected, set the 'missing_probes' config variable to 'warn'.",
      'list_probes',
    ],
    ["Type mismatch for @a: trying to assign value of type 'string[4]' when map already has a type 'int8'", 'one type'],
    [
      '@y used as a map without an explicit key (scalar map), previously used with an explicit key (non-scalar map)',
      'two names',
    ],
    ['Undefined or undeclared variable: $x', 'assign'],
    ['strncmp() requires 3 arguments (1 provided)', 'list_helpers'],
    ['skboutput can not be used with "tracepoint" probes', 'list_helpers'],
    ['system() is an unsafe function being used in safe mode', 'remove it'],
    ['nosuch: not a known configuration option', 'config block'],
    ['Cannot resolve unknown type "struct nosuch"', 'list_probes'],
  ])('%s has a remedy', (message, remedy) => {
    expect(only(located(message))?.remedy).toContain(remedy);
  });

  test.each([
    [
      "ERROR: Unable to attach probe: hardware:cycles:1000. If this is expected, set the 'missing_probes' config variable to 'warn'.",
      'software:cpu-clock',
    ],
    [
      'ERROR: Error loading BPF program for kprobe_f_1. Error code: -13 (Permission denied). Use -v for full kernel error log.',
      'args, curtask',
    ],
    ['ERROR: Missing CAP_BPF capability, please run bpftrace as the root user.', 'kerntap check'],
    [
      'ERROR: Failed to open kernel function info: Error reading events from /sys/kernel/tracing/available_events (No such file or directory)',
      'lockdown=integrity',
    ],
  ])('%s has a remedy', (line, remedy) => {
    expect(only(`${line}\n`)?.remedy).toContain(remedy);
  });

  test('a hint of bpftrace is the remedy, unless it speaks of options that the caller has not', () => {
    const hint = (text: string) => only(`${located('While loops are deprecated.', 'WARNING')}HINT: ${text}\n`)?.remedy;
    expect(hint('use a for loop')).toBe('use a for loop');
    expect(hint('raise BPFTRACE_MAX_PROBES')).toBeUndefined();
  });

  test('warnings on standard output come after the errors', () => {
    const diagnostics = diagnose(located('Undefined map: @y'), located('Unused map: @z', 'WARNING'));
    expect(diagnostics.map(({ severity }) => severity)).toEqual(['error', 'warning']);
  });
});

test('any text is read without an error into at most 20 short diagnostics', () => {
  const pieces = fc.constantFrom(
    'stdin:1:1-5: ERROR: ',
    'ERROR: ',
    'HINT: ',
    'expanded from',
    '\n',
    ':',
    '-',
    '/x/y',
    'é',
    '~~~',
  );
  const text = fc.array(fc.oneof(pieces, fc.string()), { maxLength: 60 }).map((parts) => parts.join(''));
  forAll(fc.tuple(text, text), ([stderr, program]) => {
    const diagnostics = diagnose(stderr, stderr, program);
    expect(diagnostics.length).toBeLessThanOrEqual(20);
    for (const { message } of diagnostics) expect(message.length).toBeLessThanOrEqual(300);
  });
});
