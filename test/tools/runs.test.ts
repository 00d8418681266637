import { describe, expect, test } from 'vitest';
import type { RunRecord } from '../../src/trace/ports.ts';
import { ASKED_MS, eventsSection, HOSTILE, histogramSection, mapSection, recordOf } from '../render/records.ts';
import { connect } from './connect.ts';
import { createFakeNode } from './fake-node.ts';

const PROGRAM = 'tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }';
const rows = (count: number) => Array.from({ length: count }, (_, at) => [`process-${at}`, count - at]);
const running = (given: Partial<RunRecord> = {}) =>
  recordOf({
    state: 'running',
    reason: 'running',
    timeoutMs: 60_000,
    timing: { askedMs: Date.now(), armedMs: Date.now() },
    ...given,
  } as RunRecord);

describe('exec_program', () => {
  test('runs for 10 s, waits for the end and answers with a table', async () => {
    const next = recordOf({ sections: [mapSection('@', rows(30)), eventsSection([['printf', 'hi\n']])] });
    const { node, asked } = createFakeNode({ next });
    await using server = await connect(node);
    const answer = await server.call('exec_program', { program: PROGRAM });
    expect(asked[0]?.args).toEqual({
      program: PROGRAM,
      unscoped: 'refuse',
      control: false,
      timeoutMs: 10_000,
      waitMs: 25_000,
      rows: 10_000,
    });
    expect(answer.isError).toBe(false);
    expect(answer.structuredContent).toBe(undefined);
    expect(answer.text).toContain('@: 10 of 30 rows\n  key        value\n  process-0     30\n');
    expect(answer.text).toContain('events: 1 of 1 row\n  hi');
  });

  test('passes its arguments on', async () => {
    const { node, asked } = createFakeNode({ next: running() });
    await using server = await connect(node);
    const answer = await server.call('exec_program', {
      program: PROGRAM,
      target: 'node',
      timeout: 60,
      wait: false,
      rows: 3,
    });
    expect(asked[0]?.args).toMatchObject({ target: 'node', timeoutMs: 60_000, waitMs: 0 });
    expect(answer.text).toMatch(/running, \d+ s left/);
    expect(answer.text).toContain('next: get_result(run_id="');
  });

  test('answers in JSON with the same thing as text and as structured content', async () => {
    const next = recordOf({ sections: [mapSection('@', [...rows(2_000), [HOSTILE.bidi, 1]])] });
    await using server = await connect(createFakeNode({ next }).node);
    const answer = await server.call('exec_program', { program: PROGRAM, format: 'json', rows: 500 });
    expect(answer.structuredContent).toEqual(JSON.parse(answer.text));
    expect(answer.structuredContent).toMatchObject({ run_id: next.id, execution_id: next.id, state: 'complete' });
    expect(answer.text.length).toBeLessThanOrEqual(8_000);
  });

  test.each(['table', 'json'])('answers a refused program as an error (%s)', async (format) => {
    const next = recordOf({
      state: 'failed',
      reason: 'invalid',
      probes: { asked: 1, attached: 0 },
      timing: { askedMs: ASKED_MS, endedMs: ASKED_MS },
      diagnostics: [
        { severity: 'error', at: { line: 1, column: 3 }, message: 'No such thing', remedy: 'did you mean: x' },
      ],
    });
    await using server = await connect(createFakeNode({ next }).node);
    const answer = await server.call('exec_program', { program: PROGRAM, format });
    expect(answer.isError).toBe(true);
    expect(answer.text).toContain('program.invalid: 1:3: No such thing');
    expect(answer.text).toContain('Nothing was attached. Did you mean: x.');
    if (format === 'json') expect(answer.structuredContent).toMatchObject({ state: 'failed', reason: 'invalid' });
  });

  test('with check compiles only', async () => {
    const { node, asked } = createFakeNode();
    await using server = await connect(node);
    const fine = await server.call('exec_program', { program: 'begin { len(1); }', check: true });
    expect(fine.isError).toBe(false);
    expect(fine.text.split('\n')).toEqual([
      "ok: bpftrace accepts the program, 1 attach point. Nothing was attached; the kernel's verifier has not seen it yet.",
      'it needs the tier pod',
      'warning 1:9: Return value discarded.',
      '  begin { len(1); }',
      '          ^',
    ]);
    const wrong = await server.call('exec_program', { program: 'begin { foo(1); }', check: true, format: 'json' });
    expect(wrong.isError).toBe(true);
    expect(wrong.structuredContent).toEqual(JSON.parse(wrong.text));
    expect(wrong.structuredContent).toMatchObject({ ok: false, diagnostics: [{ line: 1, column: 9 }] });
    const said = await server.call('exec_program', { program: 'begin { foo(1); }', check: true });
    expect(said.text.split('\n')).toEqual([
      "program.invalid: 1:9: Unknown function: 'foo'",
      '  begin { foo(1); }',
      '          ^',
      'Nothing was attached. Did you mean: fmod.',
    ]);
    expect(asked.map(({ method }) => method)).toEqual(['check', 'check', 'check']);
  });
});

