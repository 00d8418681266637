import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDiagnostics } from '../../src/bpftrace/diagnostics.ts';
import { plainProgram } from '../../src/program/instrument.ts';
import type { PrintedEvent } from '../../src/trace/ports.ts';
import { forAll } from '../helpers/for-all.ts';
import { ATTACHED, readChunks, readLines, recordings } from './recordings.ts';

describe('recordings of the real bpftrace', () => {
  test.each(recordings)('$name is read as it is written down', async ({ program, stdout, stderr, expected }) => {
    const { calls, events, end } = readChunks([stdout], { program });
    const diagnostics = parseDiagnostics(stderr, end.preamble, plainProgram(program));
    const reading = { calls, events: folded(events), maps: end.maps, counts: counted(end.counts), diagnostics };
    await expect(`${toText(reading)}\n`).toMatchFileSnapshot(expected);
  });

  test.each(recordings)('$name reads the same in single bytes', ({ stdout }) => {
    const bytes = Array.from(stdout, (_byte, at) => stdout.subarray(at, at + 1));
    expect(readChunks(bytes)).toEqual(readChunks([stdout]));
  });

  test('all read the same wherever the stream is cut', () => {
    const whole = new Map(recordings.map(({ name, stdout }) => [name, readChunks([stdout])]));
    const cuts = fc.array(fc.nat(60_000), { maxLength: 12 });
    forAll(fc.tuple(fc.constantFrom(...recordings), cuts), ([{ name, stdout }, places]) => {
      expect(readChunks(cutAt(stdout, places))).toEqual(whole.get(name));
    });
  });
});

describe('before the probes are attached', () => {
  test('every line is compiler text, even one that looks like a message', () => {
    const before = '{"type": "printf", "data": "x"}\n\n__BPFTRACE_NOTIFY_PROBES_ATTACHED\nstdin:1:1-2: WARNING: w\n';
    const { calls, events, end } = readChunks([Buffer.from(before + ATTACHED)]);
    expect({ calls, events, preamble: end.preamble, malformed: end.counts.malformed }).toEqual({
      calls: ['attached 1', 'armed'],
      events: [],
      preamble: before,
      malformed: 0,
    });
  });

  test('no more than 256 KiB of it is kept', () => {
    const { end } = readChunks([Buffer.from(`${'w'.repeat(999)}\n`.repeat(400))]);
    expect(end.preamble.length).toBeGreaterThan(255_000);
    expect(end.preamble.length).toBeLessThanOrEqual(256 * 1024);
  });
});

describe('lines that are no message', () => {
  test.each([
    ['text', 'hello'],
    ['half a message', '{"type": "printf", "data": "abc'],
    ['an unknown type', '{"type": "syscall", "data": 1}'],
    ['a message without data', '{"type": "printf", "date": "abc"}'],
    ['a second list of probes', ATTACHED.split('\n')[0] ?? ''],
    ['a second marker', '__BPFTRACE_NOTIFY_PROBES_ATTACHED'],
    ['a map without a name', '{"type": "map", "data": 5}'],
    ['a loss without a number', '{"type": "lost_events", "count": "x"}'],
    ['an error without a message', '{"type": "helper_error", "helper": "x"}'],
    ['values that are nested without end', `{"type": "value", "data": ${'['.repeat(5000)}${']'.repeat(5000)}}`],
  ])('%s is counted as malformed and what follows is read', (_what, line) => {
    const { events, end } = readLines([line, '{"type": "time", "data": "now"}']);
    expect(events.map(({ data }) => data)).toEqual(['now']);
    expect(end.counts).toMatchObject({ malformed: 1, printed: 1, kept: 1 });
  });

  test('a line of more than 16 MiB is one malformed line', () => {
    const chunk = Buffer.alloc(1024 * 1024, 0x61);
    const { events, end } = readChunks([
      Buffer.from(`${ATTACHED}{"type": "printf", "data": "`),
      ...Array.from({ length: 17 }, () => chunk),
      Buffer.from('"}\n{"type": "printf", "data": "after"}\n'),
    ]);
    expect(events.map(({ data }) => data)).toEqual(['after']);
    expect(end.counts.malformed).toBe(1);
  });

  test('empty lines are nothing', () => {
    expect(readLines(['', '', '{"type": "value", "data": 1}', '']).end.counts).toMatchObject({ malformed: 0, kept: 1 });
  });
});

