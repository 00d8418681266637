import { closeSync, fstatSync, readSync, realpathSync } from 'node:fs';
import { KerntapError } from '../errors.ts';
import type { PrintedProgram } from '../trace/ports.ts';
import { openFile } from './open-file.ts';

const IN_FILE = /(?:^|,)\s*(?:uprobe|uretprobe|usdt|u|ur|U):"?(\/[^:"*]+)/g;
const ELF = Buffer.from('\x7fELF', 'latin1');

/** Programs and libraries that `probes` (attach points, or patterns of a listing) name: what the sandbox must let bpftrace read. */
export function targetFilesOf(probes: readonly string[]): readonly string[] {
  const paths = probes.flatMap((probe) => [...probe.matchAll(IN_FILE)].map(([, path = '']) => path));
  return [...new Set(paths.flatMap((path) => elfBehind(path) ?? []))];
}

/** Files that one bpftrace may read beside what all may. */
export interface OpenFiles extends Disposable {
  /** As bpftrace names them, for its sandbox. */
  readonly paths: readonly string[];
  /** What it is given from descriptor 3 on. */
  readonly stdio: readonly GivenDescriptor[];
}

/** A descriptor of ours, or none. Any number will do, which execa's types do not know. */
export type GivenDescriptor = 'ignore' | 9;

export const noFiles: OpenFiles = { paths: [], stdio: [], [Symbol.dispose]() {} };

/** bpftrace's own descriptors are 0, 1 and 2; setpriv, the loader and libraries open some more for a moment. */
const FIRST_FD = 9;

/**
 * The files of a program's user probes: those of a target are opened here, since bpftrace's sandbox and mount namespace
 * hide them, and are handed over as descriptors 9, 10, …; those of the node go by their paths. A probe belongs to the inode
 * behind, which containers of one image share, so it fires for all of them. USDT needs no pid: the kernel itself counts up
 * the semaphore of every process that has the file mapped (kernel/events/uprobes.c, ref_ctr_offset). To be disposed once
 * bpftrace is started. Throws `target.no_file`.
 */
export function openFiles({ attachPoints, files }: Pick<PrintedProgram, 'attachPoints' | 'files'>): OpenFiles {
  if (files.length === 0) return { ...noFiles, paths: targetFilesOf(attachPoints) };
  const descriptors: number[] = [];
  const close = () => {
    for (const fd of descriptors) closeSync(fd);
  };
  try {
    for (const file of files) descriptors.push(openElf(file));
  } catch (error) {
    close();
    throw error;
  }
  return {
    paths: descriptors.map((_fd, index) => `/proc/self/fd/${FIRST_FD + index}`),
    stdio: [...Array<'ignore'>(FIRST_FD - 3).fill('ignore'), ...(descriptors as 9[])],
    [Symbol.dispose]: close,
  };
}

function openElf(path: string): number {
  // As the target sees it: whose process we reached it by is of no use to the caller.
  const shown = path.replace(/^.*?\/proc\/\d+\/root(?=\/)/, '');
  const refused = (why: string) => new KerntapError('target.no_file', `The file ${JSON.stringify(shown)} ${why}.`);
  let fd: number;
  try {
    fd = openFile(path);
  } catch {
    throw refused('is gone, or it is no regular file');
  }
  const isProgram = isElf(fd);
  if (isProgram && isReadableByRoot(fd)) return fd;
  closeSync(fd);
  throw refused(
    isProgram ? 'is for its owner alone, and bpftrace may not read what is others’' : 'is no program or library',
  );
}

/** Whether root may read it by its mode: bpftrace opens it again, and has no capability that would overrule the mode. */
function isReadableByRoot(fd: number): boolean {
  const { uid, gid, mode } = fstatSync(fd);
  return (mode & (uid === 0 ? 0o400 : gid === 0 ? 0o040 : 0o004)) !== 0;
}

/** The real path of an ELF file; undefined for everything else, so that naming a file opens no other kind of it. */
function elfBehind(path: string): string | undefined {
  try {
    const real = realpathSync(path);
    const fd = openFile(real);
    try {
      return isElf(fd) ? real : undefined;
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined; // bpftrace says what is wrong with it
  }
}

function isElf(fd: number): boolean {
  const magic = Buffer.alloc(ELF.length);
  return readSync(fd, magic, 0, ELF.length, 0) === ELF.length && magic.equals(ELF);
}
