import { expect, test } from 'vitest';
import { BUILTINS, nearestBuiltins } from '../../src/program/builtins.ts';
import { parseProgram } from '../../src/program/program.ts';

test('each name of the language is listed once', () => {
  const names = BUILTINS.map((builtin) => builtin.name);
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
});

test.each(BUILTINS.map((builtin) => [builtin.name, builtin] as const))(
  '%s has one line of summary and an example that uses it',
  (name, { summary, signature, example }) => {
    expect(summary).toMatch(/^[A-Z0-9].{9,140}\.$/);
    expect(signature).not.toMatch(/\n/);
    expect(example).toContain(name);
  },
);

test('the program reader takes the example of all that is not refused', () => {
  const taken = BUILTINS.filter((builtin) => builtin.refused === undefined);
  for (const { example } of taken) expect(() => parseProgram(example), example).not.toThrow();
});

test.each(['cat', 'cgroupid', 'skboutput', 'system', 'signal', 'signal_thread', 'override', 'write_user', 'import'])(
  'what the program reader refuses, %s, is refused in the catalogue',
  (name) => {
    const builtin = BUILTINS.find((one) => one.name === name);
    expect(builtin?.refused).toBeTypeOf('string');
    expect(() => parseProgram(builtin?.example ?? '')).toThrow(/is refused/);
  },
);

test('a misspelt function finds its name, and never one that is refused', () => {
  expect(nearestBuiltins('cuont')[0]).toBe('count');
  expect(nearestBuiltins('kstak')[0]).toBe('kstack');
  expect(nearestBuiltins('strlength')[0]).toBe('strlen');
  expect(nearestBuiltins('system')).not.toContain('system');
});
