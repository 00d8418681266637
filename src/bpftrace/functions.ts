import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The names of the modules that are loaded, one a line. */
export const readModules = (root: string): string => textOf(root, 'proc/modules').replaceAll(/ .*/g, ''); // the rest of a line changes with every user of a module

/** What bpftrace leaves out of wildcards: parts of inlined functions, and what makes a kernel unstable (src/symbols/kernel.cpp). */
const LEFT_OUT =
  /\.part\.|^(?:rcu_|__ftrace_invalid_address__|(?:arch_cpu_idle|default_idle|bpf_dispatcher_xdp_func)\b)/;

/**
 * The names of the kernel's functions, each once; that of a module is followed by a space and `[MODULE]`. They are what can
 * be traced, where the kernel tells; under lockdown it does not, and they are all that it has.
 */
export function readFunctions(root: string): ReadonlySet<string> {
  const traceable = ['tracing', 'debug/tracing']
    .map((folder) => textOf(root, `sys/kernel/${folder}/available_filter_functions`))
    .find((text) => text !== '');
  const names = traceable === undefined ? symbols(root) : traceable.trimEnd().split('\n');
  return new Set(names.filter((name) => !LEFT_OUT.test(name)));
}

const symbols = (root: string): string[] =>
  Array.from(textOf(root, 'proc/kallsyms').matchAll(/^\S+ [tTwW] (\S+)(?:\t(\[\w+\]))?/gm), ([, name = '', module]) =>
    module === undefined ? name : `${name} ${module}`,
  );

function textOf(root: string, path: string): string {
  try {
    return readFileSync(join(root, path), 'latin1');
  } catch {
    return ''; // without names bpftrace still has tracepoints, intervals and profiles
  }
}

/**
 * Keeps the kernel's function names in the file `path`, one a line; the result writes them again when modules have come
 * or gone. bpftrace looks up functions and raw tracepoints in it: its own source, available_filter_functions, cannot be
 * read under lockdown, and then nothing has an attach point. Of all functions a wildcard would take some that cannot be
 * traced, and the kernel then attaches none.
 */
export function createFunctionNames(path: string, root = '/'): { refresh(): void } {
  let modules: string | undefined;
  return {
    refresh() {
      const loaded = readModules(root);
      if (loaded === modules) return;
      // In place: a spare that waits may read this very file and no other.
      writeFileSync(path, [...readFunctions(root), ''].join('\n'), { mode: 0o600 });
      modules = loaded;
    },
  };
}
