import { randomUUID } from 'node:crypto';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { ScopeGroup } from '../../src/program/scope/scope.ts';
import { endCgroup } from './containers/cgroups.ts';
import { cgroupMount } from './containers/machine.ts';

export interface Cgroups extends AsyncDisposable {
  /** Makes `name` (`pod/c1`) with its parents and gives its folder. */
  make(name: string): string;
  folder(name: string): string;
  group(name: string): ScopeGroup;
  enter(name: string, pid: number): void;
}

/** A tree of cgroups below the folder `root` in the hierarchy at `mount`; it ends with all processes in it. */
export function makeCgroups(
  names: readonly string[],
  { mount = cgroupMount ?? '/absent', root = `kerntap-test-${randomUUID()}` } = {},
): Cgroups {
  const folder = (name: string) => join(mount, root, name);
  const make = (name: string) => {
    mkdirSync(folder(name), { recursive: true });
    return folder(name);
  };
  make('');
  for (const name of names) make(name);
  return {
    make,
    folder,
    group: (name) => ({
      id: statSync(folder(name), { bigint: true }).ino,
      level: relative(mount, folder(name)).split('/').length,
    }),
    enter: (name, pid) => writeFileSync(join(folder(name), 'cgroup.procs'), String(pid)),
    [Symbol.asyncDispose]: () => endCgroup(folder('')),
  };
}
