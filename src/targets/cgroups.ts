import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { ScopeGroup } from '../program/scope/scope.ts';
import { textOf } from './processes.ts';

/**
 * The cgroups of this node. Paths are the host's, as /proc/PID/cgroup has them for a reader in the first cgroup namespace:
 * `/kubepods.slice/…`; folders are ours.
 */
export interface Cgroups {
  /** In which hierarchy targets are compared: that of cgroup v2 wherever it is mounted, else that of v1's memory controller. */
  readonly hierarchy: 'v2' | 'v1_memory';
  folderOf(path: string): string;
  pathIn(folder: string): string;
  /** A cgroup with every one below it, parents first; nothing when it is gone. */
  paths(from?: string): Iterable<string>;
  children(path: string): readonly string[];
  exists(path: string): boolean;
  /** Undefined when there is no such cgroup. */
  groupOf(path: string): ScopeGroup | undefined;
  /** The same in the hierarchy of the io controller; undefined where that does not count for this cgroup alone. */
  ioGroupOf(path: string): ScopeGroup | undefined;
  /** Undefined for a process that is gone or hidden. */
  pathOf(pid: number): string | undefined;
  /** Processes in it and below; 0 stands for one that our pid namespace does not show. */
  processes(path: string): readonly number[];
}

export interface CgroupOptions {
  /** Where the host's root folder is mounted, empty when we see it as it is. */
  readonly hostRoot: string;
  /**
   * How deep our own cgroup is in the kernel's count. Asked only where /proc cannot tell: in a cgroup namespace of our own
   * from which nothing of the host's is mounted, as in a node that is a container itself.
   */
  readonly ownLevel?: (() => Promise<number | undefined>) | undefined;
}

/** include/linux/proc_ns.h, PROC_CGROUP_INIT_INO. */
const INITIAL_CGROUP_NAMESPACE = 'cgroup:[4026531835]';

const MAX_FOLDERS = 20_000;
const MAX_DEPTH = 64;

/** Finds the hierarchy and how it is mounted now. Undefined when none is visible, or when no level can be known. */
export async function findCgroups({ hostRoot, ownLevel }: CgroupOptions): Promise<Cgroups | undefined> {
  const proc = join(hostRoot || '/', 'proc');
  const mounts = parseMountinfo(textOf(`${proc}/self/mountinfo`) ?? '').filter(
    ({ type, point }) => type.startsWith('cgroup') && textOf(`${point}/cgroup.procs`) !== undefined,
  );
  const find = (fits: (mount: Mount) => boolean) => widest(mounts.filter(fits), hostRoot);
  const v2 = find(({ type }) => type === 'cgroup2');
  const mount = v2 ?? find(({ type, options }) => type === 'cgroup' && options.includes('memory'));
  if (mount === undefined) return undefined;
  const blkio = find(({ type, options }) => type === 'cgroup' && options.includes('blkio'));

  const controller = v2 ? '' : 'memory';
  const tree = createTree(mount);
  const place = findPlace(mount, proc, tree, controller);
  const base = await place.base(ownLevel);
  if (base === undefined) return undefined;

  const groupIn = ({ folderOf }: Pick<Tree, 'folderOf'>, path: string): ScopeGroup | undefined => {
    try {
      return { id: statSync(folderOf(path), { bigint: true }).ino, level: base + namesIn(path).length };
    } catch {
      return undefined;
    }
  };

  return {
    hierarchy: v2 ? 'v2' : 'v1_memory',
    folderOf: tree.folderOf,
    pathIn: tree.pathIn,
    paths: tree.paths,
    children: (path) => foldersIn(tree.folderOf(path)).map((name) => (path === '/' ? `/${name}` : `${path}/${name}`)),
    exists: (path) => isFolder(tree.folderOf(path)),
    groupOf: (path) => groupIn(tree, path),
    ioGroupOf(path) {
      // A cgroup without the controller is counted with the nearest one above that has it.
      if (v2 && controllersOf(tree.folderOf(path)).includes('io')) return groupIn(tree, path);
      return blkio && path !== '/' ? groupIn(createTree(blkio), path) : undefined;
    },
    pathOf(pid) {
      const shown = cgroupIn(textOf(`${proc}/${pid}/cgroup`), controller);
      return shown === undefined ? undefined : place.hostPath(shown);
    },
    processes: (path) => [...processesIn(tree.folderOf(path), true)],
  };
}

// -------------------------------------------------------------------------------------------------------------- mounts

export interface Mount {
  /** Which folder of its file system is mounted; relative to our cgroup namespace where that is not the first. */
  readonly root: string;
  readonly point: string;
  readonly type: string;
  readonly options: readonly string[];
}

/** Reads /proc/PID/mountinfo (proc_pid_mountinfo(5)). */
export function parseMountinfo(text: string): readonly Mount[] {
  return text.split('\n').flatMap((line) => {
    const [before = '', after] = line.split(' - ');
    const [, , , root, point] = before.split(' ');
    const [type, , options = ''] = after?.split(' ') ?? [];
    if (root === undefined || point === undefined || type === undefined) return [];
    return [{ root: unmangle(root), point: unmangle(point), type, options: options.split(',') }];
  });
}

/** The kernel writes space, tab, line break and backslash as `\040` and so on (mangle_path of fs/seq_file.c). */
const unmangle = (text: string): string =>
  text.replace(/\\([0-3][0-7]{2})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));

const isAbove = (root: string) => /^(?:\/\.\.)+$/.test(root);

