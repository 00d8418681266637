import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { overviewOf, pageOf, programOf } from '../../src/render/answer.ts';
import { renderRows, renderTable } from '../../src/render/table.ts';
import type { RunRecord } from '../../src/trace/ports.ts';
import type { Value } from '../../src/trace/value.ts';
import { ASKED_MS, eventsSection, HOSTILE, histogramSection, mapSection, recordOf, UNSEEN } from './records.ts';

const overview = (record: RunRecord, rows = 10, nowMs = ASKED_MS) => renderTable(overviewOf(record, { rows, nowMs }));

test('an answer has one header, an aligned table a map, the account and the next calls', () => {
  const record = recordOf({
    sections: [
      mapSection(
        '@opens',
        [
          ['java', 120n],
          ['bash', 7],
          ['cat', 3],
        ],
        53,
      ),
      eventsSection([
        ['printf', 'hello 1\n'],
        ['value', [1, 'x']],
      ]),
    ],
    account: { events: 2 },
  });
  expect(overview(record, 2)).toBe(
    [
      `program on node (dev-1), 10.0 s from 2026-11-22T14:02:31Z, run ${record.id}, complete, 0 reported lost`,
      '@opens: 2 of 53 rows',
      '  key   value',
      '  java    120',
      '  bash      7',
      'events: 2 of 2 rows',
      '  hello 1',
      '  [1,"x"]',
      'account: 2 events kept; probes cost 0.4 % of one CPU, 1,203 runs',
      `next: get_result(run_id="${record.id}", section="@opens", offset=2)`,
    ].join('\n'),
  );
});

test('a histogram is told by its percentiles, the key with most values first, and its buckets are one call away', () => {
  const record = recordOf({
    sections: [
      histogramSection('@us', [
        ['few', 100, null, 4],
        ['many', null, -1, 2],
        ['many', 4, 7, 90],
        ['many', 8, 15, 9],
      ]),
    ],
  });
  const text = overview(record);
  expect(text).toContain(
    [
      '@us: 2 of 2 keys',
      '  key     n    p50    p95    p99    max',
      '  many  101      7     15     15     15',
      '  few     4  >=100  >=100  >=100  >=100',
      'note: percentiles are upper bounds of their buckets (@us)',
    ].join('\n'),
  );
  expect(text).toContain(`next: get_result(run_id="${record.id}", section="@us")`);
});

test('percentiles are not told of a histogram that is only partly here', () => {
  const text = overview(recordOf({ sections: [histogramSection('@us', [['a', 4, 7, 90]], 20_000)] }));
  expect(text).toContain('@us: 1 of 20,000 rows\n  key  from  to  count\n');
});

test('a stack is one line, innermost first', () => {
  const stack = '\n        __schedule+1560\n        schedule+35\n';
  expect(overview(recordOf({ sections: [mapSection('@', [[stack, 48]])] }))).toContain(
    '  __schedule+1560 < schedule+35     48',
  );
});

test('stacks beside other parts of a key are read, too, and the next call has them whole', () => {
  const stack = '\n__schedule+1560\nschedule+35\n';
  const record = recordOf({
    sections: [
      mapSection('@', [
        [`${stack},nginx`, 48],
        [`java,${stack}`, 7],
        ['\n,swapper/0', 1],
      ]),
    ],
  });
  const text = overview(record);
  expect(text).toContain(
    '  __schedule+1560 < schedule+35,nginx     48\n  java,__schedule+1560 < schedule+35       7\n',
  );
  expect(text).toContain('  (no stack),swapper/0 ');
  expect(text).toContain(`next: get_result(run_id="${record.id}", section="@", format="folded")`);
});

test.each([
  ['as bpftrace prints it', '\n        0x7f6d775613e8\n        0x8759e0fc20e72349\n'],
  ['in a key without spaces, of perf mode', 'nginx,\n\t7f9cc4d0ec500x7f9cc4d0ec50([unknown])\n'],
  ['beside a stack of the kernel', '\nschedule+35\n,\n0x7f6d77319d77\n0\n'],
])('a stack of addresses alone has the reason, %s', (_title, stack) => {
  expect(overview(recordOf({ sections: [mapSection('@', [[stack, 1]])] }))).toContain(
    "\nnote: user stacks are addresses: the sandbox keeps bpftrace from the programs' files (@)\n",
  );
});

