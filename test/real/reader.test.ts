import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { parseDiagnostics } from '../../src/bpftrace/diagnostics.ts';
import { callerPlaces } from '../../src/bpftrace/places.ts';
import { createOutputReader, type OutputEnd } from '../../src/bpftrace/reader.ts';
import { plainProgram } from '../../src/program/instrument.ts';
import type { Diagnostic, PrintedEvent, PrintedProgram } from '../../src/trace/ports.ts';
import { bpftraceCommand, canTrace } from '../helpers/machine.ts';
import { printed } from '../helpers/tracer.ts';

interface Outcome extends OutputEnd {
  readonly code: number | null;
  readonly events: readonly PrintedEvent[];
  readonly diagnostics: readonly Diagnostic[];
}

/** Runs a program by the real bpftrace; the soft stop is sent as soon as it is armed. */
async function run(program: PrintedProgram): Promise<Outcome> {
  const [file = 'bpftrace', ...args] = bpftraceCommand;
  const child = spawn(file, [...args, '-f', 'json', '-'], {
    cwd: '/',
    env: { PATH: process.env.PATH, LANG: 'C.UTF-8', __BPFTRACE_NOTIFY_PROBES_ATTACHED: '1' },
  });
  const events: PrintedEvent[] = [];
  const reader = createOutputReader({
    maxEventBytes: 1_000_000,
    maxMapBytes: 1_000_000,
    placeOf: callerPlaces(program),
    endMarker: program.endMarker,
    onAttached: () => {},
    onArmed: () => child.kill('SIGUSR1'),
    onEndMarker: () => {},
    push: (event) => events.push(event),
  });
  let stderr = '';
  child.stdout.on('data', reader.write);
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  child.stdin.end(program.text);
  const [code] = await once(child, 'close');
  const end = reader.end();
  return { ...end, code, events, diagnostics: parseDiagnostics(stderr, end.preamble, program) };
}

const real = test.skipIf(!canTrace);

real('events, then the marker, then the maps come from bpftrace [needs root and BPF]', async () => {
  const source =
    'begin { printf("é %d\\n", 1); print(("a", (uint64)18446744073709551615)); @["x"] = 1; @h = hist(5); }';
  const { code, events, maps, endMarker, counts } = await run(printed(source));
  expect(code).toBe(0);
  expect(events.map(({ data }) => data)).toEqual(['é 1\n', ['a', 18446744073709551615n]]);
  expect(maps.map(({ name, rows }) => ({ name, rows }))).toEqual([
    { name: '@', rows: [['x', 1]] },
    { name: '@h', rows: [[4, 7, 1]] },
  ]);
  expect(endMarker).toBe(true);
  expect(counts).toMatchObject({ printed: 2, kept: 2, malformed: 0, repairedStrings: 0 });
});

real('a full map and a division by zero are counted with their place [needs root and BPF]', async () => {
  const { counts } = await run(
    printed('let @a = hash(1);\nbegin { @a[1] = 1; @a[2] = 1; $z = (uint64)pid & 0; print(5 / $z); }'),
  );
  expect(counts.helperErrors).toMatchObject([{ code: -7, helper: 'map_update_elem', at: { line: 2 }, count: 1 }]);
  expect(counts.runtimeErrors).toMatchObject([{ at: { line: 2 }, count: 1 }]);
});

real.each([
  ['begin { nosuch(); }', { at: { line: 1, column: 9 }, unknown: { kind: 'function', name: 'nosuch' } }],
  [
    'begin { }\ntracepoint:no:such { }',
    { at: { line: 2, column: 1 }, unknown: { kind: 'probe', context: 'tracepoint' } },
  ],
  ['begin { print((1); }', { at: { line: 1, column: 18 } }],
  ['begin { print(1) } interval:s:1 nonsense { }', { severity: 'error' }],
])('bpftrace says of %j what we can tell [needs root and BPF]', async (source, expected) => {
  const { code, diagnostics } = await run(plainProgram(source));
  expect(code).not.toBe(0);
  expect(diagnostics[0]).toMatchObject(expected);
});

// What the lexer takes for a probe, a comment or a string must be one for bpftrace, too.
real.each([
  'uprobe:/bin/*/none:f, begin { }',
  'begin /* { */ /1 == 1 / 1/ { @ = 4 / 2 // }\n }',
  'config = { stack_mode = "raw" }\nlet @m = hash(5); macro one($x) { { $x } }\nbegin, { @m[one(1)] = 1; }',
  'struct pair { /* } */ int a; // }\n } begin { $p = (struct pair *)0; }',
  'struct pair { int a; char b; } __attribute__((packed)); begin { }',
])('bpftrace reads %j as we do [needs root and BPF]', async (source) => {
  const { diagnostics } = await run(printed(source));
  expect(diagnostics.filter(({ message }) => message.startsWith('syntax: '))).toEqual([]);
});
