/** Above this many candidates, those that share few pairs of letters with the name are left out before the exact measure. */
const EXACT_CANDIDATES = 64;

/** Below this likeness (0 to 1), or this part of the best one's, a name is no help but noise. */
const MIN_LIKENESS = 0.4;
const MIN_PART_OF_BEST = 0.6;

/**
 * The names among `candidates` that are most like `name`, best first, at most `limit`; none when nothing is like it.
 * Equally like ones keep the order in which they came.
 * A candidate's last part after `:` or `.` counts like the whole, so that `skc_state` finds `__sk_common.skc_state`.
 */
export function nearest(name: string, candidates: Iterable<string>, limit = 3): readonly string[] {
  const wanted = name.toLowerCase();
  const wantedTokens = tokensOf(wanted);
  const scored = sharingPairs(wanted, candidates)
    .map((candidate) => ({ candidate, likeness: likeness(wanted, wantedTokens, candidate.toLowerCase()) }))
    .sort((a, b) => b.likeness - a.likeness)
    .slice(0, limit);
  const least = Math.max(MIN_LIKENESS, MIN_PART_OF_BEST * (scored[0]?.likeness ?? 0));
  return scored.filter((one) => one.likeness >= least).map((one) => one.candidate);
}

function likeness(wanted: string, wantedTokens: readonly string[], candidate: string): number {
  const tail = candidate.slice(Math.max(candidate.lastIndexOf(':'), candidate.lastIndexOf('.')) + 1);
  const spelling = Math.max(similarSpelling(wanted, candidate), similarSpelling(wanted, tail));
  return 0.65 * spelling + 0.35 * sharedTokens(wantedTokens, tokensOf(candidate));
}

const similarSpelling = (a: string, b: string) => 1 - editDistance(a, b) / Math.max(a.length, b.length, 1);

const tokensOf = (text: string) => text.split(/[^a-z0-9]+/).filter((token) => token !== '');

/** The share of `wanted` tokens that the candidate has; one that begins alike counts half. */
function sharedTokens(wanted: readonly string[], candidate: readonly string[]): number {
  if (wanted.length === 0) return 0;
  let shared = 0;
  for (const token of wanted) {
    if (candidate.includes(token)) shared += 1;
    else if (candidate.some((other) => other.startsWith(token) || token.startsWith(other))) shared += 0.5;
  }
  return shared / wanted.length;
}

/** Damerau-Levenshtein distance in its restricted form: insert, delete, replace, or swap two neighbours. */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (before[j - 2] ?? 0) + 1);
      }
      row.push(cost);
    }
    before = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

/** The candidates that share most pairs of letters with `wanted`, about as many as are wanted; all when they are few. */
function sharingPairs(wanted: string, candidates: Iterable<string>): readonly string[] {
  const all = [...candidates];
  if (all.length <= EXACT_CANDIDATES * 8) return all;
  const pairs = new Uint8Array(65_536);
  for (let i = 1; i < wanted.length; i++) pairs[pairAt(wanted, i)] = 1;
  // Shares in 1/255: counting how often each occurs finds the least that is enough without sorting all.
  const shares = Uint8Array.from(all, (text) => {
    let shared = 0;
    for (let i = 1; i < text.length; i++) shared += pairs[pairAt(text, i)] ?? 0;
    return Math.min(255, (510 * shared) / (text.length + wanted.length));
  });
  const counts = new Uint32Array(256);
  for (const share of shares) counts[share] = (counts[share] ?? 0) + 1;
  let least = 256;
  for (let found = 0; least > 1 && found < EXACT_CANDIDATES; found += counts[least] ?? 0) least--;
  return all.filter((_, i) => (shares[i] ?? 0) >= least).slice(0, 4 * EXACT_CANDIDATES);
}

// `| 32` folds ASCII letters and leaves digits; `_` and `:` become other codes, the same ones on both sides.
const pairAt = (text: string, i: number) =>
  ((text.charCodeAt(i - 1) & 255) | 32) * 256 + ((text.charCodeAt(i) & 255) | 32);
