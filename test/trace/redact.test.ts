import { expect, test } from 'vitest';
import { createRedactor } from '../../src/trace/redact.ts';
import { withFileNames } from '../../src/trace/user-files.ts';

test('without rules a value is returned as it is', () => {
  const value = ['password=1', { record: [['a', 'token=2']] }] as const;
  const redactor = createRedactor({ rules: [] });
  expect(redactor.redact(value)).toBe(value);
  expect(redactor.counts).toEqual({});
});

test('every string of a value is redacted and each hit counted by its rule', () => {
  const redactor = createRedactor({ rules: [{ name: 'secret', pattern: /(?:token|password)=\S+/ }] });
  const value = ['token=1 and password=2', 7n, { record: [['token=name', ['x', 'password=3']]] }] as const;
  expect(redactor.redact(value)).toEqual([
    '[secret] and [secret]',
    7n,
    { record: [['token=name', ['x', '[secret]']]] },
  ]);
  expect(redactor.counts).toEqual({ secret: 3 });
});

test('addresses of the kernel become names, the same for the same address, wherever they stand', () => {
  const redactor = createRedactor({ rules: [], hideAddresses: true });
  const value = [
    0xffff888012345678n,
    '18446612682375452280,web',
    '0xffffffff81001234 and ffff888012345678',
    'FFFF888012345678',
  ] as const;
  expect(redactor.redact(value)).toEqual(['addr-1', 'addr-1,web', 'addr-2 and addr-1', 'addr-1']);
  expect(redactor.counts).toEqual({ kernel_address: 5 });
});

test('numbers that are no address stay: user addresses, large counts, small negative numbers without their sign', () => {
  const redactor = createRedactor({ rules: [], hideAddresses: true });
  const value = [0x7f51a2233829n, 18446744073709551614n, 9_007_199_254_740_993n, '18446744073709551612', -2] as const;
  expect(redactor.redact(value)).toEqual(value);
});

test('files that bpftrace knows by descriptors have the names that the target has for them', () => {
  const redactor = createRedactor({ rules: [], rename: (text) => withFileNames(text, ['/usr/lib/libc.so.6', '/app']) });
  const value = ['uprobe:/proc/self/fd/9:malloc', 'usdt:/proc/self/fd/10:p:n', '/proc/self/fd/11:x', '/proc/self/fd/9'];
  expect(redactor.redact(value)).toEqual([
    'uprobe:/usr/lib/libc.so.6:malloc',
    'usdt:/app:p:n',
    '/proc/self/fd/11:x',
    '/proc/self/fd/9',
  ]);
  expect(redactor.counts).toEqual({});
});
