import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KerntapError } from '../../src/errors.ts';
import type { Column, RecordQuery, Section } from '../../src/trace/ports.ts';
import { toText, type Value } from '../../src/trace/value.ts';
import { viewSections } from '../../src/trace/view.ts';

const query = (part: Partial<RecordQuery> = {}): RecordQuery => ({ offset: 0, limit: 50, ...part });

const section = (name: string, rows: Section['rows'], part: Partial<Section> = {}): Section => ({
  name,
  type: 'map',
  columns: [
    { name: 'comm', type: 'text' },
    { name: 'count', type: 'number' },
  ],
  rows,
  total: rows.length,
  notes: [],
  ...part,
});

const firstCells = (sections: readonly Section[]) => sections[0]?.rows.map((row) => row[0]);

function refusal(work: () => unknown): KerntapError {
  try {
    work();
  } catch (error) {
    return error as KerntapError;
  }
  throw new Error('it was not refused');
}

const opens = section('@opens', [
  ['bash', 3],
  ['Nginx', 40],
  ['curl', 18446744073709551615n],
  ['cron', 40],
]);
const events = section(
  'events',
  [
    ['printf', 'hello'],
    ['time', '10:00'],
  ],
  {
    type: 'events',
    columns: [
      { name: 'type', type: 'text' },
      { name: 'data', type: 'text' },
    ],
  },
);

describe('order', () => {
  it('shows a map with the largest value first and keeps ties as they came', () => {
    expect(firstCells(viewSections([opens], query()))).toEqual(['curl', 'Nginx', 'cron', 'bash']);
  });

  it.each(['events', 'hist', 'tseries'] as const)('leaves the rows of %s as they came', (type) => {
    expect(firstCells(viewSections([{ ...opens, type }], query()))).toEqual(['bash', 'Nginx', 'curl', 'cron']);
  });

  it.each([
    ['count', ['bash', 'Nginx', 'cron', 'curl']],
    ['-count', ['curl', 'Nginx', 'cron', 'bash']],
    ['comm', ['Nginx', 'bash', 'cron', 'curl']],
    ['-comm', ['curl', 'cron', 'bash', 'Nginx']],
  ])('sorts by %s', (sort, expected) => {
    expect(firstCells(viewSections([opens], query({ sort })))).toEqual(expected);
  });

  it('compares integers beyond 2^53 exactly', () => {
    const rows: Section['rows'] = [
      ['a', 9007199254740993n],
      ['b', 9007199254740992],
      ['c', 9007199254740994n],
    ];
    expect(firstCells(viewSections([section('@', rows)], query({ sort: 'count' })))).toEqual(['b', 'a', 'c']);
  });

  it('puts cells without a number last in either direction', () => {
    const rows: Section['rows'] = [
      ['none', null],
      ['one', 1],
      ['text', 'x'],
      ['two', 2],
    ];
    const sorted = (sort: string) => firstCells(viewSections([section('@', rows)], query({ sort })));
    expect(sorted('count')).toEqual(['one', 'two', 'none', 'text']);
    expect(sorted('-count')).toEqual(['two', 'one', 'none', 'text']);
  });

  it('sorts what has the column and leaves the default order elsewhere', () => {
    const [first, second] = viewSections([events, opens], query({ sort: 'count' }));
    expect([first?.rows[0]?.[0], second?.rows[0]?.[0]]).toEqual(['printf', 'bash']);
  });
});

describe('filter and page', () => {
  it('finds a part of any cell, whatever its case, and counts what it found', () => {
    const [found] = viewSections([opens], query({ filter: 'NGI' }));
    expect(found).toMatchObject({ rows: [['Nginx', 40]], total: 1 });
    expect(viewSections([opens], query({ filter: '184467' }))[0]?.total).toBe(1);
  });

  it('cuts a page and says how many rows there are altogether', () => {
    const [page] = viewSections([opens], query({ offset: 1, limit: 2 }));
    expect(page).toMatchObject({
      rows: [
        ['Nginx', 40],
        ['cron', 40],
      ],
      total: 4,
    });
  });

  it('is empty behind the end', () => {
    expect(viewSections([opens], query({ offset: 10 }))[0]).toMatchObject({ rows: [], total: 4 });
  });
});