describe('budgets', () => {
  const line = '{"type": "printf", "data": "0123456789"}';
  const bytes = line.length + 1;

  test('events beyond theirs are counted with their bytes, and nothing is kept after the first of them', () => {
    const short = '{"type": "value", "data": 1}';
    const { events, end } = readLines([line, line, line, short], { maxEventBytes: 2 * bytes + 35 });
    expect(events.length).toBe(2);
    expect(end.counts).toMatchObject({
      printed: 4,
      kept: 2,
      dropped: { events: 2, bytes: bytes + short.length + 1 },
      malformed: 0,
    });
  });

  test('the end marker is seen and the maps are kept when the events are over', () => {
    const { calls, end } = readLines([line, END, '{"type": "map", "data": {"@a": 1}}'], { maxEventBytes: 0 });
    expect(calls).toEqual(['attached 1', 'armed', 'end marker']);
    expect(end.endMarker).toBe(true);
    expect(end.counts.dropped.events).toBe(1);
    expect(end.maps.map(({ rows }) => rows)).toEqual([[[1]]]);
  });

  test('a map that is too large is counted and the next one kept', () => {
    const { end } = readLines([keyedMap('@large', 5000), '{"type": "map", "data": {"@small": 1}}'], {
      maxMapBytes: 1000,
    });
    expect(end.maps.map(({ name }) => name)).toEqual(['@small']);
    expect(end.counts.droppedMaps).toBe(1);
  });

  test('the final maps go before those that were printed on the way', () => {
    const early = keyedMap('@early', 20);
    const { events, end } = readLines([early, line, keyedMap('@late', 20)], { maxMapBytes: early.length + 10 });
    expect(events.map(({ type }) => type)).toEqual(['map', 'printf']);
    expect(end.maps.map(({ name }) => name)).toEqual(['@late']);
    expect(end.counts.droppedMaps).toBe(1);
  });

  test('60,000 keys are one line and are all read', () => {
    const [section] = readLines([keyedMap('@', 60_000)]).end.maps;
    expect(section?.total).toBe(60_000);
    expect(section?.rows.at(-1)).toEqual([59_999, 59_999]);
  });
});

describe('maps', () => {
  const map = (value: number) => `{"type": "map", "data": {"@m": {"1": ${value}}}}`;

  test('that are printed again and again are events, but for the last', () => {
    const { events, end } = readLines([map(1), map(2), map(3)]);
    expect(events.map(({ data }) => data)).toEqual([1, 2].map((value) => ({ record: [['@m', [[1, value]]]] })));
    expect(end.maps.map(({ rows, notes }) => ({ rows, notes }))).toEqual([{ rows: [[1, 3]], notes: [] }]);
  });

  test('that were printed and are gone at the end come as they were printed last, with a note', () => {
    const { events, end } = readLines([map(1), END]);
    expect(events.length).toBe(1);
    expect(end.maps[0]).toMatchObject({ rows: [[1, 1]], notes: [expect.stringContaining('printed it last')] });
  });

  test('keep their order among the events', () => {
    const { events } = readLines([
      map(1),
      '{"type": "printf", "data": "a"}',
      map(2),
      '{"type": "printf", "data": "b"}',
    ]);
    expect(events.map(({ type }) => type)).toEqual(['map', 'printf', 'map', 'printf']);
  });

  test('whose keys cannot be told apart are counted, each key once', () => {
    const data = '{"@k": {"a,b,c,": 3, "a,b,c": 1, "a,b,c": 2, "x,y,z": 4}}';
    expect(readLines([`{"type": "map", "data": ${data}}`]).end.counts.ambiguousKeys).toBe(3);
  });

  test('whose keys are numbers only because a space was left out are counted, too', () => {
    expect(readLines(['{"type": "map", "data": {"@k": {"12": 1, "12": 2}}}']).end.counts.ambiguousKeys).toBe(2);
  });

  test('with keys that only look like numbers keep them as text', () => {
    const { end } = readLines(['{"type": "map", "data": {"@k": {"007": 1, "7": 2, "99999999999999999999": 3}}}']);
    expect(end.maps[0]?.columns[0]).toEqual({ name: 'key', type: 'text' });
    expect(end.maps[0]?.rows.map(([key]) => key)).toEqual(['007', '7', '99999999999999999999']);
  });
});

