import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { overviewOf, pageOf, programOf } from '../../src/render/answer.ts';
import { renderWithin } from '../../src/render/fit.ts';
import { FORMS } from '../../src/render/index.ts';
import type { CountedMessage, Diagnostic, RunRecord, Section } from '../../src/trace/ports.ts';
import type { Value } from '../../src/trace/value.ts';
import { ASKED_MS, mapSection, recordOf } from './records.ts';

const long = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc
    .tuple(fc.string({ unit: 'binary', minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 4_000 }))
    .map(([unit, times]) => unit.repeat(times)),
);
const value: fc.Arbitrary<Value> = fc.oneof(
  long,
  fc.bigInt(),
  fc.integer(),
  fc.array(long, { maxLength: 4 }),
  fc.record({ record: fc.array(fc.tuple(fc.string(), long), { maxLength: 4 }) }),
);
const section: fc.Arbitrary<Section> = fc
  .record({
    name: fc.stringMatching(/^@[a-z_]{1,60}$/),
    type: fc.constantFrom('map', 'hist', 'stats', 'tseries', 'events'),
    rows: fc.array(fc.tuple(value, value, value, value), { maxLength: 60 }),
    more: fc.nat(5_000),
    notes: fc.array(long, { maxLength: 2 }),
  })
  .map(({ name, type, rows, more, notes }) => ({
    name,
    type,
    columns: ['key', 'from', 'to', 'count'].map((column) => ({ name: column, type: 'text' })),
    rows,
    total: rows.length + more,
    notes,
  }));
const place = fc.record({ line: fc.integer({ min: 1, max: 300 }), column: fc.integer({ min: 1, max: 300 }) });
const diagnostic: fc.Arbitrary<Diagnostic> = fc.record({
  severity: fc.constantFrom('error', 'warning', 'hint'),
  at: place,
  message: long,
  remedy: long,
});
const message: fc.Arbitrary<CountedMessage> = fc.record({
  message: long,
  helper: long,
  code: fc.integer(),
  at: place,
  count: fc.nat(),
});
const record: fc.Arbitrary<RunRecord> = fc
  .record({
    state: fc.constantFrom('running', 'complete', 'truncated', 'interrupted', 'failed'),
    reason: fc.constantFrom('deadline', 'map_full', 'invalid', 'crashed', 'server_died'),
    name: long,
    source: long,
    sections: fc.array(section, { maxLength: 30 }),
    diagnostics: fc.array(diagnostic, { maxLength: 12 }),
    messages: fc.array(message, { maxLength: 12 }),
  })
  .map(({ messages, ...given }) => recordOf({ ...given, account: { mapFull: messages, runtimeErrors: messages } }));

describe('an answer never holds more than its budget', () => {
  test.each(Object.entries(FORMS))('as %s', (_form, render) => {
    fc.assert(
      fc.property(record, fc.constantFrom(8_000, 24_000), (made, maxChars) => {
        for (const answer of [
          overviewOf(made, { rows: 500, nowMs: ASKED_MS }),
          pageOf(made, {
            offset: 3,
            others: made.sections,
            again: { filter: made.source.slice(0, 300) },
            nowMs: ASKED_MS,
          }),
          programOf(made, ASKED_MS),
        ]) {
          const { text, shown } = renderWithin(answer, render, maxChars);
          expect(text.length).toBeLessThanOrEqual(maxChars);
          if (render === FORMS.json) expect(JSON.parse(text).run_id).toBe(made.id);
          expect(shown.sections.length + shown.elsewhere.length).toBe(answer.sections.length + answer.elsewhere.length);
        }
      }),
      { numRuns: 40 },
    );
  });
});

test('as many rows as fit are shown, and the next call goes on behind them', () => {
  const rows = Array.from({ length: 500 }, (_, at) => [`${'k'.repeat(90)}${at}`, at]);
  const made = recordOf({ sections: [mapSection('@', rows)] });
  const { text, shown } = renderWithin(pageOf(made, { offset: 0, others: [], nowMs: ASKED_MS }), FORMS.table, 8_000);
  const fitting = shown.sections[0]?.rows.length ?? 0;
  expect(fitting).toBeGreaterThan(50);
  expect(text).toContain(`@: ${fitting} of 500 rows`);
  expect(text).toContain(`section="@", offset=${fitting})`);
  expect(text.length).toBeGreaterThan(7_800);
});

test('a single event of 64 KiB still leaves an answer that says what it is about', () => {
  const made = recordOf({ sections: [mapSection('@', [['x'.repeat(65_536), 1]])] });
  const { text } = renderWithin(overviewOf(made, { rows: 10, nowMs: ASKED_MS }), FORMS.json, 8_000);
  expect(JSON.parse(text).sections[0].rows[0][0]).toMatch(/^x{800,}…$/);
});