describe('choice', () => {
  const bare = section('@', [['x', 1]]);

  it.each([
    ['@opens', '@opens'],
    ['opens', '@opens'],
    ['events', 'events'],
    ['@', '@'],
  ])('asked for %s gives %s alone', (name, found) => {
    expect(viewSections([events, opens, bare], query({ section: name })).map((one) => one.name)).toEqual([found]);
  });

  it('prefers the section of exactly that name to the map', () => {
    const map = section('@events', []);
    expect(viewSections([map, events], query({ section: 'events' }))[0]?.name).toBe('events');
  });

  it.each(['@nope', ''])('names what exists when asked for %j', (name) => {
    const error = refusal(() => viewSections([events, opens, bare], query({ section: name })));
    expect(error.code).toBe('run.no_section');
    expect(error.message).toBe(
      `The run has no section '${name}'; it has events (2 rows), @opens (4 rows), @ (1 rows).`,
    );
  });

  it('says that there is no section at all', () => {
    expect(refusal(() => viewSections([], query({ section: '@' }))).message).toContain('it has none');
  });

  it('names the columns when no section has the one to sort by', () => {
    const error = refusal(() => viewSections([events, opens], query({ sort: '-total' })));
    expect(error.code).toBe('run.no_column');
    expect(error.message).toContain("'total'");
    expect(error.message).toContain('events (type, data), @opens (comm, count)');
  });

  it('names only the columns of the section that was asked for', () => {
    const error = refusal(() => viewSections([events, opens], query({ section: '@opens', sort: 'data' })));
    expect(error.message).toContain('the columns are @opens (comm, count).');
  });

  it('has nothing to complain about in a run that has no section yet', () => {
    expect(viewSections([], query({ sort: 'count' }))).toEqual([]);
  });
});

describe('against a naive model', () => {
  const numberCell = fc.oneof(
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.constant(null),
  );
  const textCell = fc.oneof(fc.string({ unit: 'binary', maxLength: 4 }), fc.constantFrom('a', 'A', '\ud83d', '\uff21'));
  const columns: readonly Column[] = [
    { name: 'k', type: 'text' },
    { name: 'n', type: 'number' },
  ];
  const anySection = fc.record({
    type: fc.constantFrom<Section['type']>('events', 'map', 'stats', 'hist', 'tseries'),
    rows: fc.array(fc.tuple(textCell, numberCell), { maxLength: 30 }),
  });
  const anyQuery = fc.record(
    {
      filter: fc.constantFrom('', 'a', 'A', '1', '\ud83d'),
      sort: fc.constantFrom('k', '-k', 'n', '-n'),
      offset: fc.nat(10),
      limit: fc.nat(20),
    },
    { requiredKeys: ['offset', 'limit'] },
  );

  const points = (text: string) => Array.from(text, (letter) => letter.codePointAt(0) ?? 0);
  function comparePoints(a: readonly number[], b: readonly number[]): number {
    for (const [index, point] of a.entries()) {
      const other = b[index];
      if (other === undefined) return 1;
      if (point !== other) return point < other ? -1 : 1;
    }
    return a.length < b.length ? -1 : 0;
  }
  /** Bubble sort: slow, stable and plainly right. */
  function sortedBy<T>(items: readonly T[], inOrder: (a: T, b: T) => boolean): T[] {
    const sorted = [...items];
    for (let end = sorted.length - 1; end > 0; end -= 1) {
      for (let at = 0; at < end; at += 1) {
        const [a, b] = [sorted[at] as T, sorted[at + 1] as T];
        if (!inOrder(a, b)) sorted.splice(at, 2, b, a);
      }
    }
    return sorted;
  }
  function model(rows: readonly (readonly Value[])[], type: Section['type'], asked: RecordQuery) {
    const filter = asked.filter ?? '';
    const kept = rows.filter(
      (row) => filter === '' || row.some((cell) => toText(cell).toLowerCase().includes(filter.toLowerCase())),
    );
    const sort = asked.sort ?? (type === 'map' || type === 'stats' ? '-n' : undefined);
    const inOrder = (a: readonly Value[], b: readonly Value[]) => {
      const way = sort?.startsWith('-') ? -1 : 1;
      if (sort === undefined) return true;
      if (sort.endsWith('k')) return way * comparePoints(points(String(a[0])), points(String(b[0]))) <= 0;
      const [x, y] = [a[1] ?? null, b[1] ?? null];
      if (x === null || y === null) return x !== null || y === null;
      return way === 1 ? x <= y : x >= y;
    };
    const sorted = sortedBy(kept, inOrder);
    return { rows: sorted.slice(asked.offset, asked.offset + asked.limit), total: kept.length };
  }

  it('filters, sorts and pages as it', () => {
    fc.assert(
      fc.property(anySection, anyQuery, ({ type, rows }, asked) => {
        const [seen] = viewSections(
          [{ name: '@', type, columns, rows, total: rows.length, notes: [] }],
          asked as RecordQuery,
        );
        expect({ rows: seen?.rows, total: seen?.total }).toEqual(model(rows, type, asked as RecordQuery));
      }),
      { numRuns: 500 },
    );
  });
});
