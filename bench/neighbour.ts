import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { printTree } from '../src/program/print.ts';
import { parseProgram } from '../src/program/program.ts';
import { scopeTree } from '../src/program/scope/index.ts';
import type { ScopeGroup } from '../src/program/scope/scope.ts';
import type { Measurement } from './figures.ts';
import { quietMoment } from './machine.ts';
import { temporaryFolder } from './owned.ts';
import { armedInFile, startPlain } from './plain.ts';
import { costOf, withStats } from './stats.ts';

const ROUNDS = 7;
const CALLS = 200_000;
const PROGRAM = 'tracepoint:syscalls:sys_enter_getppid { @n = count(); }';

/** What a trace of one pod costs everybody else on the node. */
export const neighbour: Measurement = {
  name: 'neighbour',
  title: 'what an event costs a neighbour of the target, beside the unscoped program and beside no probe at all',
  async measure(say) {
    await using folder = await temporaryFolder();
    using cgroups = makeCgroups();
    const programs = {
      missed: scoped([cgroups.target]),
      hit: scoped([cgroups.own]),
      eight: scoped(others(cgroups.target, 8)),
      hundred: scoped(others(cgroups.target, 100)),
      unscoped: PROGRAM,
    };
    const kernel = { missed: [], hit: [], eight: [], hundred: [], unscoped: [] } as Samples;
    const wall = { missed: [], hit: [], eight: [], hundred: [], unscoped: [] } as Samples;
    const alone: number[] = [];
    return await withStats(async () => {
      for (let round = 1; round <= ROUNDS; round += 1) {
        say(`round ${round} of ${ROUNDS}`);
        await quietMoment();
        alone.push(nsOfACall());
        for (const name of NAMES) {
          const file = join(folder.path, 'out');
          await using child = startPlain(programs[name], file);
          await armedInFile(file);
          const before = costOf(child.pid);
          wall[name].push(nsOfACall());
          const after = costOf(child.pid);
          kernel[name].push((after.ns - before.ns) / (after.runs - before.runs));
        }
      }
      const ns = (what: string, kerntap: number[], plain: number[]) => ({ what, unit: 'ns', kerntap, plain });
      return [
        ns("in the kernel, a neighbour's event | the unscoped program's", kernel.missed, kernel.unscoped),
        ns('  a workload of 8 pods', kernel.eight, kernel.unscoped),
        ns('  a workload of 100 pods', kernel.hundred, kernel.unscoped),
        ns("in the kernel, the target's own event | the unscoped program's", kernel.hit, kernel.unscoped),
        ns("a neighbour's system call | without any probe", wall.missed, alone),
        ns('  with the unscoped program | without any probe', wall.unscoped, alone),
      ];
    });
  },
};

const NAMES = ['missed', 'hit', 'eight', 'hundred', 'unscoped'] as const;
type Samples = Record<(typeof NAMES)[number], number[]>;

/** Wall time of a system call of this process, Node's own share included. */
function nsOfACall(): number {
  const before = process.hrtime.bigint();
  for (let call = 0; call < CALLS; call += 1) void process.ppid; // asks the kernel each time
  return Number(process.hrtime.bigint() - before) / CALLS;
}

function scoped(groups: readonly ScopeGroup[]): string {
  const { tree, source } = parseProgram(PROGRAM);
  const kernel = { cgroups: 'ancestors', nestedPids: false, has: () => true } as const;
  return printTree(scopeTree(tree, source, { target: { groups }, kernel, points: () => [], unscoped: 'refuse' }).tree)
    .text;
}

/** Groups beside `group` that are nobody's. */
const others = ({ id, level }: ScopeGroup, count: number): readonly ScopeGroup[] =>
  Array.from({ length: count }, (_, index) => ({ id: id + BigInt(1_000_000 + index), level }));

/** As deep as a pod's cgroup is: this process in one of them, nobody in the other. */
function makeCgroups(): { own: ScopeGroup; target: ScopeGroup } & Disposable {
  const mount = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1];
  if (mount === undefined) throw new Error('there is no cgroup v2 here');
  const home = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  const top = join(mount, home, `kerntap-bench-${process.pid}`);
  const folders = [top, join(top, 'pods'), join(top, 'pods/own'), join(top, 'pods/target')];
  for (const folder of folders) mkdirSync(folder);
  const level = home.split('/').filter((part) => part !== '').length + 3;
  const groupOf = (name: string) => ({ id: statSync(join(top, 'pods', name), { bigint: true }).ino, level });
  const moveTo = (folder: string) => writeFileSync(join(folder, 'cgroup.procs'), String(process.pid));
  moveTo(join(top, 'pods/own'));
  return {
    own: groupOf('own'),
    target: groupOf('target'),
    [Symbol.dispose]() {
      moveTo(join(mount, home));
      for (const folder of folders.reverse()) rmdirSync(folder);
    },
  };
}
