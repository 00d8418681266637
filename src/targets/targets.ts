import { KerntapError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { PodSource, ResolvedTarget, Runtime, TargetResolver, Visible } from '../trace/ports.ts';
import { type Cgroups, findCgroups } from './cgroups.ts';
import { findFiles } from './files.ts';
import { listTargets } from './list.ts';
import { lookAt } from './look.ts';
import { createProcesses } from './processes.ts';
import { resolveSelector } from './resolve.ts';
import { createRowIds } from './row-ids.ts';
import { type NamedSelector, parseSelector, quoted, type Selector } from './selector.ts';
import { createSnapshots, visibleOf } from './snapshot.ts';

export interface TargetOptions {
  /** What an earlier one says of a container stands before what a later one says; that of cgroupfs comes last. */
  readonly runtimes: readonly Runtime[];
  readonly pods: PodSource | undefined;
  /**
   * The folder in which the host's `/proc` and `/sys/fs/cgroup` are mounted; empty when this process sees them at their own
   * places, as it does on the host and in a pod with `hostPID`.
   */
  readonly hostRoot: string;
  readonly nodeName: string;
  readonly log: Log;
  /** The level of our own cgroup in the kernel's count, for where /proc does not tell (`CgroupOptions.ownLevel`). */
  readonly ownLevel?: () => Promise<number | undefined>;
  /** How long one runtime may take before it is done without; they have shorter limits of their own for each question. */
  readonly runtimeMs?: number;
}

const EVERYTHING: Visible = () => true;

/** Finds what runs on this node, and what of it a caller names, anew with each call. */
export function createTargets(options: TargetOptions): TargetResolver {
  const { runtimes, pods, hostRoot, nodeName, log, ownLevel, runtimeMs = 6_000 } = options;
  const processes = createProcesses(hostRoot);
  const takeSnapshot = createSnapshots({ runtimes, pods, processes, log, runtimeMs });
  const rows = createRowIds();

  async function needCgroups(): Promise<Cgroups> {
    const cgroups = await findCgroups({ hostRoot, ownLevel });
    if (cgroups !== undefined) return cgroups;
    throw new KerntapError(
      'target.unsupported',
      `The cgroups of the node ${nodeName} are not visible to its kerntap.`,
      {
        remedy:
          "run it in the host's cgroup namespace, or mount the host's /sys/fs/cgroup and name its root by --host-root",
      },
    );
  }

  async function find(selector: NamedSelector, signal: AbortSignal, visible: Visible): Promise<ResolvedTarget> {
    const cgroups = await needCgroups();
    const whole = await takeSnapshot(cgroups, signal);
    const snapshot = visibleOf(whole, visible);
    return resolveSelector(selector, { cgroups, processes, snapshot, whole, visible, pods, nodeName, signal });
  }

  async function findRow(id: string, signal: AbortSignal, visible: Visible): Promise<ResolvedTarget> {
    const row = rows.find(id);
    if (row === undefined) throw unknownRow(id);
    const target = await resolve(row.selector, signal, visible).catch((error: unknown) => {
      // The row may be another caller's, and the sentence would name what it stands for.
      throw error instanceof KerntapError && error.code === 'target.not_found' ? unknownRow(id) : error;
    });
    if (row.startTicks !== undefined && target.containers[0]?.startTicks !== row.startTicks) {
      throw new KerntapError(
        'target.gone',
        `The process of row ${id} has ended, and its pid is that of another one now.`,
      );
    }
    return target;
  }

  async function resolve(text: string | undefined, signal: AbortSignal, visible = EVERYTHING): Promise<ResolvedTarget> {
    const selector: Selector = text === undefined ? { kind: 'node' } : parseSelector(text);
    switch (selector.kind) {
      case 'node':
        if (selector.name === undefined || selector.name === nodeName) return NODE;
        throw new KerntapError('target.elsewhere', `This is the node ${nodeName}, not ${selector.name}.`, {
          remedy: `ask the kerntap of the node ${selector.name}, or pass "node" for this one`,
        });
      case 'row':
        return findRow(selector.id, signal, visible);
      default:
        return find(selector, signal, visible);
    }
  }

  return {
    resolve,

    async list(filter, signal, visible = EVERYTHING) {
      const cgroups = await needCgroups();
      const snapshot = visibleOf(await takeSnapshot(cgroups, signal), visible);
      return listTargets(filter, { cgroups, processes, snapshot, visible, nodeName, idOf: rows.idOf });
    },

    async look(target) {
      const nothing = { atMs: Date.now(), containers: [], processes: 0 };
      const cgroups = await findCgroups({ hostRoot, ownLevel }).catch(() => undefined);
      if (cgroups === undefined) return nothing;
      const names = async () => {
        const { pods: known, containers } = await takeSnapshot(cgroups, new AbortController().signal);
        const all = [...known.flatMap((pod) => pod.containers), ...containers];
        return new Map(all.map(({ id, name }) => [id, name]));
      };
      return lookAt(target, { cgroups, processes, names }).catch(() => nothing);
    },

    async files(target, path) {
      const cgroups = target.kind === 'node' ? undefined : await needCgroups();
      return findFiles(target, path, { cgroups, processes, hostRoot });
    },
  };
}

const unknownRow = (id: string) =>
  new KerntapError(
    'target.not_found',
    `The row ${quoted(id)} of list_targets is not known, has expired, or stands for what is gone.`,
  );

const NODE: ResolvedTarget = {
  kind: 'node',
  name: 'node',
  tier: 'node',
  cgroups: [],
  containers: [],
  follows: true,
  notes: [],
};