describe('get_result', () => {
  const stack = '\n        vfs_read+12\n        entry+9\n';
  const run = recordOf({
    sections: [
      mapSection('@empty', []),
      mapSection('@opens', rows(312)),
      histogramSection('@us', [
        ['a', 4, 7, 90],
        ['a', 8, 15, 9],
      ]),
      mapSection('@stacks', [[stack, 3]]),
      eventsSection([
        ['printf', 'one\n'],
        ['printf', 'two\n'],
      ]),
    ],
  });

  async function get(args: Record<string, unknown>) {
    const { node, asked } = createFakeNode({ runs: [run] });
    await using server = await connect(node);
    return { ...(await server.call('get_result', { run_id: run.id, ...args })), asked };
  }

  test('reads a histogram before maps and names the others', async () => {
    const { text } = await get({});
    expect(text).toContain('@us: 1 of 1 key\n');
    expect(text).toContain('not shown: @opens (312 rows), @stacks (1 row), events (2 rows)');
  });

  test('reads the largest map that counts before one that only remembers, and events last', async () => {
    const counts = recordOf({
      source: 'a:b:c { @s[tid] = nsecs; @few = count(); @n[comm, str(args.x)] = count(); @n[1]++ }',
      sections: [
        mapSection('@few', [[7]]),
        mapSection('@s', rows(400)),
        mapSection('@n', rows(30)),
        eventsSection([['printf', 'x']]),
      ],
    });
    await using server = await connect(createFakeNode({ runs: [counts] }).node);
    const { text } = await server.call('get_result', { run_id: counts.id, limit: 5 });
    expect(text).toContain('@n: 5 of 30 rows');
    expect(text).toContain('not shown: @few (1 row), @s (400 rows), events (1 row)');
    expect(text).toContain('section="@n", limit=5, offset=5');
  });

  test('takes execution_id, waits, and pages', async () => {
    const { node, asked } = createFakeNode({ runs: [run] });
    await using server = await connect(node);
    const { text } = await server.call('get_result', {
      execution_id: run.id,
      wait: 1.5,
      section: '@opens',
      offset: 50,
    });
    expect(asked[0]?.args).toEqual({ id: run.id, waitMs: 1_500, offset: 0, limit: 1 });
    expect(text).toContain('@opens: rows 51-100 of 312\n');
    expect(text).toContain('  process-50    262');
  });

  test('filters and sorts', async () => {
    const { text } = await get({ section: '@opens', filter: 'PROCESS-30', sort: 'value' });
    expect(text).toContain('@opens: 11 of 11 rows\n');
    expect(text).toContain('note: rows that contain "PROCESS-30" (@opens)');
    expect(text).toMatch(/value\n {2}process-309 +3\n/);
  });

  test('tells the sections and columns that exist', async () => {
    const section = await get({ section: '@nope' });
    expect(section.isError).toBe(true);
    expect(section.text).toMatch(/^run\.no_section: .*@opens \(312 rows\)/);
    const column = await get({ section: '@opens', sort: '-nope' });
    expect(column.text).toMatch(/^run\.no_column: .*key, value/);
  });

  test('has the percentiles of a histogram, and its buckets when it is named', async () => {
    const only = recordOf({ sections: run.sections.filter(({ type }) => type === 'hist') });
    await using server = await connect(createFakeNode({ runs: [only] }).node);
    expect((await server.call('get_result', { run_id: only.id })).text).toContain('a    99    7   15   15   15');
    const named = await server.call('get_result', { run_id: only.id, section: '@us' });
    expect(named.text).toContain('@us: 2 of 2 rows\n  key  from  to  count\n  a       4   7     90\n');
  });

  test('has the program as it was written and as it ran', async () => {
    const { text, asked } = await get({ section: 'program' });
    expect(text).toContain(`source:\n  ${run.source}\nprinted:\n`);
    expect(text).toContain('self:signal:SIGUSR1');
    expect(asked).toHaveLength(1);
  });

  test('csv and folded hold nothing but data, and a second text tells the rest', async () => {
    const csv = await get({ section: '@opens', format: 'csv', limit: 2 });
    expect(csv.content[0]?.text).toBe('key,value\r\nprocess-0,312\r\nprocess-1,311\r\n');
    expect(csv.content[1]?.text).toContain('@opens: 2 of 312 rows');
    expect(csv.content[1]?.text).toContain('offset=2');
    const folded = await get({ format: 'folded' });
    expect(folded.content[0]?.text).toBe('entry;vfs_read 3\n');
  });

  test('raw is what was printed and then every map', async () => {
    const raw = await get({ format: 'raw', limit: 1 });
    expect(raw.content[0]?.text).toBe(
      `one\n@opens[process-0]: 312\n@us[a]: from 4, to 7, count 90\n@stacks[${stack}]: 3\n`,
    );
    const events = await get({ format: 'raw', section: 'events' });
    expect(events.content[0]?.text).toBe('one\ntwo\n');
  });

  test('json is the same as text and as structured content', async () => {
    const { text, structuredContent } = await get({ format: 'json', limit: 500 });
    expect(structuredContent).toEqual(JSON.parse(text));
    expect(structuredContent).toMatchObject({
      sections: [{ name: '@us', total: 1 }, { name: '@opens', rows: [], total: 312 }, {}, {}],
    });
  });

  test('a page never holds more than 24,000 characters and says where the next begins', async () => {
    const wide = recordOf({
      sections: [
        mapSection(
          '@',
          rows(500).map(([, value]) => [`${'x'.repeat(110)}${value}`, value ?? 0]),
        ),
      ],
    });
    await using server = await connect(createFakeNode({ runs: [wide] }).node);
    for (const format of ['table', 'json', 'csv', 'raw', 'folded']) {
      const { content } = await server.call('get_result', { run_id: wide.id, limit: 500, format });
      const all = content.map(({ text }) => text).join('');
      expect(content[0]?.text.length).toBeLessThanOrEqual(24_000);
      const next = Number(/offset=(\d+)/.exec(all)?.[1]);
      expect(next).toBeGreaterThan(80);
      expect(next).toBeLessThan(220);
    }
  });

  test('a run that is not known says so', async () => {
    const answer = await get({ run_id: 'dev-1.nope' });
    expect(answer.isError).toBe(true);
    expect(answer.text).toMatch(/^run\.unknown: .* List your runs with manage_runs/);
  });

  test('a run without a result tells its state in every form', async () => {
    const live = running();
    await using server = await connect(createFakeNode({ runs: [live] }).node);
    expect((await server.call('get_result', { run_id: live.id })).text).toContain('running, 60 s left, 0 rows so far');
    for (const format of ['csv', 'folded', 'raw']) {
      const { content } = await server.call('get_result', { run_id: live.id, format });
      expect(content[1]?.text).toContain('running, ');
    }
  });
});

