import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const SWITCH = '/proc/sys/kernel/bpf_stats_enabled';

/** Has the kernel time its BPF programs while `work` lasts. */
export async function withStats<T>(work: () => Promise<T>): Promise<T> {
  const before = readFileSync(SWITCH, 'latin1');
  writeFileSync(SWITCH, '1');
  try {
    return await work();
  } finally {
    writeFileSync(SWITCH, before);
  }
}

/** What the tracepoint's program of a bpftrace has cost so far: its kind is 5, BPF_PROG_TYPE_TRACEPOINT. */
export function costOf(pid: number | undefined): { readonly ns: number; readonly runs: number } {
  const infos = readdirSync(`/proc/${pid}/fdinfo`).map((fd) => readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1'));
  const info = infos.find((text) => /^prog_type:\s*5$/m.test(text)) ?? '';
  const [ns, runs] = ['run_time_ns', 'run_cnt'].map((key) =>
    Number(new RegExp(`^${key}:\\s*(\\d+)`, 'm').exec(info)?.[1]),
  );
  return { ns: ns ?? Number.NaN, runs: runs ?? Number.NaN };
}
