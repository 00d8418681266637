import { execFileSync } from 'node:child_process';
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Figure, Measurement } from './figures.ts';
import { temporaryFolder } from './owned.ts';
import { type BenchServer, PROJECT, startServer } from './server.ts';

const ROUNDS = 7;
const IDLE_MS = 10_000; // what a burst took is given back some seconds after it

/** What an agent does in a short session. */
const CALLS: readonly (readonly [tool: string, args: Record<string, unknown>])[] = [
  ['bpf_info', {}],
  ['list_probes', { filter: 'tracepoint:syscalls:*open*', fields: true }],
  ['list_probes', { filter: 'tcp retransmit' }],
  ['list_helpers', {}],
  ['list_helpers', { filter: 'str' }],
  ['exec_program', { program: 'BEGIN { printf("hello\\n"); }', timeout: 1 }],
  ['exec_program', { program: 'tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }', timeout: 1 }],
  ['exec_program', { program: 'profile:hz:99 { @[kstack] = count(); }', timeout: 1 }],
  ['exec_program', { program: 'BEGIN { }', check: true }],
  ['manage_runs', { action: 'list' }],
];

/** What the server itself holds when nobody asks it anything; its spare is a process of its own. */
export const memory: Measurement = {
  name: 'memory',
  title: `resident memory of the server after ${CALLS.length} calls and ${IDLE_MS / 1000} s without any`,
  async measure(say) {
    await using built = await build();
    const ways = [
      { name: 'built (dist/main.js)', main: join(built.path, 'dist/main.js'), all: [] as Resident[] },
      { name: 'sources, as npm start', main: join(PROJECT, 'src/main.ts'), all: [] as Resident[] },
    ];
    for (let round = 1; round <= ROUNDS; round += 1) {
      for (const { name, main, all } of ways) {
        say(`${name}, round ${round} of ${ROUNDS}`);
        await using server = await startServer([], main);
        all.push(await afterCalls(server));
      }
    }
    return ways.flatMap(({ name, all }): Figure[] => [
      {
        what: `${name}: resident`,
        unit: 'MB',
        kerntap: all.map(({ rss }) => rss),
        goal: { of: 'median', is: 'at most', value: 100 },
      },
      { what: '  of it not backed by files', unit: 'MB', kerntap: all.map(({ anonymous }) => anonymous) },
    ]);
  },
};

interface Resident {
  readonly rss: number;
  readonly anonymous: number;
}

async function afterCalls(server: BenchServer): Promise<Resident> {
  for (const [tool, args] of CALLS) await server.call(tool, args);
  await server.settled();
  await wait(IDLE_MS);
  const status = readFileSync(`/proc/${server.pid}/status`, 'latin1');
  const mb = (name: string) => Number(new RegExp(`^${name}:\\s*(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
  return { rss: mb('VmRSS'), anonymous: mb('RssAnon') };
}

/** The package as it is installed: built files, with what they need beside them. */
async function build(): Promise<{ readonly path: string } & AsyncDisposable> {
  const folder = await temporaryFolder();
  const tsc = join(PROJECT, 'node_modules/typescript/bin/tsc');
  const args = [tsc, '-p', join(PROJECT, 'tsconfig.build.json'), '--outDir', join(folder.path, 'dist')];
  execFileSync(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  for (const name of ['package.json', 'node_modules', 'seccomp', '.cache']) {
    symlinkSync(join(PROJECT, name), join(folder.path, name));
  }
  return folder;
}
