import type { Column, Section } from '../trace/ports.ts';
import { encodeValue, toText, type Value } from '../trace/value.ts';

const PERCENTILES = [50, 95, 99] as const;

interface Bucket {
  readonly from: Value;
  readonly to: Value;
  readonly count: number;
}

const FIGURES: readonly Column[] = ['n', ...PERCENTILES.map((percentile) => `p${percentile}`), 'max'].map((name) => ({
  name,
  type: 'number',
}));

/**
 * A histogram as one row a key: how many values, and the bounds below which 50, 95 and 99 % of them and all of them
 * are. A figure is the upper bound of its bucket, so the truth is at most that; `>=100` is a bucket without one.
 * `section` has all its rows, a key's buckets in ascending order.
 */
export function summariseHistogram(section: Section): Section {
  const isKeyed = section.columns[0]?.name === 'key';
  const keys = new Map<string, { key: readonly Value[]; buckets: Bucket[] }>();
  for (const row of section.rows) {
    const key = isKeyed ? row.slice(0, 1) : [];
    const [from = null, to = null, count = 0] = row.slice(key.length);
    const entry = keys.get(encodeValue(key)) ?? { key, buckets: [] };
    keys.set(encodeValue(key), entry);
    entry.buckets.push({ from, to, count: typeof count === 'number' || typeof count === 'bigint' ? Number(count) : 0 });
  }
  return {
    ...section,
    columns: [...section.columns.slice(0, isKeyed ? 1 : 0), ...FIGURES],
    rows: [...keys.values()].map(({ key, buckets }) => [...key, ...figures(buckets)]),
    total: keys.size,
    notes: ['percentiles are upper bounds of their buckets', ...section.notes],
  };
}

function figures(buckets: readonly Bucket[]): readonly Value[] {
  const n = buckets.reduce((sum, { count }) => sum + count, 0);
  const below = (share: number): Value => {
    let seen = 0;
    const bucket = buckets.find(({ count }) => {
      seen += count;
      return count > 0 && seen >= n * share;
    });
    if (bucket === undefined) return null;
    return bucket.to ?? `>=${toText(bucket.from)}`;
  };
  return [n, ...PERCENTILES.map((percentile) => below(percentile / 100)), below(1)];
}
