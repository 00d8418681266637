import * as fc from 'fast-check';

/** Checks a property of synchronous code on random values; a failure names the smallest one found. */
export function forAll<Value>(values: fc.Arbitrary<Value>, check: (value: Value) => void, runs = 200): void {
  // `void`: fast-check returns a promise for asynchronous properties only.
  void fc.assert(fc.property(values, check), { numRuns: runs });
}