test.each([
  ['with a name', '\n0x7f6d775613e8\nmain+4\n'],
  ['without frames', '\n'],
  ['of the kernel in raw mode', '\nffffffff822010c9\n'],
])('a stack %s needs no reason', (_title, stack) => {
  expect(overview(recordOf({ sections: [mapSection('@', [[stack, 1]])] }))).not.toContain('note:');
});

test('intervals keep their order, and lose nanoseconds where there are none', () => {
  const series = {
    ...mapSection('@t', [
      ['2026-11-22 18:33:47.400000000', 9],
      ['2026-11-22 18:33:47.600000000', 1],
      ['2026-11-22 18:33:47.600300000', 5],
    ]),
    type: 'tseries',
  } as const;
  expect(overview(recordOf({ sections: [series] }))).toMatch(
    /18:33:47\.400 +9\n.*18:33:47\.600 +1\n.*18:33:47\.600300000 +5\n/,
  );
});

test.each([
  [5_900, '5 s asked, 5.9 s from', false],
  [7_200, '5 s asked, 7.2 s from', true],
])('a run of 5 s that took %i ms says what was asked where it took more than a second longer', (tookMs, said, is) => {
  const timing = { askedMs: ASKED_MS, armedMs: ASKED_MS, endedMs: ASKED_MS + tookMs };
  expect(overview(recordOf({ timeoutMs: 5_000, timing })).includes(said)).toBe(is);
});

test('a map that was printed on the way has a line a key, the largest at the end', () => {
  const items = Array.from({ length: 12 }, (_, at) => [`key${at}`, at]);
  const printed = { record: [['@c', items]] } as const;
  const text = overview(recordOf({ sections: [eventsSection([['map', printed]])] }));
  expect(text).toContain('\n  @c: 2 keys before these, format="raw" has all\n  @c[key2]: 2\n');
  expect(text).toContain('\n  @c[key11]: 11\n');
});

describe('nothing seen is an answer', () => {
  const probes = { asked: 4, attached: 4 };
  test.each([
    [
      'none fired',
      { timeNs: 0, runs: 0, cpuShare: 0, probes: [] },
      '4 probes were attached for 10.0 s and none fired. Reproduce the load',
    ],
    [
      'all were filtered',
      { timeNs: 9, runs: 12, cpuShare: 0, probes: [] },
      'ran 12 times, but nothing was counted or printed',
    ],
  ])('%s', (_title, nodeCost, finding) => {
    const text = overview(recordOf({ probes, account: { nodeCost } }));
    expect(text).toContain(finding);
    expect(text).toMatch(/\nnext: list_probes\(filter="tracepoint:syscalls:sys_enter_openat", fields=true\)$/);
    expect(text.length / 4).toBeLessThan(150);
  });

  test.each([
    ['/* kprobe:x */ BEGIN { } // t:a:b\nrt:sched_switch/pid == 1/{ @ = count(); }', 'rt:sched_switch'],
    ['uprobe:/usr/lib/libc.so.6:mal*,uprobe:/bin/sh:x { @ = count(); }', 'uprobe:/usr/lib/libc.so.6:mal*'],
    ['tracepoint:a:b\u202e"x { }', 'tracepoint:a:b'],
  ])('the next call for %j looks at its first probe', (source, filter) => {
    expect(overview(recordOf({ source }))).toContain(`next: list_probes(filter="${filter}", fields=true)`);
  });

  test('there is no next call for probes that no list has', () => {
    expect(overview(recordOf({ source: 'interval:s:1 { }' }))).not.toContain('next:');
  });

  test.each([
    ['killed', [], 'What was collected is lost: bpftrace was killed from outside.'],
    [
      'server_died',
      [eventsSection([['printf', 'x']])],
      'What was counted in maps is lost: the server died while it ran.',
    ],
  ] as const)('but what a run that was %s had collected is lost', (reason, sections, finding) => {
    const text = overview(recordOf({ state: 'interrupted', reason, sections }));
    expect(text).toContain(`\nfinding: ${finding}\n`);
    expect(text).not.toContain('nothing was counted');
    expect(text).not.toContain('next:');
  });

  test.each([
    ['whose maps came', { sections: [mapSection('@', [['a', 1]])] }],
    ['that only prints', { source: 'begin { printf("x"); }', sections: [eventsSection([['printf', 'x']])] }],
  ])('nothing is said to be lost of an interrupted run %s', (_title, given) => {
    expect(overview(recordOf({ state: 'interrupted', reason: 'no_end_marker', ...given }))).not.toContain('finding:');
  });

  test('and a flood is told what to do instead', () => {
    expect(overview(recordOf({ account: { droppedByLimit: { events: 9, bytes: 100 } } }))).toContain(
      'finding: More was printed than is kept. Count in a map instead',
    );
  });
});

