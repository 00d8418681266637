import { expect, test } from 'vitest';
import { isAtLeast } from '../../src/trace/version.ts';

test.each([
  ['0.27.0', '0.24.2', true],
  ['v0.25.0', '0.25', true],
  ['0.24.2', '0.24.2', true],
  ['0.24.1', '0.24.2', false],
  ['0.24.2', '0.25', false],
  ['0.9.4', '0.24.2', false],
  ['1.0.0', '0.24.2', true],
])('%s is at least %s: %s', (version, than, expected) => {
  expect(isAtLeast(version, than)).toBe(expected);
});
