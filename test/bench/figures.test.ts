import { expect, test } from 'vitest';
import { type Figure, renderTable, summarise } from '../../bench/figures.ts';

const figure: Figure = {
  what: 'call to attached',
  unit: 'ms',
  kerntap: [130, 120, 110, 900],
  plain: [160, 150, 170],
  goal: { of: 'ratio', is: 'at most', value: 0.8 },
};

test('a figure is told by medians and minima, and one slow sample does not move it', () => {
  expect(summarise(figure)).toMatchObject({
    kerntap: { n: 4, median: 125, min: 110, max: 900, all: [130, 120, 110, 900] },
    plain: { n: 3, median: 160, min: 150 },
    ratio: { median: 0.7813, min: 0.7333 },
    goal: { met: true },
  });
});

test.each([
  [{ of: 'ratio', is: 'at least', value: 0.95 }, false],
  [{ of: 'median', is: 'at most', value: 124 }, false],
  [{ of: 'median', is: 'at least', value: 125 }, true],
] as const)('the goal %j is met: %s', (goal, met) => {
  expect(summarise({ ...figure, goal }).goal?.met).toBe(met);
});

test('what plain bpftrace has none of is in no ratio', () => {
  const { ratio, goal } = summarise({ ...figure, plain: [0, 0, 0] });
  expect([ratio, goal]).toEqual([undefined, undefined]);
});

test('a table has no column that is empty everywhere, and says which goals are missed', () => {
  const { plain, goal, ...alone } = figure;
  expect(renderTable([summarise(alone)])).toBe(
    ['                  unit  n  kerntap  (min)', 'call to attached  ms    4      125  (110)'].join('\n'),
  );
  expect(renderTable([summarise({ ...figure, goal: { of: 'median', is: 'at most', value: 100 } })])).toMatch(
    /<= 100 +MISSED$/,
  );
});
