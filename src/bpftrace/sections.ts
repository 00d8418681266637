import type { Column, Section } from '../trace/ports.ts';
import { isRecord, type RecordValue, type Value } from '../trace/value.ts';
import { fieldOf, parseInteger } from './json.ts';
import type { MapType } from './messages.ts';

const TEXT_KEYS = 'keys are shown without spaces, parts joined by commas';
const PRINTED_EARLIER = 'as the program printed it last; it was empty or gone at the end';

/** One map as bpftrace printed it. Without `key` in its entries it is a map without keys. */
export interface MapContent {
  readonly name: string;
  readonly type: MapType;
  readonly keyed: boolean;
  readonly keyType: Column['type'];
  readonly entries: readonly { readonly key: Value; readonly value: Value }[];
}

/** Reads the `data` of a map message, `{"@name": …}`; undefined when it is no such thing. */
export function parseMap(type: MapType, data: Value | undefined): MapContent | undefined {
  const field = data !== undefined && isRecord(data) && data.record.length === 1 ? data.record[0] : undefined;
  if (field === undefined) return undefined;
  const [name, value] = field;
  if (!isRecord(value) || isStats(value)) {
    return { name, type, keyed: false, keyType: 'number', entries: [{ key: null, value }] };
  }
  const integers = value.record.map(([key]) => parseInteger(key));
  const numeric = integers.every((key) => key !== undefined);
  return {
    name,
    type,
    keyed: true,
    keyType: numeric ? 'number' : 'text',
    entries: value.record.map(([key, item], index) => ({ key: (numeric ? integers[index] : key) ?? key, value: item })),
  };
}

/** The `data` of an event for a map that a program printed while it ran: its name with its value, or a list of pairs. */
export function eventDataOf(map: MapContent): Value {
  const data = map.keyed ? map.entries.map(({ key, value }) => [key, value]) : map.entries[0]?.value;
  return { record: [[map.name, data ?? null]] };
}

/** Makes a section of a map. `printedEarlier`: it was printed while the program ran, and not at the end. */
export function sectionOf(map: MapContent, printedEarlier: boolean): Section {
  const { columns, rowsOf } = shapeOf(map);
  const rows = map.entries.flatMap(({ key, value }) =>
    rowsOf(value).map((cells) => (map.keyed ? [key, ...cells] : cells)),
  );
  // Parts that are numbers lose nothing.
  const textKeys = map.keyed && rows.some(([key]) => typeof key === 'string' && /[^\d,-]/.test(key));
  return {
    name: map.name,
    type: map.type,
    columns: map.keyed ? [{ name: 'key', type: map.keyType }, ...columns] : columns,
    rows,
    total: rows.length,
    notes: [...(textKeys ? [TEXT_KEYS] : []), ...(printedEarlier ? [PRINTED_EARLIER] : [])],
  };
}

/** How many keys of a map bpftrace's JSON cannot tell apart: equal ones, and ones with another number of commas. */
export function ambiguousKeysOf(map: MapContent): number {
  if (!map.keyed) return 0;
  const keys = map.entries.map(({ key }) => String(key));
  const seen = countBy(keys, (key) => key);
  const commas = countBy(keys, commasOf);
  const [usual] = [...commas].sort(([a, timesA], [b, timesB]) => timesB - timesA || a - b)[0] ?? [0];
  return keys.filter((key) => (seen.get(key) ?? 0) > 1 || commasOf(key) !== usual).length;
}

interface Shape {
  readonly columns: readonly Column[];
  /** Cells of the rows that one value makes. */
  readonly rowsOf: (value: Value) => readonly (readonly Value[])[];
}

function shapeOf(map: MapContent): Shape {
  const first = map.entries[0]?.value;
  switch (map.type) {
    case 'map':
      return { columns: [{ name: 'value', type: typeOf(map) }], rowsOf: (value) => [[value]] };
    case 'stats':
      return first !== undefined && isRecord(first)
        ? fields(['count', 'average', 'total'])
        : { columns: [{ name: 'average', type: 'number' }], rowsOf: (value) => [[value]] };
    case 'hist':
      return {
        columns: numbers(['from', 'to', 'count']),
        rowsOf: (value) =>
          recordsOf(value)
            .map((bucket) => ['min', 'max', 'count'].map((name) => fieldOf(bucket, name) ?? null))
            .filter(([, , count]) => count !== 0),
      };
    case 'tseries':
      return {
        columns: [{ name: 'interval_start', type: 'text' }, ...numbers(['value'])],
        rowsOf: (value) =>
          recordsOf(value).map((point) => ['interval_start', 'value'].map((name) => fieldOf(point, name) ?? null)),
      };
  }
}

const numbers = (names: readonly string[]): Column[] => names.map((name) => ({ name, type: 'number' }));

const fields = (names: readonly string[]): Shape => ({
  columns: numbers(names),
  rowsOf: (value) => [names.map((name) => (isRecord(value) ? (fieldOf(value, name) ?? null) : null))],
});

const recordsOf = (value: Value): RecordValue[] => (Array.isArray(value) ? value.filter(isRecord) : []);

const typeOf = (map: MapContent): Column['type'] =>
  map.entries.every(({ value }) => typeof value === 'number' || typeof value === 'bigint') ? 'number' : 'text';

/** `{"count": …, "average": …, "total": …}`: what stats() keeps, not three keys of a map. */
const isStats = ({ record }: RecordValue): boolean => record.map(([name]) => name).join() === 'count,average,total';

const commasOf = (key: string): number => key.split(',').length;

function countBy<Item, Group>(items: readonly Item[], groupOf: (item: Item) => Group): Map<Group, number> {
  const counts = new Map<Group, number>();
  for (const item of items) counts.set(groupOf(item), (counts.get(groupOf(item)) ?? 0) + 1);
  return counts;
}
