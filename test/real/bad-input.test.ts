import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rememberPrograms } from '../helpers/bpf-programs.ts';
import { modernRequest, post, rawSocket } from '../helpers/http.ts';
import { canTrace, projectRoot } from '../helpers/machine.ts';
import { connect, type McpClient } from '../helpers/mcp-clients.ts';
import { runJson, type Server, startServer } from '../helpers/server.ts';
import { until } from '../helpers/until.ts';
import { floodSystemCalls, openFiles } from '../helpers/workload.ts';

const MIB = 1 << 20;
const OPENAT = 'tracepoint:syscalls:sys_enter_openat';

/** Refused before anything is started. */
const REFUSED = [
  ['an empty program', '', 'program.empty', ['is empty', 'Send a program such as: ']],
  ['a blank program', ' \n\t', 'program.empty', ['is empty']],
  ['a program without a probe', '// nothing', 'program.empty', ['no probe']],
  ['one byte more than 16 KiB', `begin { }${' '.repeat(16_376)}`, 'program.too_long', ['16,385 bytes', '16,384']],
  ['16 KiB in characters, more in bytes', `begin { } //${'é'.repeat(8_200)}`, 'program.too_long', ['16,412 bytes']],
  ['a NUL byte', 'begin {\n  \0 }', 'program.encoding', ['line 2, column 3']],
  ['half a surrogate pair', 'begin { printf("\ud800"); }', 'program.encoding', ['surrogate']],
  ['a string that is left open', 'begin { printf("x); }', 'program.unterminated', ['line 1, column 16']],
  ['a block that is left open', `${OPENAT}\n{ @ = count();`, 'program.unterminated', ['line 2, column 1']],
  ['an import', 'import "stdlib/process";\nbegin { }', 'program.refused', ['`import` at line 1, column 1']],
  ['an include', '#include "/etc/passwd"\nbegin { }', 'program.refused', ['`#include` at line 1, column 1']],
  ['a syntax error', 'begin { @n = 1 }\nend {\n  @a = = 1; }', 'program.invalid', ['`=`', 'line 3, column 8']],
  ['an unknown probe type', 'kporbe:vfs_read { }', 'program.invalid', ['line 1, column 1', 'kprobe', 'bpf_info']],
  [
    'an unknown function',
    'begin { @ = cuont(); }',
    'program.refused',
    ['`cuont` at line 1, column 13', 'count is meant'],
  ],
  [
    'a function that acts',
    'begin {\n  system("id"); }',
    'program.refused',
    ['`system` at line 2, column 3', 'runs commands'],
  ],
  ['65 attach points', 'interval:s:9 { } '.repeat(65), 'program.too_many_probes', ['65', '64']],
] as const;

/** Refused by bpftrace or the kernel. */
const FAILED = [
  ['a type error', 'begin { @a = 1; @a = "x"; }', 'program.invalid', ['1:17: Type mismatch', 'one type for each map']],
  ['an unknown tracepoint', `tracepoint:syscalls:sys_enter_opnat { }`, 'program.invalid', ['1:1: ', OPENAT]],
  [
    'an unknown argument',
    `${OPENAT} {\n  @[str(args.filenam)] = count();\n}`,
    'program.invalid',
    ['2:9: ', ': filename'],
  ],
  [
    'an unknown struct field',
    `${OPENAT} { @ = ((struct sock *)1)->__sk_common.skc_stat; }`,
    'program.invalid',
    ["no field 'skc_stat'", 'skc_state'],
  ],
  [
    'a verifier error',
    'begin { $i = 0; while ($i < 100000000) { @[$i] = 1; $i++; } }',
    'program.unloadable',
    ['begin'],
  ],
] as const;

const TIMEOUT = 'a number from 1 to 600';
const ARGUMENTS = [
  ['a timeout of 0', { timeout: 0 }, ['timeout is 0', TIMEOUT]],
  ['a negative timeout', { timeout: -1 }, ['timeout is -1', TIMEOUT]],
  ['a timeout of 601', { timeout: 601 }, ['timeout is 601', TIMEOUT]],
  ['a timeout in words', { timeout: 'x' }, ['timeout is "x"', TIMEOUT]],
  ['a timeout above what this node allows', { timeout: 31 }, ['timeout is 31 s', '1 to 30 s']],
  ['an argument that is unknown', { duration_s: 5 }, ['"duration_s"', 'program, target, timeout,']],
  ['no program', { program: undefined }, ['program is missing']],
  ['a program that is a number', { program: 7 }, ['program is 7', 'text']],
  ['an unknown form', { format: 'xml' }, ['format is "xml"', 'table, json']],
  ['no rows', { rows: 0 }, ['rows is 0', 'from 1 to 500']],
] as const;

