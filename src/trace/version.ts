/** Whether `version` (`0.27.0`, `v0.27.0`) is `than` (`0.24.2`, `0.25`) or newer; parts that are absent are 0. */
export function isAtLeast(version: string, than: string): boolean {
  const parts = version.replace(/^v/, '').split('.').map(Number);
  for (const [i, wanted] of than.split('.').map(Number).entries()) {
    const part = parts[i] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}
