import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { startTimeOf } from '../process-start.ts';
import { canonicalAddress } from './selector.ts';

/** What /proc of the host tells of its processes. Everything is undefined for a process that is gone or hidden. */
export interface Processes {
  readonly folder: string;
  /** Clock ticks since boot; a pid with another start is another process. */
  startTicks(pid: number): bigint | undefined;
  startedMs(startTicks: bigint): number | undefined;
  /** What the process calls itself: hostile text. */
  comm(pid: number): string | undefined;
  /** The process that a thread's number belongs to; its own for a process. */
  leaderOf(pid: number): number | undefined;
  namespace(pid: number, kind: 'net' | 'mnt' | 'pid'): bigint | undefined;
  /** True when pid numbers of this /proc are those of the kernel's first pid namespace, as programs see them. */
  readonly initialPids: boolean;
  /** True for the network namespace of the node itself. */
  isNodeNetwork(netns: bigint): boolean;
  /** Addresses in the network namespace of a process, loopback left out. */
  addresses(pid: number): readonly string[];
  all(): readonly number[];
}

// include/linux/proc_ns.h, PROC_PID_INIT_INO.
const INITIAL_PID_NAMESPACE = 0xeffffffcn;

/** USER_HZ, which every architecture that Node runs on has at 100. */
const TICKS_PER_SECOND = 100;

/** `hostRoot` is where the host's root folder is mounted, empty when we see it as it is. */
export function createProcesses(hostRoot: string): Processes {
  const folder = join(hostRoot || '/', 'proc');
  const text = (pid: number, file: string) => textOf(`${folder}/${pid}/${file}`);
  const namespace = (pid: number | 'self', kind: string) => {
    try {
      const inode = /\[(\d+)\]$/.exec(readlinkSync(`${folder}/${pid}/ns/${kind}`))?.[1];
      return inode === undefined ? undefined : BigInt(inode);
    } catch {
      return undefined;
    }
  };
  // Where the first process hides itself from us, we are taken for a process of the node.
  const nodeNamespace = (kind: string) => namespace(1, kind) ?? namespace('self', kind);
  let bootMs: number | undefined;

  return {
    folder,
    startTicks(pid) {
      const ticks = startTimeOf(pid, folder);
      return ticks === undefined ? undefined : BigInt(ticks);
    },
    startedMs(startTicks) {
      bootMs ??= Number(/^btime (\d+)$/m.exec(textOf(`${folder}/stat`) ?? '')?.[1]) * 1_000;
      return Number.isNaN(bootMs) ? undefined : bootMs + (Number(startTicks) * 1_000) / TICKS_PER_SECOND;
    },
    comm: (pid) => text(pid, 'comm')?.replace(/\n$/, ''),
    leaderOf(pid) {
      const leader = /^Tgid:\s*(\d+)$/m.exec(text(pid, 'status') ?? '')?.[1];
      return leader === undefined ? undefined : Number(leader);
    },
    namespace,
    get initialPids() {
      return nodeNamespace('pid') === INITIAL_PID_NAMESPACE;
    },
    isNodeNetwork: (netns) => nodeNamespace('net') === netns,
    addresses: (pid) => [
      ...ipv4Addresses(text(pid, 'net/fib_trie') ?? ''),
      ...ipv6Addresses(text(pid, 'net/if_inet6') ?? ''),
    ],
    all() {
      try {
        return readdirSync(folder)
          .filter((name) => /^\d+$/.test(name))
          .map(Number);
      } catch {
        return [];
      }
    },
  };
}

/** Addresses that fib_trie has as `/32 host LOCAL`. */
function ipv4Addresses(trie: string): readonly string[] {
  const found = [...trie.matchAll(/\|-- (\S+)\n\s+\/32 host LOCAL/g)].map(([, address = '']) => address);
  return [...new Set(found)].filter((address) => !address.startsWith('127.'));
}

/** if_inet6 has a line an address, whose first field are its 32 digits without colons. */
function ipv6Addresses(lines: string): readonly string[] {
  const found = [...lines.matchAll(/^([0-9a-f]{32}) /gm)].map(([, digits = '']) =>
    canonicalAddress((digits.match(/.{4}/g) ?? []).join(':')),
  );
  return found.filter((address) => address !== undefined && address !== '::1') as string[];
}

/** A file of /proc or of a cgroup, which the kernel makes up in memory; undefined when it is not there. */
export function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
