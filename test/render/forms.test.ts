import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { overviewOf, pageOf } from '../../src/render/answer.ts';
import { renderCsv } from '../../src/render/csv.ts';
import { renderFolded } from '../../src/render/folded.ts';
import { renderJson } from '../../src/render/json.ts';
import { renderNote } from '../../src/render/note.ts';
import { renderRaw } from '../../src/render/raw.ts';
import type { RunRecord, Section } from '../../src/trace/ports.ts';
import type { Value } from '../../src/trace/value.ts';
import { ASKED_MS, eventsSection, HOSTILE, histogramSection, mapSection, recordOf } from './records.ts';

const overview = (record: RunRecord, rows = 10) => overviewOf(record, { rows, nowMs: ASKED_MS });
const page = (section: Section) =>
  pageOf(recordOf({ sections: [section] }), { offset: 0, others: [section], nowMs: ASKED_MS });

describe('json', () => {
  test('alone answers the question, in names that are a contract', () => {
    const record = recordOf({
      name: 'opens',
      sections: [
        mapSection('@', [['java', 2n ** 63n]], 53),
        histogramSection('@us', [[4, 7, 90]]),
        eventsSection([['value', { record: [['a', 1]] }]]),
      ],
      account: {
        events: 1,
        mapFull: [{ message: 'full', helper: 'h', code: -7, at: { line: 1, column: 2 }, count: 3 }],
      },
    });
    expect(JSON.parse(renderJson(overview(record)))).toEqual({
      run_id: record.id,
      execution_id: record.id,
      name: 'opens',
      state: 'complete',
      reason: 'deadline',
      target: 'node',
      node: 'dev-1',
      probes: { asked: 1, attached: 1 },
      timing: {
        asked: '2026-11-22T14:02:31.000Z',
        armed: '2026-11-22T14:02:31.500Z',
        ended: '2026-11-22T14:02:41.500Z',
      },
      scope: { node: 'dev-1', classes: ['unscoped'] },
      sandbox: 'full',
      versions: { kerntap: '0.1.0', bpftrace: '0.27.0', kernel: '6.18.44' },
      untrusted: 'text from processes on node dev-1',
      finding: [],
      sections: [
        { name: '@', type: 'map', columns: ['key', 'value'], rows: [['java', '9223372036854775808']], total: 53 },
        {
          name: '@us',
          type: 'hist',
          columns: ['n', 'p50', 'p95', 'p99', 'max'],
          rows: [[90, 7, 7, 7, 7]],
          total: 1,
          notes: ['percentiles are upper bounds of their buckets'],
        },
        { name: 'events', type: 'events', columns: ['type', 'data'], rows: [['value', { a: 1 }]], total: 1 },
      ],
      output: '{"a":1}\n@[java]: 9223372036854775808\n@us: n 90, p50 7, p95 7, p99 7, max 7\n',
      account: {
        events: 1,
        lost: 0,
        lost_reported: 0,
        lost_is_lower_bound: true,
        dropped_by_limit: { events: 0, bytes: 0 },
        dropped_maps: 0,
        map_full: [{ message: 'full', helper: 'h', code: -7, line: 1, column: 2, count: 3 }],
        runtime_errors: [],
        missed: 0,
        ambiguous_keys: 0,
        malformed: 0,
        repaired_strings: 0,
        redactions: {},
        node_cost: { cpu_share: 0.004, time_ns: 40_000_000, runs: 1_203 },
      },
      next: [
        `get_result(run_id="${record.id}", section="@", offset=1)`,
        `get_result(run_id="${record.id}", section="@us")`,
      ],
    });
  });

  test('holds the refusal, the places in the program and no stranger character', () => {
    const record = recordOf({
      state: 'failed',
      reason: 'invalid',
      probes: { asked: 1, attached: 0 },
      diagnostics: [
        {
          severity: 'error',
          at: { line: 2, column: 7 },
          message: `Unknown ${HOSTILE.bidi}`,
          remedy: 'did you mean: x',
        },
      ],
    });
    const answer = JSON.parse(renderJson(overview(record)));
    expect(answer.finding).toEqual([
      'program.invalid: 2:7: Unknown abc\\u{202e}gnp.exe',
      'Nothing was attached. Did you mean: x.',
    ]);
    expect(answer.diagnostics).toEqual([
      { severity: 'error', line: 2, column: 7, message: 'Unknown abc\\u{202e}gnp.exe', remedy: 'did you mean: x' },
    ]);
    expect(answer.timing.armed).not.toBe(undefined);
  });

  test.each(Object.entries(HOSTILE))('has text with %s escaped, newlines aside', (_name, text) => {
    const { sections } = JSON.parse(renderJson(overview(recordOf({ sections: [mapSection('@', [[text, [text]]])] }))));
    for (const cell of sections[0].rows[0].flat())
      expect(cell).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}]/u);
  });
});

