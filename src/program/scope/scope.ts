import type { Position } from '../lexer.ts';
import type { AttachPoint, Tree } from '../tree.ts';

/**
 * By what an event is known to be the target's: the current task (T), a socket (S), a packet (P), a task that is an argument
 * (A), a block request (B), a key that a scoped probe stored (M), what an iterator is at (I), or nothing (N).
 */
export type ScopeClass = 'T' | 'S' | 'P' | 'A' | 'B' | 'M' | 'I' | 'N';

export interface Field {
  readonly name: string;
  /** As C writes it: `struct sock *`, `char[16]`, `const void *`. */
  readonly type: string;
}

/** One attach point of this node, with what it hands to a probe. */
export interface Point {
  /** In full, without the kernel's own module: `tracepoint:sched:sched_switch`, `rawtracepoint:sched_switch`, `kprobe:vfs_read`. */
  readonly name: string;
  /** What `args.NAME` reads there. */
  readonly fields: readonly Field[];
  /** What `arg0`, `arg1`, … are; for a tracepoint those of the raw tracepoint of that name. Empty where BTF does not tell. */
  readonly parameters: readonly Field[];
}

/** What an attach point, which may hold wildcards, stands for on this node. Empty for kinds that are not listed (`interval`) and for a miss. */
export type PointLookup = (point: AttachPoint) => readonly Point[];

/** A cgroup that is the target's with all that is nested below. `level` counts folders below the mount: 1 is its child. */
export interface ScopeGroup {
  readonly id: bigint;
  readonly level: number;
}

/** What of a target the kernel can compare. */
export interface ScopeTarget {
  /** In the hierarchy of cgroup v2, or of the v1 memory controller where `ScopeKernel.cgroups` says so. */
  readonly groups: readonly ScopeGroup[];
  /** Instead of groups, for a pod without a folder of its own: containers are children of the mount whose names begin so. */
  readonly namePrefix?: string;
  /** Only these processes of the groups: `curtask->tgid` is one of them, too. Numbers of the first pid namespace. */
  readonly pids?: readonly number[];
  /** Inode of the target's network namespace; absent when it is the node's own (hostNetwork) or not known. */
  readonly netns?: bigint;
  /** In the hierarchy of the io controller; absent where that is off. */
  readonly ioGroups?: readonly ScopeGroup[];
  /** Ids of all cgroups below the groups when the target was resolved; only `id_set` needs them. */
  readonly nested?: readonly bigint[];
}

/** How this kernel lets a task's cgroup be found. */
export interface ScopeKernel {
  /** `ancestors` from 6.1, `ancestor_ids` before, `v1_memory` where pods are in v1 only, `id_set` where kernel memory cannot be read. */
  readonly cgroups: 'ancestors' | 'ancestor_ids' | 'v1_memory' | 'id_set';
  /** True where the server's pid namespace is not the initial one, so that bpftrace's `pid` and `tid` are 0 or collide. */
  readonly nestedPids: boolean;
  /** Whether the kernel has these types, by BTF; a rule that reads a field which is not there is not used. */
  readonly has: (type: string, field: string) => boolean;
}

export interface ScopeRequest {
  readonly target: ScopeTarget;
  readonly kernel: ScopeKernel;
  readonly points: PointLookup;
  /** Whether `comm`, `pid` and `tid` of a task that is not the target's are hidden; shown when absent. */
  readonly strangers?: 'hide' | 'show';
  /** What becomes of a probe that no rule can scope: refused, or node-wide and marked so. */
  readonly unscoped: 'refuse' | 'allow';
}

/** Which rule one of the caller's attach points got. */
export interface AppliedRule {
  /** As the caller wrote it, and where. */
  readonly point: string;
  readonly at?: Position;
  readonly class: ScopeClass;
  /** In words: `task's cgroup`, `socket's cgroup`, `packet's netns`, `woken task`, `request's cgroup`, `start key`, `node-wide`. */
  readonly owner: string;
  /** How many attach points of the node it stands for. */
  readonly points: number;
  /** What a reader must know, one sentence each, such as that kworkers are not counted. */
  readonly notes: readonly string[];
}

export interface Scoped {
  /** What became of one attach point comes in the order of its rules; points of ours have no span. */
  readonly tree: Tree;
  readonly rules: readonly AppliedRule[];
}
