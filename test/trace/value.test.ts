import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeValue, encodeValue, toText, toWire, type Value } from '../../src/trace/value.ts';

const { value } = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.string({ unit: 'binary' }),
    fc.array(tie('value')),
    fc.record({ record: fc.array(fc.tuple(fc.string(), tie('value'))) }),
  ),
}));

test('a stored value comes back as it was, 64-bit numbers and double fields too', () => {
  fc.assert(
    fc.property(value, (made) => {
      expect(decodeValue(encodeValue(made))).toEqual(made);
    }),
  );
});

test('on the wire a number outside 2^53 is decimal text and a record an object', () => {
  const made: Value = [
    18446744073709551615n,
    {
      record: [
        ['weight', 1],
        ['pair', [true, null]],
      ],
    },
  ];
  expect(toWire(made)).toEqual(['18446744073709551615', { weight: 1, pair: [true, null] }]);
  expect(toText(made)).toBe('["18446744073709551615",{"weight":1,"pair":[true,null]}]');
  expect(toText('as it is')).toBe('as it is');
});