describe('errors of the running program', () => {
  const full = (line: number, file = 'stdin') =>
    `{"type": "helper_error", "msg": "Argument list too long", "helper": "map_update_elem", "retcode": -7, "filename": "${file}", "line": ${line}, "col": 4}`;

  test('are counted by place, without those of our own parts and without places in other files', () => {
    const { end } = readLines([full(1), full(1), full(2), full(1, 'stdlib/base.bt')]);
    const row = { message: 'Argument list too long', helper: 'map_update_elem', code: -7 };
    expect(end.counts.helperErrors).toEqual([
      { ...row, at: { line: 1, column: 4 }, count: 2 },
      { ...row, count: 1 },
    ]);
  });

  test('fill a bounded number of rows and none is uncounted', () => {
    const { end } = readLines(
      Array.from({ length: 5000 }, (_, line) => full(line + 1)),
      { program: '\n'.repeat(5_000) },
    );
    expect(end.counts.helperErrors.length).toBeLessThanOrEqual(201);
    expect(end.counts.helperErrors.reduce((sum, { count }) => sum + count, 0)).toBe(5000);
  });

  test('lost events are summed', () => {
    const lost = (count: number) => `{"type": "lost_events", "count": ${count}, "data": {"events": ${count}}}`;
    expect(readLines([lost(1194), lost(1169)]).end.counts.lostReported).toBe(2363);
  });
});

test('only the very end marker of this run is none of the events', () => {
  const forged = '{"type": "value", "data": "kt.end of another run"}';
  const { events, end, calls } = readLines([forged, END]);
  expect(events.map(({ data }) => data)).toEqual(['kt.end of another run']);
  expect(end).toMatchObject({ endMarker: true, counts: { printed: 1, kept: 1, printedOfSeen: 1 } });
  expect(calls).toContain('end marker');
});

describe('our own counters', () => {
  const hidden = (name: string, value: string) => `{"type": "map", "data": {"@__kt_${name}": ${value}}}`;

  test('are no maps of the caller, whatever the budget, and large ones are read, too', () => {
    const { end, events } = readLines([hidden('seen_0', '5'), hidden('all_1', '"9007199254740993"')], {
      maxMapBytes: 0,
    });
    expect([...end.hidden]).toEqual([
      ['seen_0', 5],
      ['all_1', 9_007_199_254_740_992],
    ]);
    expect({ events, maps: end.maps, dropped: end.counts.droppedMaps }).toEqual({ events: [], maps: [], dropped: 0 });
  });

  test('stand for what printing statements made: not for maps, nor for what assert() says', () => {
    const said = (file: string) =>
      `{"type": "errorf", "msg": "\\"filename\\": \\"stdin\\"", "filename": "${file}", "line": 1, "col": 1}`;
    const lines = [
      '{"type": "printf", "data": "a"}',
      '{"type": "map", "data": {"@m": 1}}',
      said('stdin'),
      said('stdlib/base.bt'),
    ];
    const kept = readLines(lines);
    expect(kept.end.counts).toMatchObject({ printed: 4, printedOfSeen: 2, kept: 4 });
    const dropped = readLines(lines, { maxEventBytes: 0 });
    expect(dropped.end.counts).toMatchObject({ printed: 4, printedOfSeen: 2, kept: 0 });
  });
});

const END = '{"type": "value", "data": "kt.end"}';

const keyedMap = (name: string, keys: number): string =>
  `{"type": "map", "data": {"${name}": {${Array.from({ length: keys }, (_, key) => `"${key}": ${key}`).join(', ')}}}}`;

function cutAt(buffer: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.filter((cut) => cut < buffer.length).sort((a, b) => a - b), buffer.length];
  return places.slice(1).map((end, index) => buffer.subarray(places[index], end));
}

/** Without the counts that are zero. */
const counted = (counts: object): object =>
  Object.fromEntries(
    Object.entries(counts).filter(
      ([, count]) => !['0', '[]', '{"events":0,"bytes":0}'].includes(JSON.stringify(count)),
    ),
  );

/** Equal events in a row as one with its number, for the eye. */
function folded(events: readonly PrintedEvent[]): readonly unknown[] {
  const rows: { event: PrintedEvent; times: number }[] = [];
  for (const event of events) {
    const last = rows.at(-1);
    if (last && toText(last.event) === toText(event)) last.times += 1;
    else rows.push({ event, times: 1 });
  }
  return rows.map(({ event, times }) => (times === 1 ? event : { times, ...event }));
}

/** JSON with one row of a table, one event and one count a line; a bigint is written with its `n`. */
function toText(value: object, indent = ''): string {
  const flat = JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? `${item}n` : item));
  if (flat.length + indent.length <= 110 || typeof value !== 'object') return flat;
  const inner = `${indent}  `;
  const text = (item: unknown) => (typeof item === 'object' && item !== null ? toText(item, inner) : scalar(item));
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  const items = Array.isArray(value)
    ? value.map(text)
    : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${text(item)}`);
  return `${open}\n${items.map((item) => inner + item).join(',\n')}\n${indent}${close}`;
}

const scalar = (item: unknown): string => JSON.stringify(typeof item === 'bigint' ? `${item}n` : item);
