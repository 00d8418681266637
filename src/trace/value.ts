/**
 * A value as the traced program made it. Integers outside ±2^53 are bigints; a record keeps the order of its fields and
 * any that occur twice.
 */
export type Value = null | boolean | number | bigint | string | readonly Value[] | RecordValue;
export interface RecordValue {
  readonly record: readonly (readonly [name: string, value: Value])[];
}

export const isRecord = (value: Value): value is RecordValue =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Text for the store that `decodeValue` reads back without loss. */
export const encodeValue = (value: unknown): string =>
  JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? { $big: item.toString() } : item));

/** Reads what `encodeValue` wrote. */
export const decodeValue = (text: string): unknown =>
  text.includes('"$big"') ? JSON.parse(text, reviveBig) : JSON.parse(text); // a reviver costs thirteen times as much

const reviveBig = (_key: string, item: unknown): unknown =>
  typeof item === 'object' && item !== null && '$big' in item && typeof item.$big === 'string'
    ? BigInt(item.$big)
    : item;

/** The form that callers read in JSON: an integer outside ±2^53 is decimal text, a record an object. */
export function toWire(value: Value): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (!isRecord(value)) return value.map(toWire);
  return Object.fromEntries(value.record.map(([name, item]) => [name, toWire(item)]));
}

/** One line of text for a cell of a table: text as it is, an integer in digits, everything else as compact JSON. */
export const toText = (value: Value): string =>
  typeof value === 'string' || typeof value === 'bigint' ? String(value) : JSON.stringify(toWire(value));