test('a running run tells how long it still takes and how to wait for it', () => {
  const record = recordOf({
    state: 'running',
    reason: 'running',
    timeoutMs: 60_000,
    timing: { askedMs: ASKED_MS, armedMs: ASKED_MS },
    sections: [eventsSection([['printf', 'x\n']], 4)],
  });
  const text = overview(record, 10, ASKED_MS + 42_000);
  expect(text).toContain('running, 18 s left, 4 rows so far');
  expect(text).toContain(`next: get_result(run_id="${record.id}", wait=25)`);
});

test.each([
  ['truncated', 'map_full', 'truncated (a map had no room for more keys)'],
  ['truncated', 'stopped', 'truncated (it was stopped on request)'],
  ['interrupted', 'server_died', 'interrupted (the server died while it ran)'],
  ['complete', 'exit', 'complete (the program ended by itself)'],
] as const)('a run that is %s for %s says %s', (state, reason, said) => {
  expect(overview(recordOf({ state, reason, sections: [mapSection('@', [['a', 1]])] }))).toContain(said);
});

test('the account names each loss', () => {
  const text = overview(
    recordOf({
      sections: [mapSection('@', [['a', 1]])],
      account: {
        events: 1_000,
        lost: 1_194,
        droppedByLimit: { events: 12, bytes: 5_000 },
        droppedMaps: 1,
        mapFull: [
          {
            message: 'Argument list too long',
            helper: 'map_update_elem',
            code: -7,
            at: { line: 1, column: 61 },
            count: 199,
          },
          { message: 'Bad address', helper: 'probe_read', code: -14, count: 1 },
        ],
        runtimeErrors: [{ message: 'Divide or modulo by 0 detected.', at: { line: 1, column: 37 }, count: 2 }],
        missed: 'unknown',
        ambiguousKeys: 3,
        malformed: 1,
        repairedStrings: 2,
        redactions: { jwt: 1, url: 4 },
      },
    }),
  );
  expect(text).toContain('complete, at least 1,194 lost');
  for (const said of [
    '1,000 events kept',
    '12 events (4.9 KiB) dropped beyond what is kept',
    '1 map absent because of the size',
    'map full at 1:61, 199 updates not counted',
    "probe_read failed at the program's end, 1 time (Bad address)",
    'runtime error at 1:37, 2 times',
    'missed probe runs unknown',
    '3 keys that cannot be told from others',
    '1 line of output not understood',
    '2 strings with bytes that are no UTF-8',
    '5 secrets redacted',
  ])
    expect(text).toContain(said);
});

