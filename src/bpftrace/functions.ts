import { readFile, writeFile } from 'node:fs/promises';

/**
 * Writes the kernel's function names to `path`, one a line. bpftrace looks up functions and raw tracepoints in it:
 * its own source, available_filter_functions, cannot be read under lockdown, and then nothing has an attach point.
 */
export async function writeFunctions(path: string): Promise<void> {
  // Without names bpftrace still has tracepoints, intervals and profiles.
  const symbols = await readFile('/proc/kallsyms', 'latin1').catch(() => '');
  const names = new Set(Array.from(symbols.matchAll(/^\S+ [tTwW] (\S+)/gm), ([, name]) => name));
  await writeFile(path, [...names, ''].join('\n'), { mode: 0o600 });
}
