import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Keeps the kernel's function names in the file `path`, one a line; the result writes them again when modules have come
 * or gone. bpftrace looks up functions and raw tracepoints in it: its own source, available_filter_functions, cannot be
 * read under lockdown, and then nothing has an attach point.
 */
export function createFunctionNames(path: string, proc = '/proc'): { refresh(): void } {
  const read = (name: string) => {
    try {
      return readFileSync(join(proc, name), 'latin1');
    } catch {
      return ''; // without names bpftrace still has tracepoints, intervals and profiles
    }
  };
  let modules: string | undefined;
  return {
    refresh() {
      const loaded = read('modules').replaceAll(/ .*/g, ''); // the rest of a line changes with every user of a module
      if (loaded === modules) return;
      const names = new Set(Array.from(read('kallsyms').matchAll(/^\S+ [tTwW] (\S+)/gm), ([, name]) => name));
      // In place: a spare that waits may read this very file and no other.
      writeFileSync(path, [...names, ''].join('\n'), { mode: 0o600 });
      modules = loaded;
    },
  };
}