describe('a program that was refused', () => {
  const source = 'BEGIN {\n\t@a = foo(1);\n}';
  const refused = (given: Partial<RunRecord>) =>
    overview(
      recordOf({
        state: 'failed',
        reason: 'invalid',
        probes: { asked: 1, attached: 0 },
        source,
        ...given,
      } as RunRecord),
    );

  test("is answered with the caller's own line, a mark under the place and the remedy", () => {
    const text = refused({
      diagnostics: [
        { severity: 'warning', message: 'not the point' },
        {
          severity: 'error',
          at: { line: 2, column: 7 },
          message: "Unknown function: 'foo'",
          remedy: 'did you mean: func',
        },
      ],
    });
    expect(text.split('\n').slice(0, 4)).toEqual([
      "program.invalid: 2:7: Unknown function: 'foo'",
      '   @a = foo(1);',
      '        ^',
      'Nothing was attached. Did you mean: func.',
    ]);
    expect(text.length / 4).toBeLessThan(120);
  });

  test('has its mark under the place in a very long line, too, and behind characters that are escaped', () => {
    const long = `${'/* \u202e */ '.repeat(50)}BEGIN { foo(); }`;
    const text = refused({
      source: long,
      diagnostics: [{ severity: 'error', at: { line: 1, column: long.indexOf('foo') + 1 }, message: 'no' }],
    });
    const [, line = '', mark = ''] = text.split('\n');
    expect(line.slice(mark.indexOf('^'))).toBe('foo(); }');
    expect(line).not.toMatch(UNSEEN);
  });

  test('that the kernel refused says so, and one that crashed after it had attached shows what it had', () => {
    expect(
      refused({ reason: 'unloadable', diagnostics: [{ severity: 'error', message: 'too many loops' }] }),
    ).toContain('program.unloadable: too many loops');
    const text = refused({ reason: 'crashed', sections: [mapSection('@', [['a', 1]])], diagnostics: [] });
    expect(text).toContain('trace.launch: Bpftrace crashed or could not be started.');
    expect(text).toContain('@: 1 of 1 row');
  });
});

test('a page says which rows it has, of how many, and where the next one begins', () => {
  const record = recordOf({
    sections: [
      mapSection(
        '@',
        [
          ['a', 1],
          ['b', 2],
        ],
        312,
      ),
    ],
  });
  const others = [...record.sections, mapSection('@b', [['x', 1]], 12)];
  const text = renderTable(
    pageOf(record, { offset: 50, others, again: { filter: 'ja\x1bva', sort: '-value' }, nowMs: ASKED_MS }),
  );
  expect(text).toContain('@: rows 51-52 of 312\n');
  expect(text).toContain('note: rows that contain "ja\\u001bva" (@)');
  expect(text).toContain('not shown: @b (12 rows)');
  expect(text).toContain('section="@", filter="ja\\u001bva", sort="-value", offset=52)');
});

test('the program of a run is shown as it was written and as it ran', () => {
  const record = recordOf({ source: 'BEGIN {\n  exit();\n}\x1b' });
  const text = renderTable(programOf(record, ASKED_MS));
  expect(text).toContain('source:\n  BEGIN {\n    exit();\n  }\\u{1b}\nprinted:\n  tracepoint');
});

test.each(Object.entries(HOSTILE))('traced text with %s stays in its cell', (_name, text) => {
  const shown = overview(
    recordOf({
      sections: [
        mapSection('@', [
          [text, 1],
          ['y'.repeat(10_000), 2],
        ]),
        eventsSection([
          ['printf', `${text}\n`],
          ['value', [text]],
        ]),
      ],
    }),
  );
  for (const line of shown.split('\n')) expect(line).not.toMatch(UNSEEN);
  expect(shown.split('\n').filter((line) => line.startsWith('finding'))).toEqual([]);
  expect(shown).toContain('…');
  expect(Math.max(...shown.split('\n').map((line) => line.length))).toBeLessThan(300);
});

const cell: fc.Arbitrary<Value> = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.integer(),
  fc.bigInt(),
  fc.constant(null),
  fc.array(fc.string()),
);

test('every line of a table has its columns at the same places', () => {
  const columns = [
    { name: 'key', type: 'text' },
    { name: 'value', type: 'number' },
    { name: 'last', type: 'number' },
  ] as const;
  fc.assert(
    fc.property(fc.array(fc.tuple(cell, cell, cell), { minLength: 1, maxLength: 20 }), (rows) => {
      const lines = renderRows({ columns, rows }).split('\n');
      expect(lines).toHaveLength(rows.length + 1);
      expect(new Set(lines.map((line) => [...line].length)).size).toBe(1);
      for (const line of lines) expect(line).not.toMatch(UNSEEN);
    }),
  );
});