describe('manage_runs', () => {
  test('lists runs with their state and what they ran', async () => {
    const runs = [recordOf({ name: 'opens', source: `BEGIN {\n${HOSTILE.escape} }` }), running({ kept: true })];
    await using server = await connect(createFakeNode({ runs }).node);
    const { text } = await server.call('manage_runs', { action: 'list' });
    expect(text).toMatch(/^2 runs\n {2}run_id +state +asked +program/);
    expect(text).toMatch(/complete +\d+ \w+ ago +"opens" BEGIN { \\u\{1b\}\[2J/);
    expect(text).toMatch(/running, \d+ s left, kept +\d+ s ago/);
  });

  test('shows the newest 20, and of refused programs how many there are, within 1,000 tokens', async () => {
    const refused = Array.from({ length: 7 }, () => recordOf({ state: 'failed', reason: 'invalid' }));
    const others = Array.from({ length: 31 }, () => recordOf({ state: 'truncated', reason: 'stopped' }));
    await using server = await connect(createFakeNode({ runs: [...refused, ...others] }).node);
    const { text } = await server.call('manage_runs', { action: 'list' });
    expect(text).toMatch(/^the newest 20 of 31 runs\n/);
    expect(text.match(/truncated \(stopped\)/g)).toHaveLength(20);
    expect(text).toContain(others[19]?.id);
    expect(text).not.toContain(others[20]?.id);
    expect(text).toContain('\n7 refused programs are not shown\n');
    expect(text.length / 4).toBeLessThan(1_000);
  });

  test('lists refused programs alone, too', async () => {
    const runs = [recordOf({ state: 'failed', reason: 'unloadable' })];
    await using server = await connect(createFakeNode({ runs }).node);
    expect((await server.call('manage_runs', { action: 'list' })).text).toBe('0 runs\n1 refused program is not shown');
  });

  test('stops a run and answers what it collected', async () => {
    const live = running({ sections: [mapSection('@', rows(20))] });
    const { node, asked } = createFakeNode({ runs: [live] });
    await using server = await connect(node);
    const { text } = await server.call('manage_runs', { action: 'stop', run_id: live.id });
    expect(asked.map(({ method }) => method)).toEqual(['stop', 'result']);
    expect(text).toContain('truncated (it was stopped on request)');
    expect(text).toContain('@: 10 of 20 rows');
  });

  test('keeps, renames and deletes', async () => {
    const run = recordOf();
    const { node, asked } = createFakeNode({ runs: [run] });
    await using server = await connect(node);
    const said = async (args: Record<string, unknown>) =>
      (await server.call('manage_runs', { run_id: run.id, ...args })).text;
    expect(await said({ action: 'keep' })).toContain('is kept');
    expect(await said({ action: 'rename', name: 'slow disk' })).toBe(`run ${run.id} is named "slow disk"`);
    expect(await said({ action: 'delete' })).toBe(`run ${run.id} is deleted`);
    expect(await said({ action: 'delete' })).toContain('run.unknown');
    expect(asked.map(({ args }) => args).slice(0, 2)).toEqual([
      { action: 'keep' },
      { action: 'rename', name: 'slow disk' },
    ]);
  });
});
