import type { AttachPoint, Tree } from '../program/tree.ts';
import type { ResolvedTarget, TargetResolver } from './ports.ts';

/** bpftrace is handed the files as descriptors, since its sandbox hides the paths of other mount namespaces. */
const FIRST_FD = 9;

/** A program whose user probes are in files of its target. */
export interface Bound {
  readonly tree: Tree;
  /** Host paths, in the order of their descriptors. */
  readonly files: readonly string[];
  /** The same as the target sees them. */
  readonly shown: readonly string[];
}

const USER_KINDS = ['uprobe', 'uretprobe', 'usdt'];

/**
 * Looks up the files of user probes inside the target, so that `uprobe:libc:malloc` means the target's libc and never the
 * node's. One attach point becomes one for each file that containers of the target have under that name. Throws
 * `target.no_file`.
 */
export async function bindFiles(tree: Tree, target: ResolvedTarget, targets: TargetResolver): Promise<Bound> {
  const files: string[] = [];
  const shown: string[] = [];

  async function bind(point: AttachPoint): Promise<readonly AttachPoint[]> {
    const [path, ...rest] = point.parts;
    if (!USER_KINDS.includes(point.kind) || path === undefined) return [point];
    const found = await targets.files(target, path);
    return found.map((file) => {
      const index = indexIn(files, file.path);
      shown[index] = file.shown;
      return { ...point, parts: [`/proc/self/fd/${FIRST_FD + index}`, ...rest] };
    });
  }

  const probes: Tree['probes'][number][] = [];
  for (const probe of tree.probes) {
    const points: AttachPoint[] = [];
    for (const point of probe.points) points.push(...(await bind(point)));
    probes.push({ ...probe, points });
  }
  return { tree: { ...tree, probes }, files, shown };
}

/** Names in a text the files that bpftrace knows as descriptors only, such as what `probe` gives. */
export const withFileNames = (text: string, shown: readonly string[]): string =>
  shown.length === 0
    ? text
    : text.replace(/\/proc\/self\/fd\/(\d+)(?=:)/g, (found, fd) => shown[Number(fd) - FIRST_FD] ?? found);

function indexIn(list: string[], item: string): number {
  const index = list.indexOf(item);
  return index === -1 ? list.push(item) - 1 : index;
}
