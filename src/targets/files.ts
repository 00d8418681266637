import { readdirSync, statfsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { KerntapError } from '../errors.ts';
import type { ResolvedTarget, TargetFile } from '../trace/ports.ts';
import type { Cgroups } from './cgroups.ts';
import type { Processes } from './processes.ts';
import { resolveInRoot } from './root.ts';
import { quoted } from './selector.ts';

/** How many processes of a target are asked for what they have mapped. */
const MAX_PROCESSES = 500;
/** More files under one name than one program can have probes in. */
const MAX_FILES = 32;
const NAMED = 12;

/** Where programs and libraries are in most images, for a name that no process has mapped. */
const FOLDERS = [
  ...['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'],
  ...['/lib', '/usr/lib', '/lib64', '/usr/lib64', '/usr/local/lib'],
];

export interface FileDependencies {
  readonly cgroups: Cgroups | undefined;
  readonly processes: Processes;
  readonly hostRoot: string;
}

/** What `path` is inside the target, or all that its processes run, one an inode. Throws `target.no_file`. */
export async function findFiles(
  target: ResolvedTarget,
  path: string | undefined,
  deps: FileDependencies,
): Promise<readonly TargetFile[]> {
  if (path?.startsWith('/')) {
    const found = byInode(rootsOf(target, deps).flatMap((root) => fileIn(root, path)));
    if (found.length > 0) return checked(found, target, path);
    throw noFile(target, path, 'no file there');
  }
  if (path === '' || path?.includes('/')) throw noFile(target, path, 'neither an absolute path nor the name of a file');

  const mapped = await mappedFiles(pidsOf(target, deps), deps.processes);
  if (path === undefined) return byInode(mapped.flatMap(({ find }) => find()));
  const found = byInode(mapped.filter(({ name }) => isCalled(path, name)).flatMap(({ find }) => find()));
  if (found.length > 0) return checked(found, target, path);
  const lying = byInode(rootsOf(target, deps).flatMap((root) => lookedUp(root, path)));
  if (lying.length > 0) return checked(lying, target, path);

  // Names that an image chose are shown only where they are as plain as a name of a program is.
  const names = [...new Set(mapped.map(({ name }) => name))].filter((name) => /^[\w.+-]{1,60}$/.test(name)).sort();
  const some = names.slice(0, NAMED).join(', ');
  throw noFile(target, path, names.length > 0 ? `no such file; its processes have ${some}` : 'no such file');
}

function checked(files: readonly TargetFile[], target: ResolvedTarget, path: string): readonly TargetFile[] {
  if (files.length <= MAX_FILES) return files;
  throw new KerntapError(
    'target.no_file',
    `${quoted(path)} is ${files.length} different files in ${quoted(target.name)}.`,
    {
      remedy: 'name one container, or the path of one file',
    },
  );
}

const noFile = (target: ResolvedTarget, path: string, why: string) =>
  new KerntapError('target.no_file', `${quoted(path)} names no file in ${quoted(target.name)}: ${why}.`);

/** True when `name` is what `wanted` is called on disk: with a version, as a shared library, musl's own name for libc. */
export function isCalled(wanted: string, name: string): boolean {
  if (wanted === 'libc' && /^(?:ld-musl-|libc\.musl-)[\w-]+\.so\.1$/.test(name)) return true;
  return name.startsWith(wanted) && /^(?:[-.]?\d[\w.]*)?(?:\.so(?:\.[\w.]+)?)?$/.test(name.slice(wanted.length));
}

/** The first of each inode that is a file. */
function byInode(files: readonly TargetFile[]): readonly TargetFile[] {
  const found = new Map<string, TargetFile>();
  for (const file of files) {
    const inode = probedInodeOf(file.path);
    if (inode !== undefined && !found.has(inode)) found.set(inode, file);
  }
  return [...found.values()];
}

/** OVERLAYFS_SUPER_MAGIC of include/uapi/linux/magic.h. */
const OVERLAYFS = 0x794c7630;

/**
 * What a probe in the file sits on. Each container has an overlayfs of its own over the same layers, and the kernel probes
 * the file in the layer (d_real_inode in kernel/trace/trace_uprobe.c): its number is that of the overlay's file, on another
 * device, so that the device is left out and the moment of its last change taken in.
 */
function probedInodeOf(path: string): string | undefined {
  try {
    if (statfsSync(path).type !== OVERLAYFS) return inodeOf(path);
    const stat = statSync(path, { bigint: true });
    return stat.isFile() ? `overlay ${stat.ino} ${stat.size} ${stat.ctimeNs}` : undefined;
  } catch {
    return undefined;
  }
}

function inodeOf(path: string, isFolder = false): string | undefined {
  try {
    const stat = statSync(path, { bigint: true });
    return (isFolder ? stat.isDirectory() : stat.isFile()) ? `${stat.dev}:${stat.ino}` : undefined;
  } catch {
    return undefined;
  }
}

// ----------------------------------------------------------------------------------------------------------- processes

function pidsOf({ kind, containers, cgroups: folders }: ResolvedTarget, deps: FileDependencies): readonly number[] {
  const { cgroups, processes } = deps;
  if (kind === 'node' || cgroups === undefined) return processes.all().slice(0, MAX_PROCESSES);
  if (kind === 'process') {
    return containers.flatMap(({ pid, startTicks }) =>
      pid !== undefined && processes.startTicks(pid) === startTicks ? [pid] : [],
    );
  }
  const pids = folders.flatMap((folder) => cgroups.processes(cgroups.pathIn(folder))).filter((pid) => pid > 0);
  return pids.slice(0, MAX_PROCESSES);
}

/** The root folders that the target's processes have, each once: several processes of a container share one. */
function rootsOf(target: ResolvedTarget, deps: FileDependencies): readonly string[] {
  if (target.kind === 'node') return [deps.hostRoot || '/'];
  const roots = new Map<string, string>();
  for (const pid of pidsOf(target, deps)) {
    const root = `${deps.processes.folder}/${pid}/root`;
    const key = `${deps.processes.namespace(pid, 'mnt')} ${inodeOf(`${root}/`, true)}`;
    if (!roots.has(key)) roots.set(key, root);
  }
  return [...roots.values()];
}

interface Mapped {
  readonly name: string;
  /** Itself, if it still can be opened. */
  readonly find: () => readonly TargetFile[];
}

/** What the processes can run code of: their programs and libraries (proc_pid_maps(5)), each once a root. */
async function mappedFiles(pids: readonly number[], { folder, namespace }: Processes): Promise<readonly Mapped[]> {
  const found = new Map<string, Mapped>();
  for (const pid of pids) {
    const maps = await readFile(`${folder}/${pid}/maps`, 'utf8').catch(() => '');
    const mount = namespace(pid, 'mnt');
    for (const [, range, inode, path = ''] of maps.matchAll(/^(\S+) ..x. \S+ (\S+ \d+) +(\/.*)$/gm)) {
      const inside = path.replace(/ \(deleted\)$/, '');
      const key = `${mount} ${inode} ${path}`;
      if (found.has(key)) continue;
      found.set(key, {
        name: inside.slice(inside.lastIndexOf('/') + 1),
        find: () => openable(inside, `${folder}/${pid}/root`, `${folder}/${pid}/map_files/${range}`),
      });
    }
  }
  return [...found.values()];
}

/** By its path, which lives longer than the mapping, unless another file is there by now or the process sees no such path. */
function openable(shown: string, root: string, mapping: string): readonly TargetFile[] {
  const mapped = inodeOf(mapping);
  const [file] = fileIn(root, shown);
  if (file !== undefined && (mapped === undefined || inodeOf(file.path) === mapped)) return [file];
  return mapped === undefined ? [] : [{ path: mapping, shown }];
}

// --------------------------------------------------------------------------------------------------------------- roots

/** The file, or nothing. */
function fileIn(root: string, shown: string): readonly TargetFile[] {
  try {
    const path = resolveInRoot(root, shown);
    return inodeOf(path) === undefined ? [] : [{ path, shown }];
  } catch {
    return [];
  }
}

function lookedUp(root: string, name: string): readonly TargetFile[] {
  return FOLDERS.flatMap((folder) => [folder, ...multiarch(root, folder)]).flatMap((folder) =>
    entriesIn(root, folder)
      .filter((entry) => isCalled(name, entry))
      .flatMap((entry) => fileIn(root, `${folder}/${entry}`)),
  );
}

const multiarch = (root: string, folder: string): readonly string[] =>
  folder.includes('lib')
    ? entriesIn(root, folder)
        .filter((entry) => /^[\w-]+-linux-[\w-]+$/.test(entry))
        .map((entry) => `${folder}/${entry}`)
    : [];

function entriesIn(root: string, folder: string): readonly string[] {
  try {
    return readdirSync(resolveInRoot(root, folder));
  } catch {
    return [];
  }
}
