import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

/** One bpftrace of a server, and the ids of the BPF programs that it holds. */
export interface Holder {
  readonly pid: number;
  readonly programs: readonly number[];
}

/**
 * Remembers which BPF programs there are. `leftOver` names those that came since and belong to nobody, or to one of
 * `servers`: it looks until there are none, since the kernel frees them a moment after their process is gone.
 */
export function rememberPrograms(): { leftOver(servers: readonly number[]): Promise<readonly number[]> } {
  const before = new Set(loadedPrograms());
  return {
    async leftOver(servers) {
      const end = performance.now() + 15_000;
      for (;;) {
        const left = loadedPrograms().filter((id) => !before.has(id));
        const others = new Set(holdersOfOthers(servers).flatMap(({ programs }) => programs));
        const ours = left.filter((id) => !others.has(id));
        if (ours.length === 0 || performance.now() > end) return ours;
        await wait(100);
      }
    },
  };
}

/** The bpftraces of a server that have loaded programs, dead or alive server: their folder bears its pid. */
export const tracesOf = (server: number): readonly Holder[] =>
  holders().filter(({ pid, programs }) => programs.length > 0 && belongsTo(pid, server));

const holdersOfOthers = (servers: readonly number[]) =>
  holders().filter(({ pid }) => !servers.some((server) => belongsTo(pid, server)));

function belongsTo(pid: number, server: number): boolean {
  return new RegExp(`(?:^|\0)TMPDIR=[^\0]*/kerntap/${server}-`).test(read(`/proc/${pid}/environ`));
}

function holders(): Holder[] {
  return list('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => ({ pid: Number(pid), programs: programsOf(pid) }));
}

const programsOf = (pid: string) =>
  list(`/proc/${pid}/fdinfo`).flatMap((fd) => {
    const id = /^prog_id:\s*(\d+)$/m.exec(read(`/proc/${pid}/fdinfo/${fd}`))?.[1];
    return id === undefined ? [] : [Number(id)];
  });

// BPF_PROG_GET_NEXT_ID is a system call that Node has no way to make.
const NEXT_IDS = `
import ctypes, platform, struct
call, number = ctypes.CDLL(None).syscall, {'x86_64': 321, 'aarch64': 280}[platform.machine()]
at = 0
while True:
    attr = ctypes.create_string_buffer(struct.pack('<III', at, 0, 0), 12)
    if call(number, 11, attr, 12) != 0: break
    at = struct.unpack('<III', attr.raw)[1]
    print(at)
`;

/** The ids of all BPF programs in the kernel; where there is no Python, of those that a process holds. */
export function loadedPrograms(): readonly number[] {
  const { status, stdout } = spawnSync('python3', ['-c', NEXT_IDS], { encoding: 'utf8' });
  if (status === 0) return stdout.split('\n').filter(Boolean).map(Number);
  return [...new Set(holders().flatMap(({ programs }) => programs))];
}

/** What is gone meanwhile is empty. */
function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
