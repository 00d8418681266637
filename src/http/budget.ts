export interface Budget {
  /** Spends `cost` of `key`. The answer is 0, or the seconds after which so much will be there; then nothing was spent. */
  spend(key: string, cost?: number): number;
  /** Gives one back that turned out not to be owed. */
  refund(key: string): void;
}

export interface BudgetOptions {
  readonly perSecond: number;
  /** What may be spent at once after a rest. */
  readonly burst: number;
  /** Keys come from outside: the one that was longest unused is forgotten first. */
  readonly maxKeys?: number;
}

/** Makes a budget that every key has for itself. */
export function createBudget({ perSecond, burst, maxKeys = 4_096 }: BudgetOptions): Budget {
  const purses = new Map<string, { left: number; atMs: number }>();

  function purseOf(key: string) {
    const nowMs = performance.now();
    const old = purses.get(key) ?? { left: burst, atMs: nowMs };
    const purse = { left: Math.min(burst, old.left + ((nowMs - old.atMs) / 1_000) * perSecond), atMs: nowMs };
    purses.delete(key);
    purses.set(key, purse);
    for (const longestUnused of purses.keys()) {
      if (purses.size <= maxKeys) break;
      purses.delete(longestUnused);
    }
    return purse;
  }

  return {
    spend(key, cost = 1) {
      const purse = purseOf(key);
      if (purse.left < cost) return Math.ceil((cost - purse.left) / perSecond);
      purse.left -= cost;
      return 0;
    },
    refund(key) {
      purseOf(key).left += 1;
    },
  };
}
