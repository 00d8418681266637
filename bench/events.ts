import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import type { Figure, Measurement } from './figures.ts';
import { own, temporaryFolder } from './owned.ts';
import { armedInFile, startPlain } from './plain.ts';
import { type BenchServer, startServer } from './server.ts';

const SECONDS = 4;
const ROUNDS = 7;

interface Load {
  readonly name: string;
  readonly program: string;
  /** What makes the events, and ends by itself. */
  readonly command: (folder: string) => readonly string[];
}

// The count beside each print tells how many there really were.
const OPENS = 'tracepoint:syscalls:sys_enter_openat { printf("%s %s\\n", comm, str(args.filename)); @n = count(); }';
// Of dd alone: reading an event takes system calls, too, so that the flood would feed itself.
const CALLS =
  'tracepoint:raw_syscalls:sys_enter /comm == "dd"/ { printf("%d %s %d\\n", pid, comm, args.id); @n = count(); }';
/** Prints `perTick` lines a hundred times a second from within the kernel, where it costs next to no CPU. */
const lines = (perTick: number) => `interval:ms:10 /@ticks < ${100 * SECONDS}/ {
  @ticks++;
  for ($i : 0..${perTick}) { printf("%d %s %d\\n", pid, comm, $i); @n = count(); }
}`;

const opens = (rate: number) => (folder: string) => [join(folder, 'opens'), `${SECONDS}`, `${rate}`];
const nothing = () => ['sleep', `${SECONDS}`];
const dd = () => ['timeout', `${SECONDS}`, 'dd', 'if=/dev/zero', 'of=/dev/null', 'bs=1'];

const LOADS: readonly Load[] = [
  { name: '50,000 opens/s', program: OPENS, command: opens(50_000) },
  { name: 'opens without a pause', program: OPENS, command: opens(0) },
  { name: '100,000 lines/s', program: lines(1_000), command: nothing },
  { name: '500,000 lines/s', program: lines(5_000), command: nothing },
  { name: 'dd takes a CPU', program: CALLS, command: dd },
];

/** How many events a second are read, whether kept or counted as over the budget, and how many are lost. */
export const events: Measurement = {
  name: 'events',
  title: `events read while a generator runs for ${SECONDS} s, beside plain bpftrace that writes to a file`,
  async measure(say) {
    await using folder = await temporaryFolder();
    const canOpen = compileOpens(folder.path);
    if (!canOpen) say('there is no C compiler: without the opens');
    await using server = await startServer(['--watchdog', 'off']);
    const figures: Figure[] = [];
    for (const load of LOADS.filter(({ program }) => canOpen || program !== OPENS)) {
      const kerntap: Read[] = [];
      const plain: Read[] = [];
      for (let round = 1; round <= ROUNDS; round += 1) {
        say(`${load.name}, round ${round} of ${ROUNDS}`);
        plain.push(await readByPlain(load, folder.path));
        await server.settled();
        kerntap.push(await readByKerntap(load, server, folder.path));
        await server.settled();
      }
      const of = (pick: (read: Read) => number) => ({ kerntap: kerntap.map(pick), plain: plain.map(pick) });
      figures.push(
        {
          what: `${load.name}: read`,
          unit: '1/s',
          ...of(({ events, seconds }) => events / seconds),
          goal: { of: 'ratio', is: 'at least', value: 0.95 },
        },
        { what: '  lost of all there were', unit: '%', ...of(({ events, hits }) => (100 * (hits - events)) / hits) },
      );
    }
    return figures;
  },
};

const compileOpens = (folder: string): boolean =>
  spawnSync('cc', ['-O2', '-o', join(folder, 'opens'), join(import.meta.dirname, 'opens.c')]).status === 0;

interface Read {
  readonly events: number;
  /** How often the probe fired. */
  readonly hits: number;
  /** From the start of the generator until all was read. */
  readonly seconds: number;
}

async function generate([file = '', ...args]: readonly string[]): Promise<void> {
  const child = spawn(file, args, { stdio: 'ignore' });
  const exited = once(child, 'exit');
  await using _child = own({}, async () => {
    child.kill('SIGTERM');
    await exited;
  });
  await exited;
}

async function readByKerntap({ program, command }: Load, server: BenchServer, folder: string): Promise<Read> {
  const { run_id } = await server.ask('exec_program', { program, timeout: 60, wait: false });
  const startedMs = Date.now();
  await generate(command(folder));
  await server.call('manage_runs', { action: 'stop', run_id });
  const { timing, account, sections } = await server.ask('get_result', { run_id, section: '@n' });
  return {
    events: account.events + account.dropped_by_limit.events,
    hits: Number(sections.find(({ name }) => name === '@n')?.rows[0]?.at(-1)),
    seconds: (Date.parse(timing.ended ?? '') - startedMs) / 1_000,
  };
}

async function readByPlain({ program, command }: Load, folder: string): Promise<Read> {
  const file = join(folder, 'plain.json');
  // Ended as kerntap ends its runs: behind all that was printed.
  await using child = startPlain(`${program} self:signal:SIGUSR1 { exit(); }`, file);
  await armedInFile(file);
  const startedMs = Date.now();
  await generate(command(folder));
  while (child.exitCode === null) {
    child.kill('SIGUSR1');
    await Promise.race([child.ended, wait(1_000)]);
  }
  const seconds = (Date.now() - startedMs) / 1_000;
  let events = 0;
  let hits = Number.NaN;
  for await (const line of createInterface({ input: createReadStream(file, 'latin1') })) {
    if (line.startsWith('{"type": "printf"')) events += 1;
    else if (line.startsWith('{"type": "map", "data": {"@n"')) hits = Number(/\d+/.exec(line)?.[0]);
  }
  return { events, hits, seconds };
}