describe('csv', () => {
  test('quotes what needs it and makes formulas text, but leaves numbers alone', () => {
    const rows: Value[][] = [
      ['=cmd|/c calc', -5],
      ['a,"b"', 1n],
      ['two\nlines', null],
      ['+1', 2],
      ['-2+cmd|x', 6],
      ['-5,-3', 7],
      ['\nschedule+35\n', 8],
      [' plain', 3],
    ];
    expect(renderCsv(page(mapSection('@', rows)))).toBe(
      'key,value\r\n\'=cmd|/c calc,-5\r\n"a,""b""",1\r\n"two\nlines",\r\n\'+1,2\r\n\'-2+cmd|x,6\r\n"-5,-3",7\r\n"\nschedule+35\n",8\r\n plain,3\r\n',
    );
  });

  test('comes back as it was', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', ',', '"', '\n', ' ', '😀', ';'), maxLength: 12 });
    fc.assert(
      fc.property(fc.array(fc.tuple(text, fc.integer()), { minLength: 1 }), (rows) => {
        const parsed = parseCsv(renderCsv(page(mapSection('@', rows))));
        expect(parsed).toEqual([['key', 'value'], ...rows.map(([key, value]) => [key, String(value)])]);
      }),
    );
  });
});

/** RFC 4180 as written there. */
function parseCsv(text: string): string[][] {
  const records: string[][] = [[]];
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/gy;
  for (const [, quoted, plain, end] of text.matchAll(field)) {
    records.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain ?? '');
    if (end === '\r\n') records.push([]);
  }
  return records.slice(0, -1);
}

describe('folded', () => {
  test('strips offsets, sums equal stacks, turns them round and puts the other keys first', () => {
    const rows: Value[][] = [
      [['\n        do_sys_open+26\n        entry+9\n', 'java x'], 2],
      [['\n        do_sys_open+44\n        entry+9\n', 'java x'], 3n],
    ].map(([key, count]) => [...(key as Value[]), count as Value]);
    expect(
      renderFolded(page({ ...mapSection('@', rows), columns: [...'kcv'].map((name) => ({ name, type: 'text' })) })),
    ).toBe('java_x;entry;do_sys_open 5\n');
  });

  test('reads stacks of perf mode, and keys that have lost their spaces', () => {
    const rows: Value[][] = [
      ['\n\t7f51a2233829 syscall+25 (/usr/lib/libc.so.6)\n\t55aa00112233 main+4 (/bin/x)\n', 1],
      ['\n__schedule+1560\nschedule+35\n', 7],
    ];
    expect(renderFolded(page(mapSection('@', rows)))).toBe('schedule;__schedule 7\nmain;syscall 1\n');
  });

  test('reads a stack that shares its key with a name', () => {
    const rows: Value[][] = [
      ['\nb+1\na+2\n,nginx', 5],
      ['nginx,\nb+9\na+2\n', 2],
      ['\nk+1\n,\nu+2\n', 4],
      ['\n', 1],
    ];
    expect(renderFolded(page(mapSection('@', rows)))).toBe('nginx;a;b 7\nk;u 4\n- 1\n');
  });

  test('keeps the semicolons and spaces of a name from making frames', () => {
    expect(renderFolded(page(mapSection('@', [['a;b c', 1]])))).toBe('a:b_c 1\n');
  });
});

describe('raw', () => {
  test('is what was printed, in order, then the maps as bpftrace writes them', () => {
    const record = recordOf({
      sections: [
        mapSection('@n', [
          ['a b', 1],
          [HOSTILE.newline, 2],
        ]),
        { ...mapSection('@total', [[7n]]), columns: [{ name: 'value', type: 'number' }] },
        histogramSection('@us', [[4, 7, 90]]),
        eventsSection([
          ['printf', 'half '],
          ['printf', 'line\n'],
          ['value', 5],
          [
            'map',
            {
              record: [
                [
                  '@x',
                  [
                    ['k', 1],
                    ['l', 2],
                  ],
                ],
              ],
            },
          ],
          ['time', '14:02:31\n'],
          ['printf', 'end'],
        ]),
      ],
    });
    expect(renderRaw(pageOf(record, { offset: 0, others: [], nowMs: ASKED_MS }))).toBe(
      'half line\n5\n@x[k]: 1\n@x[l]: 2\n14:02:31\nend\n@n[a b]: 1\n@n[java\\u{a}finding: all is well]: 2\n@total: 7\n@us: from 4, to 7, count 90\n',
    );
  });

  test('has a note beside it with the extent, the verdict and the account', () => {
    const note = renderNote(page(mapSection('@', [['a', 1]], 9)));
    expect(note).toContain('complete, 0 reported lost; @: 1 of 9 rows\naccount: 0 events kept');
    expect(note).toContain('offset=1');
  });
});
