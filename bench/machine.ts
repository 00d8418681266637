import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';

/** Figures of two machines are not compared. */
export const machine = {
  kernel: /^[\d.]+/.exec(release())?.[0] ?? release(), // what a builder adds to it names his machine
  cpu: cpus()[0]?.model ?? 'unknown',
  cpus: cpus().length,
  memoryMb: Math.round(totalmem() / 2 ** 20),
  node: process.version,
};

/** What others did on the machine just before a measurement: the load average of a minute, the idle share of all CPUs. */
export interface Quiet {
  readonly load: number;
  readonly idle: number;
}

export async function lookAround(): Promise<Quiet> {
  const idle = await idleShare(2_000);
  return { load: Number(loadavg()[0]?.toFixed(2)), idle: Number(idle.toFixed(2)) };
}

/** Waits for a moment in which the CPUs have nothing to do, at most 10 s: so that a short sample is of itself alone. */
export async function quietMoment(): Promise<void> {
  for (let turn = 0; turn < 40 && (await idleShare(250)) < 0.9; turn += 1);
}

async function idleShare(ms: number): Promise<number> {
  const before = cpuTicks();
  await wait(ms);
  const after = cpuTicks();
  return (after.idle - before.idle) / (after.all - before.all);
}

function cpuTicks(): { idle: number; all: number } {
  const [, ...ticks] = readFileSync('/proc/stat', 'latin1').split('\n')[0]?.trim().split(/\s+/) ?? [];
  const counts = ticks.slice(0, 8).map(Number); // guest time is in user time already
  return { idle: (counts[3] ?? 0) + (counts[4] ?? 0), all: counts.reduce((sum, count) => sum + count, 0) };
}

export interface ProcessTimes {
  readonly parent: number;
  readonly state: string;
  /** User and system time in milliseconds; the kernel counts in ticks of 10 ms. */
  readonly cpuMs: number;
}

/** What /proc says of a process; undefined when there is none. */
export function timesOf(pid: number): ProcessTimes | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // from the state on, the third field of proc(5)
    return { state: fields[0] ?? '', parent: Number(fields[1]), cpuMs: (Number(fields[11]) + Number(fields[12])) * 10 };
  } catch {
    return undefined;
  }
}
