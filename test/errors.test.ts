import { expect, test } from 'vitest';
import { ERRORS, KerntapError } from '../src/errors.ts';

test('an error reads as code, sentence and remedy, and the name of a tool stays as it is', () => {
  expect(new KerntapError('program.empty', 'The program is empty.').text).toMatch(
    /^program\.empty: The program is empty\. Send a program such as: .*\.$/,
  );
  expect(new KerntapError('trace.unavailable', 'Nothing can be traced.').text).toBe(
    'trace.unavailable: Nothing can be traced. bpf_info names what this node lacks.',
  );
});

test('every remedy is an imperative without a full stop, and every code names its area', () => {
  for (const [code, { remedy }] of Object.entries(ERRORS)) {
    expect(code).toMatch(/^(?:[a-z]+\.[a-z_]+|internal)$/);
    expect(remedy, code).toMatch(/^[a-z].*[^.]$/);
  }
});