/** The mount that shows most of the host: of what is above our namespace, of the whole, then of the largest part. */
function widest(mounts: readonly Mount[], hostRoot: string): Mount | undefined {
  const below = mounts.filter(({ point }) => hostRoot !== '' && point.startsWith(`${hostRoot}/`));
  const rank = ({ root }: Mount) => (isAbove(root) ? -root.length : root.length);
  return (below.length > 0 ? below : mounts).toSorted(
    (a, b) => rank(a) - rank(b) || a.point.length - b.point.length,
  )[0];
}

// ---------------------------------------------------------------------------------------------------------------- tree

type Tree = Pick<Cgroups, 'folderOf' | 'pathIn' | 'paths'>;

function createTree({ root, point }: Mount): Tree {
  const top = isAbove(root) || root === '/' ? '' : root;
  const folderOf = (path: string) => {
    const inside = path === top || path.startsWith(`${top}/`) ? path.slice(top.length) : path;
    return inside === '/' || inside === '' ? point : point + inside;
  };
  return {
    folderOf,
    pathIn: (folder) => top + folder.slice(point.length) || '/',
    *paths(from = top) {
      let left = MAX_FOLDERS;
      const waiting = isFolder(folderOf(from || '/')) ? [{ path: from === '/' ? '' : from, depth: 0 }] : [];
      for (let at = waiting.pop(); at !== undefined && left-- > 0; at = waiting.pop()) {
        const { path, depth } = at;
        yield path || '/';
        if (depth < MAX_DEPTH) {
          for (const name of foldersIn(folderOf(path || '/')).reverse()) {
            waiting.push({ path: `${path}/${name}`, depth: depth + 1 });
          }
        }
      }
    },
  };
}

function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
      .sort();
  } catch {
    return [];
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

const controllersOf = (folder: string): readonly string[] =>
  (textOf(`${folder}/cgroup.controllers`) ?? '').trim().split(' ');

const namesIn = (path: string): readonly string[] => path.split('/').filter((name) => name !== '');

function* processesIn(folder: string, isTop: boolean): Iterable<number> {
  yield* numbersIn(`${folder}/cgroup.procs`) ?? (isTop ? processesOfThreads(folder) : []);
  for (const name of foldersIn(folder)) yield* processesIn(`${folder}/${name}`, false);
}

// A threaded cgroup refuses to list processes (cgroup-v2.rst, "Threads"); the domain above it lists them.
function processesOfThreads(folder: string): Iterable<number> {
  const threads = numbersIn(`${folder}/cgroup.threads`) ?? [];
  return new Set(
    threads.map((tid) => Number(/^Tgid:\s*(\d+)$/m.exec(textOf(`/proc/${tid}/status`) ?? '')?.[1] ?? tid)),
  );
}

function numbersIn(path: string): readonly number[] | undefined {
  try {
    return readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map(Number);
  } catch {
    return undefined;
  }
}

// ----------------------------------------------------------------------------------------------------------- namespace

/** The path of the line for `controller`, which is empty for cgroup v2: `0::/path`, `4:memory:/path`. */
export function cgroupIn(lines: string | undefined, controller: string): string | undefined {
  for (const line of lines?.split('\n') ?? []) {
    const [, names = '', path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    // A cgroup that was removed while its last process exits is marked so.
    if (names.split(',').includes(controller)) return path?.replace(/ \(deleted\)$/, '');
  }
  return undefined;
}

interface Place {
  /** What /proc/PID/cgroup shows us, as the host sees it; undefined when it is outside of all that we can see. */
  hostPath(shown: string): string | undefined;
  /** How many levels the kernel counts above the paths that we see. */
  base(ownLevel: CgroupOptions['ownLevel']): Promise<number | undefined>;
}

/** Where our cgroup namespace is in the host's hierarchy (cgroup_namespaces(7)). */
function findPlace(mount: Mount, proc: string, tree: Tree, controller: string): Place {
  if (linkOf(`${proc}/self/ns/cgroup`) === INITIAL_CGROUP_NAMESPACE) {
    return { hostPath: (shown) => shown, base: async () => 0 };
  }
  const shownOwn = () => cgroupIn(textOf(`${proc}/self/cgroup`), controller) ?? '/';
  if (!isAbove(mount.root)) {
    return {
      hostPath: (shown) => (shown.startsWith('/..') ? undefined : shown),
      async base(ownLevel) {
        const level = await ownLevel?.();
        return level === undefined ? undefined : level - namesIn(shownOwn()).length;
      },
    };
  }
  // The folder that holds us, less what is shown of it, is the root of our namespace.
  let found: string | undefined;
  const root = () => {
    found ??= pathWith(process.pid, tree);
    return found?.slice(0, found.length - (shownOwn() === '/' ? 0 : shownOwn().length));
  };
  return {
    hostPath(shown) {
      const own = root();
      if (own === undefined) return undefined;
      const [ups = ''] = /^(?:\/\.\.)*/.exec(shown) ?? [];
      const kept = namesIn(own).slice(0, namesIn(own).length - ups.length / 3);
      return `/${[...kept, ...namesIn(shown.slice(ups.length))].join('/')}`;
    },
    base: async () => 0,
  };
}

function pathWith(pid: number, { paths, folderOf }: Tree): string | undefined {
  for (const path of paths()) {
    if (numbersIn(`${folderOf(path)}/cgroup.procs`)?.includes(pid)) return path;
  }
  return undefined;
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
