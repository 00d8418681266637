/** What an id of list_targets stands for. */
export interface Row {
  readonly selector: string;
  /** Of a process, so that another one with its pid is not taken for it. */
  readonly startTicks?: bigint;
}

const LIFE_MS = 60 * 60 * 1_000;
const MAX_ROWS = 5_000;

/** Short names for rows, `t1`, `t2`, …: the same for the same selector, for an hour from when it was last listed. */
export function createRowIds(now: () => number = Date.now) {
  const rows = new Map<string, Row & { readonly untilMs: number }>();
  const ids = new Map<string, string>();
  let last = 0;

  const drop = (id: string) => {
    const row = rows.get(id);
    rows.delete(id);
    if (row !== undefined) ids.delete(row.selector);
  };

  return {
    idOf(row: Row): string {
      const known = ids.get(row.selector);
      const id = known !== undefined && rows.get(known)?.startTicks === row.startTicks ? known : `t${++last}`;
      if (known !== undefined) drop(known);
      rows.set(id, { ...row, untilMs: now() + LIFE_MS });
      ids.set(row.selector, id);
      for (const oldest of rows.keys()) {
        if (rows.size <= MAX_ROWS) break;
        drop(oldest);
      }
      return id;
    },
    /** Undefined when it was never given, or when its time is over. */
    find(id: string): Row | undefined {
      const row = rows.get(id);
      return row !== undefined && row.untilMs > now() ? row : undefined;
    },
  };
}
