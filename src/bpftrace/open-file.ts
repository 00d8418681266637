import { closeSync, constants, fstatSync, openSync } from 'node:fs';

const O_PATH = 0o10000000; // Node does not name it; the same on x86-64 and arm64 (asm-generic/fcntl.h)
const { O_RDONLY, O_NOFOLLOW, O_DIRECTORY, O_NONBLOCK, O_NOCTTY } = constants;
const READ = O_RDONLY | O_NONBLOCK | O_NOCTTY; // a pipe would wait for its writer, a terminal would become ours

/** The root folder of a process: the kernel's own link, which is followed; what is below belongs to whoever is in there. */
const PROCESS_ROOT = /^.*?\/proc\/\d+\/root(?=\/)/;

/**
 * Opens a regular file for reading. Below the root of a process no link is followed, since it could lead out of it: a path
 * that was resolved has none, and one that came since is an error. Throws what the system says.
 */
export function openFile(path: string): number {
  const root = PROCESS_ROOT.exec(path)?.[0];
  const fd = root === undefined ? openSync(path, READ) : openBelow(root, path.slice(root.length + 1).split('/'));
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw new Error(`${JSON.stringify(path)} is no regular file`);
}

function openBelow(root: string, names: readonly string[]): number {
  let fd = openSync(root, O_PATH | O_DIRECTORY);
  for (const [i, name] of names.entries()) {
    const folder = fd;
    try {
      if (name === '' || name === '.' || name === '..') throw new Error(`${JSON.stringify(name)} is no name of a file`);
      const flags = i === names.length - 1 ? READ : O_PATH | O_DIRECTORY;
      fd = openSync(`/proc/self/fd/${folder}/${name}`, flags | O_NOFOLLOW);
    } finally {
      closeSync(folder);
    }
  }
  return fd;
}
