import { expect, test } from 'vitest';
import { parseMap, sectionOf } from '../../src/bpftrace/sections.ts';

test.each([
  ['text', 'nginx', true],
  ['text and a number', 'nginx,7', true],
  ['numbers', '-1,7', false],
  ['a number', '7', false],
])('a key of %s is noted to have lost its spaces only where it could: %s', (_title, key, noted) => {
  const map = parseMap('map', { record: [['@', { record: [[key, 1]] }]] });
  expect(map && sectionOf(map, false).notes).toEqual(
    noted ? ['keys are shown without spaces, parts joined by commas'] : [],
  );
});
