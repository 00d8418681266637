import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const textOf = (proc: string, name: string) => {
  try {
    return readFileSync(join(proc, name), 'latin1');
  } catch {
    return ''; // without names bpftrace still has tracepoints, intervals and profiles
  }
};

/** The names of the modules that are loaded, one a line. */
export const readModules = (proc: string): string => textOf(proc, 'modules').replaceAll(/ .*/g, ''); // the rest of a line changes with every user of a module

/** The names of the kernel's functions, each once; that of a module is followed by a space and `[MODULE]`. */
export const readFunctions = (proc: string): ReadonlySet<string> =>
  new Set(
    Array.from(textOf(proc, 'kallsyms').matchAll(/^\S+ [tTwW] (\S+)(?:\t(\[\w+\]))?/gm), ([, name, module]) =>
      module === undefined ? (name ?? '') : `${name} ${module}`,
    ),
  );

/**
 * Keeps the kernel's function names in the file `path`, one a line; the result writes them again when modules have come
 * or gone. bpftrace looks up functions and raw tracepoints in it: its own source, available_filter_functions, cannot be
 * read under lockdown, and then nothing has an attach point.
 */
export function createFunctionNames(path: string, proc = '/proc'): { refresh(): void } {
  let modules: string | undefined;
  return {
    refresh() {
      const loaded = readModules(proc);
      if (loaded === modules) return;
      const names = new Set(Array.from(readFunctions(proc), (name) => name.replace(/ .*/, '')));
      // In place: a spare that waits may read this very file and no other.
      writeFileSync(path, [...names, ''].join('\n'), { mode: 0o600 });
      modules = loaded;
    },
  };
}
