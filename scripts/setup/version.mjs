/** The first `MAJOR.MINOR.PATCH` in what a program says of itself (`bpftrace v0.27.0-12-g3a7c`); undefined without one. */
export const versionIn = (text) => /\bv?(\d+\.\d+\.\d+)/.exec(text)?.[1];

/** Compares two `MAJOR.MINOR.PATCH` number by number. */
export function isAtLeast(version, needed) {
  const [is, must] = [version, needed].map((text) => text.split('.').map(Number));
  const at = is.findIndex((number, index) => number !== must[index]);
  return at === -1 || is[at] > must[at];
}
