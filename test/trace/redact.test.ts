import { expect, test } from 'vitest';
import { createRedactor } from '../../src/trace/redact.ts';

test('without rules a value is returned as it is', () => {
  const value = ['password=1', { record: [['a', 'token=2']] }] as const;
  const redactor = createRedactor([]);
  expect(redactor.redact(value)).toBe(value);
  expect(redactor.counts).toEqual({});
});

test('every string of a value is redacted and each hit counted by its rule', () => {
  const redactor = createRedactor([{ name: 'secret', pattern: /(?:token|password)=\S+/ }]);
  const value = ['token=1 and password=2', 7n, { record: [['token=name', ['x', 'password=3']]] }] as const;
  expect(redactor.redact(value)).toEqual([
    '[secret] and [secret]',
    7n,
    { record: [['token=name', ['x', '[secret]']]] },
  ]);
  expect(redactor.counts).toEqual({ secret: 3 });
});