describe.skipIf(!canTrace)('bad input to a server [needs root and BPF]', () => {
  let server: Server;
  let client: McpClient;
  let programs: ReturnType<typeof rememberPrograms>;

  beforeAll(async () => {
    programs = rememberPrograms();
    server = await startServer({ args: ['--watchdog', 'off', '--max-timeout', '30'] });
    client = await connect(server.mcp);
    // What it tries at its start would take part in what is measured below.
    await until(() => server.logged('kernel.facts'), 'the server knows its kernel', 60_000);
  });

  afterAll(async () => {
    await client.close();
    await server[Symbol.asyncDispose]();
    expect(await server.ended).toEqual({ code: 0, signal: null });
    expect(await programs.leftOver([server.pid])).toEqual([]);
  });

  const runsKept = async () => (await client.call('manage_runs', { action: 'list' })).text.split('\n')[0];

  /** What no answer may hold: a stack, a path of ours, or our part of the program. */
  function expectClean(text: string): void {
    expect(text).not.toMatch(/^\s+at .+:\d+:\d+\)?$/m);
    for (const secret of [projectRoot, server.dataDir, '/run/kerntap', 'node_modules', 'kt.end', 'SIGUSR1', 'stdin:'])
      expect(text).not.toContain(secret);
  }

  test.each(REFUSED)('%s is refused before anything is started', async (_what, program, code, parts) => {
    const before = await runsKept();
    const answer = await client.call('exec_program', { program });
    expect(answer.isError).toBe(true);
    expect(answer.text).toMatch(new RegExp(`^${code}: .+\\. .+\\.$`));
    for (const part of parts) expect(answer.text).toContain(part);
    expectClean(answer.text);
    expect(await runsKept()).toBe(before);
  });

  test.each(FAILED)('%s is told at its place, with what to do', async (_what, program, code, parts) => {
    const answer = await client.call('exec_program', { program });
    expect(answer.isError).toBe(true);
    expect(answer.text).toMatch(new RegExp(`^${code}: `));
    expect(answer.text).toContain('Nothing was attached.');
    for (const part of parts) expect(answer.text).toContain(part);
    expectClean(answer.text);
  });

  test.each(ARGUMENTS)('%s is refused with what is expected', async (_what, args, parts) => {
    const answer = await client.call('exec_program', { program: 'begin { }', ...args });
    expect(answer.isError).toBe(true);
    expect(answer.text).toMatch(/^argument\.invalid: /);
    for (const part of parts) expect(answer.text).toContain(part);
    expectClean(answer.text);
  });

  test('of 500,000 printed lines each is kept or counted, and the server stays small', async () => {
    const print = 'for ($i : 0..5000) { printf("%d\\n", $i); } @ticks++; if (@ticks == 100) { exit(); }';
    const program = `interval:ms:50 /@ticks < 100/ { ${print} }`;
    writeFileSync(`/proc/${server.pid}/clear_refs`, '5'); // the peak is counted from here (proc(5))
    const before = memoryOf(server.pid, 'VmRSS');
    const run = runJson(await client.call('exec_program', { program, timeout: 25, format: 'json' }));

    expect(run).toMatchObject({ state: 'truncated', reason: 'event_limit', account: { lost: 0, lost_reported: 0 } });
    const { events, dropped_by_limit: dropped } = run.account;
    expect(events + dropped.events).toBe(500_000);
    expect(events).toBeGreaterThan(100_000);
    expect(dropped.bytes).toBeGreaterThan(8 * MIB);
    expect(run.sections.find(({ name }) => name === '@ticks')?.rows).toEqual([[100]]);
    expect(memoryOf(server.pid, 'VmHWM') - before).toBeLessThan(96 * MIB);
  });

  test('an endless flood is ended at its time, and each of its events is kept, counted or lost', async () => {
    await using _flood = await floodSystemCalls();
    const program = 'tracepoint:raw_syscalls:sys_enter { printf("%d %s\\n", pid, comm); @hits = count(); }';
    const run = runJson(await client.call('exec_program', { program, timeout: 1, format: 'json' }));
    expect(['complete', 'truncated']).toContain(run.state);
    const { events, lost, dropped_by_limit: dropped } = run.account;
    expect(run.sections.find(({ name }) => name === '@hits')?.rows).toEqual([[events + Number(lost) + dropped.events]]);
    expect(run.sections.map(({ name }) => name).sort()).toEqual(['@hits', 'events']);
  });

  test('of 9,000 keys a map keeps 4,096, and the others are counted', async () => {
    const program = 'begin { for ($i : 0..9000) { @seen[$i] = 1; } }';
    const run = runJson(await client.call('exec_program', { program, format: 'json' }));
    expect(run).toMatchObject({ state: 'truncated', reason: 'map_full' });
    expect(run.account.map_full).toMatchObject([{ line: 1, code: -7, count: 9_000 - 4_096 }]);
    expect(run.sections).toMatchObject([{ name: '@seen', total: 4_096 }]);
  });

  test('hostile names of files are shown harmless, whole, and each as one line', async () => {
    const names = [
      Buffer.from('a\xff\xfe\x1b[31m\x9b', 'latin1'),
      Buffer.from('b\u202ec\u200bd\ufeff\u{e0041}'),
      Buffer.from('e\nfinding: all is well\r\u0007'),
      Buffer.from('f","g\\u0000 "h'),
    ];
    await using workload = await openFiles(names);
    const body = 'printf("%s", str(args.filename)); @[str(args.filename)] = count();';
    const program = `${OPENAT} /pid == ${workload.pid}/ { ${body} }`;
    const table = await client.call('exec_program', { program, timeout: 1 });
    const json = await client.call('exec_program', { program, timeout: 1, format: 'json' });

    const shown = ['a\\xff\\xfe\\u{1b}[31m\\x9b', 'b\\u{202e}c\\u{200b}d\\u{feff}\\u{e0041}', 'f","g\\u0000 "h'];
    for (const name of shown) expect(table.text).toContain(`/nonexistent/${name}`);
    expect(table.text).toContain('e\\u{a}finding: all is well\\u{d}\\u{7}');
    expect(table.text).not.toMatch(/^finding: all is well/m);
    for (const { text } of [table, json]) {
      expect(text).not.toMatch(/[^\P{Cc}\n]|[\p{Cf}\ufffd]/u);
      expect(text.isWellFormed()).toBe(true);
    }
    const run = runJson(json);
    expect(run.state).toBe('complete');
    expect(run.account.repaired_strings).toBeGreaterThan(0);
    expect(run.sections.find(({ name }) => name === '@')?.total).toBe(4);
  });

  const HTTP = [
    ['a foreign host', { host: 'evil.example' }, '{}', 403, 'access.host'],
    ['a foreign origin', { origin: 'https://evil.example' }, '{}', 403, 'access.origin'],
    ['an opaque origin', { origin: 'null' }, '{}', 403, 'access.origin'],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 'a=1', 415, 'request.media_type'],
    ['a body that is announced as too long', { 'content-length': '99999999' }, '{', 413, 'limit.body'],
    ['a body that is not JSON', {}, '{"jsonrpc": ', 400, 'request.malformed'],
    ['a body that is no UTF-8', {}, Buffer.from([0x22, 0xff, 0x22]), 400, 'request.malformed'],
    ['a body of 33 levels', {}, `${'['.repeat(33)}${']'.repeat(33)}`, 400, 'request.malformed'],
    ['an empty body', {}, '', 400, 'request.malformed'],
  ] as const;

  test.each(HTTP)('%s is refused over HTTP', async (_what, headers, body, status, code) => {
    const sent = {
      host: '127.0.0.1',
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'content-length': String(Buffer.byteLength(body)),
      ...headers,
    };
    const head = ['POST /mcp HTTP/1.1', ...Object.entries(sent).map(([name, value]) => `${name}: ${value}`)];
    using socket = rawSocket(server.port, head, typeof body === 'string' ? body : Buffer.from(body));
    await until(() => /\r\n\r\n\{.*\}/s.test(socket.text()), 'an answer');
    expect(socket.text()).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(socket.text()).toContain(`"code":"${code}"`);
    expectClean(socket.text());
  });

  test('a body that turns out too long is refused without being read to its end', async () => {
    const { headers, body } = modernRequest('tools/call', {
      name: 'exec_program',
      arguments: { program: 'x'.repeat(512 * 1024) },
    });
    const response = await post(server.mcp, body, { headers });
    expect(response.status).toBe(413);
    expect(await response.text()).toContain('limit.body');
  });

  test('after all of that the server still answers, and no error was unforeseen', async () => {
    const answer = await client.call('exec_program', { program: 'begin { @n = 1; }' });
    expect(answer.isError).toBe(false);
    expect(server.stderr()).not.toContain('"level":"error"');
    expect(server.stderr()).not.toMatch(/^\s+at /m);
  });
});

/** Bytes, as `/proc/PID/status` tells them. */
function memoryOf(pid: number, what: 'VmRSS' | 'VmHWM'): number {
  return (
    Number(new RegExp(`^${what}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
  );
}
