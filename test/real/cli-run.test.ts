import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Invocation, inTerminal, kerntap, MAIN, toTheEnd } from '../cli/kerntap.ts';
import { rememberPrograms } from '../helpers/bpf-programs.ts';
import { canTrace } from '../helpers/machine.ts';
import { startServer, temporaryFolder } from '../helpers/server.ts';
import { until } from '../helpers/until.ts';

const MAPS = 'begin { printf("a,b\\n"); @one[1] = 11; @one[2] = 22; @two = 3; }';
const TICKS = 'interval:ms:50 { @ticks = count(); printf("tick \\x1b[31m%d\\n", 7); }';

let dataDir = '';
beforeAll(async () => {
  dataDir = await temporaryFolder();
});
afterAll(() => rm(dataDir, { recursive: true }));

const run = (args: readonly string[], invocation: Invocation = {}) =>
  kerntap(['run', '--data-dir', dataDir, ...args], invocation);

describe.skipIf(!canTrace)('kerntap run [needs root and BPF]', () => {
  test('prints a table with an account, and no tools that only a model could call', async () => {
    const { code, stdout, stderr } = await run(['--rows', '1', '-e', MAPS]);
    expect(stdout).toMatch(/^program on node \(\S+\), \d+\.\d s from \S+, run \S+, complete .*, 0 lost$/m);
    expect(stdout).toContain('@one: 1 of 2 rows\n');
    expect(stdout).toContain('\n  a,b\n');
    expect(stdout).toMatch(/^account: 1 event kept/m);
    expect(stdout).not.toContain('next:');
    expect(stdout).not.toContain('\x1b');
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  test('as JSON it is one object with every row', async () => {
    const { code, stdout, stderr } = await run([
      '--format',
      'json',
      '-e',
      'begin { for ($i : 0..50) { @x[$i] = $i; } }',
    ]);
    const answer = JSON.parse(stdout);
    expect(answer).toMatchObject({ state: 'complete', reason: 'exit', account: { lost: 0 } });
    expect(answer.sections[0].rows).toHaveLength(50);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  test('as CSV it is the first map, and what is not in it is told beside it', async () => {
    const { code, stdout, stderr } = await run(['-f', 'csv', '-e', MAPS]);
    expect(stdout).toBe('key,value\r\n2,22\r\n1,11\r\n');
    expect(stderr).toMatch(/^not shown: @two \(1 row\), events \(1 row\)$/m);
    expect(stderr).toMatch(/^account: /m);
    expect(code).toBe(0);
  });

  test('raw it is what bpftrace prints', async () => {
    const { stdout, stderr } = await run(['-f', 'raw', '-e', MAPS]);
    expect(stdout).toBe('a,b\n@one[2]: 22\n@one[1]: 11\n@two: 3\n');
    expect(stderr).toMatch(/^account: /m);
  });

  test('folded it is what flame graphs are made from', async () => {
    const { stdout } = await run(['-f', 'folded', '-t', '1', '-e', 'profile:hz:99 { @[kstack] = count(); }']);
    expect(stdout).toMatch(/^(?:\S+ \d+\n)+$/);
  });

  test('takes the program from a file or from standard input', async () => {
    const file = join(dataDir, 'answer.bt');
    await writeFile(file, '// the answer\nbegin { print(42); }\n');
    expect((await run(['-f', 'raw', file])).stdout).toBe('42\n');
    expect((await run(['-f', 'raw', '-'], { input: 'begin { print(43); }' })).stdout).toBe('43\n');
  });

  test('a program that cannot run fails with 1, and the answer says why', async () => {
    const program = 'tracepoint:syscalls:sys_enter_openat { @ = args.nosuch; }';
    const { code, stdout, stderr } = await run(['-e', program]);
    expect(stdout).toMatch(/^program\.invalid: 1:\d+: .*nosuch/);
    expect(stdout).toContain(program);
    expect(stderr).toBe('');
    expect(code).toBe(1);

    const asCsv = await run(['-f', 'csv', '-e', program]);
    expect(asCsv).toMatchObject({ code: 1, stdout: '' });
    expect(asCsv.stderr).toMatch(/^program\.invalid: 1:\d+: .*nosuch/);
  });

  test.each([
    ['', 'The program is empty.'],
    ['#include "/etc/passwd"\nbegin { }', 'include'],
    ['begin { /* open', 'comment'],
  ])('%j is refused before anything is started', async (program, why) => {
    const { code, stdout, stderr } = await run(['-'], { input: program });
    expect(stderr).toMatch(/^kerntap: [^\n]+\.\n$/);
    expect(stderr).toContain(why);
    expect(stdout).toBe('');
    expect(code).toBe(1);
  });

  test('what is not UTF-8 is refused', async () => {
    const file = join(dataDir, 'latin1.bt');
    await writeFile(file, Buffer.from('begin { printf("\xe4"); }', 'latin1'));
    const { code, stderr } = await run([file]);
    expect(stderr).toContain('is not UTF-8. Send valid UTF-8');
    expect(code).toBe(1);
  });

  test('a reader that goes away early ends it quietly', async () => {
    const program = 'begin { for ($i : 0..20000) { printf("%d: more than a pipe holds of such lines\\n", $i); } }';
    const pipe = `set -o pipefail; "$0" "$1" run --data-dir "$2" -f raw -e '${program}' | head -n 1`;
    const { code, stdout, stderr } = await toTheEnd(['bash', '-c', pipe, process.execPath, MAIN, dataDir]);
    expect(stdout).toMatch(/^\d+: more than a pipe holds of such lines\n$/);
    expect(stderr).not.toMatch(/EPIPE|Error|at .*:\d+:\d+/);
    expect(code).toBe(0);
  });

  test('in a terminal the newest events stand above a progress bar, escaped, and Ctrl-C keeps the map', async () => {
    const programs = rememberPrograms();
    await using terminal = inTerminal(['run', '--data-dir', dataDir, '-t', '60', '-e', TICKS], { NO_COLOR: '1' });
    await until(
      () => /events: rows \d+-\d+ of \d+\b.*tick .*░ \d+ of 60 s, \d+ events/s.test(terminal.shown()),
      'ticks are shown',
    );
    terminal.interrupt();
    expect(await terminal.ended).toBe(0);
    const shown = terminal.shown();
    expect(shown).toContain('tick \\u{1b}[31m7');
    expect(shown).not.toMatch(/\x1b\[[\d;]*m/);
    const answer = shown.slice(shown.lastIndexOf('\x1b['));
    expect(answer).toMatch(/, truncated \(it was stopped on request\), /);
    expect(answer).toMatch(/^@ticks: 1 of 1 row\r$/m);
    expect(answer).toMatch(/^account: \d+ events? kept/m);
    expect(await programs.leftOver([])).toEqual([]);
  });

  test('in a terminal that cannot move its cursor there is no control sequence at all', async () => {
    await using terminal = inTerminal(['run', '--data-dir', dataDir, '-t', '1', '-e', TICKS], { TERM: 'dumb' });
    expect(await terminal.ended).toBe(0);
    expect(terminal.shown()).toContain('@ticks: 1 of 1 row');
    expect(terminal.shown()).not.toContain('\x1b');
  });

  test('colours are for terminals', async () => {
    await using terminal = inTerminal(['run', '--data-dir', dataDir, '-e', MAPS]);
    expect(await terminal.ended).toBe(0);
    expect(terminal.shown()).toContain('\x1b[1mprogram on node');
  });

  test('on the node of a server it answers the same, and Ctrl-C keeps the map there', async () => {
    await using server = await startServer();
    const whole = await kerntap(['run', '--server', server.mcp, '-f', 'raw', '-e', MAPS]);
    expect(whole).toMatchObject({ code: 0, stdout: 'a,b\n@one[2]: 22\n@one[1]: 11\n@two: 3\n' });

    await using terminal = inTerminal(['run', '--server', server.url, '-t', '60', '-e', TICKS]);
    await until(() => /░ \d+ of 60 s, \d+ events/.test(terminal.shown()), 'ticks are shown');
    terminal.interrupt();
    expect(await terminal.ended).toBe(0);
    expect(terminal.shown()).toMatch(/^@ticks: 1 of 1 row\r$/m);
    const { runs } = (await (await fetch(`${server.url}/v1/runs`)).json()) as { runs: readonly { state: string }[] };
    expect(runs.map(({ state }) => state)).toEqual(['truncated', 'complete']);
  });
});
