import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { NodeCost, ProbeCost } from '../trace/ports.ts';

/** Reads what the probes of one bpftrace cost the kernel, from /proc/PID/fdinfo (kernel/bpf/syscall.c). */
export interface CostMeter {
  /** Takes a sample when the last one is older than `ms`. */
  sample(olderThanMs: number): void;
  /** Takes no more samples, and tells what the last one says; figures that could not be read are absent. */
  end(): { readonly cost?: NodeCost; readonly missed?: number };
}

const SAMPLE_MS = 250;
const WINDOW_MS = 1_000;
/** A run may cost this share of one CPU over a second. */
export const MAX_CPU_SHARE = 0.25;

interface Sample {
  readonly atMs: number;
  readonly timeNs: number;
  readonly missed: number;
  readonly probes: readonly ProbeCost[];
}

/**
 * Measures from now on, when all probes are attached; `own` are those of the program that are ours. `timed` tells whether the kernel takes run times. `onOver` is
 * called at most once, when the run has cost more than its share.
 */
export function startCostMeter(
  pid: number,
  options: {
    own: { first: number; last: number };
    timed: boolean;
    beforeSample: () => void;
    onOver?: (() => void) | undefined;
  },
): CostMeter {
  const programs = findPrograms(pid, options.own);
  const startedMs = performance.now();
  let window: Sample[] = [];
  let last: Sample | undefined;
  let over = false;

  const sample = (olderThanMs: number) => {
    const atMs = performance.now();
    if (last !== undefined && atMs - last.atMs < olderThanMs) return;
    const taken = takeSample(pid, programs, atMs);
    if (taken === undefined) return; // the process is gone: the last one stands
    last = taken;
    const reference = window.findLast((old) => atMs - old.atMs >= WINDOW_MS);
    window = [...window.filter((old) => old === reference || atMs - old.atMs < WINDOW_MS), taken];
    if (over || reference === undefined || options.onOver === undefined) return;
    if (shareOf(taken.timeNs - reference.timeNs, atMs - reference.atMs) <= MAX_CPU_SHARE) return;
    over = true;
    options.onOver();
  };
  sample(0);
  const timer = setInterval(() => {
    options.beforeSample();
    sample(0);
  }, SAMPLE_MS);

  return {
    sample,
    end() {
      clearInterval(timer);
      if (last === undefined) return {};
      const { timeNs, missed, probes, atMs } = last;
      if (!options.timed) return { missed };
      const runs = probes.reduce((sum, probe) => sum + probe.runs, 0);
      // A run that was over at once is set against one sample's time.
      const cpuShare = shareOf(timeNs, Math.max(atMs - startedMs, SAMPLE_MS));
      return { missed, cost: { timeNs, runs, cpuShare, probes } };
    },
  };
}

const shareOf = (timeNs: number, ms: number) => timeNs / (ms * 1e6);

interface LoadedProgram {
  readonly fd: string;
  readonly name?: string;
}

/** The programs that a bpftrace holds, with the names of what they are attached to. They stay the same once attached. */
function findPrograms(pid: number, own: { first: number; last: number }): readonly LoadedProgram[] {
  const programs: { fd: string; id: string | undefined }[] = [];
  const names = new Map<string, Set<string>>();
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const kind = readlinkSync(`/proc/${pid}/fd/${fd}`);
      if (!kind.startsWith('anon_inode:bpf')) continue;
      const info = readInfo(pid, fd);
      const id = info.get('prog_id');
      if (kind === 'anon_inode:bpf-prog') programs.push({ fd, id });
      const name = info.get('tp_name') ?? info.get('name');
      if (kind !== 'anon_inode:bpf_link' || id === undefined || name === undefined) continue;
      names.set(id, (names.get(id) ?? new Set()).add(info.has('offset') ? `${name}+${info.get('offset')}` : name));
    }
  } catch {
    return []; // gone already
  }
  const named = programs
    .sort((a, b) => Number(a.fd) - Number(b.fd))
    .map(({ fd, id }): LoadedProgram => {
      const [name, ...more] = names.get(id ?? '') ?? [];
      if (name === undefined) return { fd };
      return { fd, name: more.length === 0 ? name : `${name} and ${more.length} more` };
    });
  // bpftrace loads in the order of the text.
  return named.slice(own.first, Math.max(0, named.length - own.last));
}

function takeSample(pid: number, programs: readonly LoadedProgram[], atMs: number): Sample | undefined {
  if (programs.length === 0) return undefined;
  let timeNs = 0;
  let missed = 0;
  const probes: ProbeCost[] = [];
  try {
    for (const { fd, name } of programs) {
      const info = readInfo(pid, fd);
      const [time, runs, misses] = ['run_time_ns', 'run_cnt', 'recursion_misses'].map((key) => Number(info.get(key)));
      if (time === undefined || runs === undefined || misses === undefined) return undefined;
      if (![time, runs, misses].every(Number.isFinite)) return undefined;
      timeNs += time;
      missed += misses;
      probes.push({ ...(name === undefined ? {} : { name }), runs, timeNs: time });
    }
  } catch {
    return undefined;
  }
  return { atMs, timeNs, missed, probes };
}

function readInfo(pid: number, fd: string): ReadonlyMap<string, string> {
  const text = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1');
  return new Map(Array.from(text.matchAll(/^(\w+):\s*(.*)$/gm), ([, key = '', value = '']) => [key, value]));
}
