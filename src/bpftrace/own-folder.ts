import { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { KerntapError } from '../errors.ts';
import { startTimeOf } from '../process-start.ts';

/** This server's folder below `runDir`, named `<pid>-<start time>-<random>` so that a sweep knows whether it lives. */
export interface OwnFolder {
  readonly path: string;
  /** Makes the private TMPDIR of one bpftrace. */
  makeRunFolder(): string;
  /** Removes the folders of servers that died since. */
  sweep(): void;
  remove(): void;
}

const TMPFS_MAGIC = 0x01021994; // linux/magic.h
const OWNER = /^(\d+)-(\d+)-/;

/** A folder for what must not outlive a boot: in memory where there is such a file system. */
export function defaultRunDir(env: NodeJS.ProcessEnv): string {
  const parent = ['/run', '/dev/shm'].find((path) => {
    try {
      return statfsSync(path).type === TMPFS_MAGIC;
    } catch {
      return false;
    }
  });
  return join(parent ?? env.TMPDIR ?? '/tmp', 'kerntap');
}

/**
 * Makes this server's folder and sweeps those of servers that are gone, telling `onSwept` of each before it goes.
 * Throws `start.data` when `runDir` cannot be made or is somebody else's.
 */
export function createOwnFolder(runDir: string, onSwept: (path: string) => void): OwnFolder {
  try {
    mkdirSync(runDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new KerntapError('start.data', `The folder ${runDir} could not be made.`, { cause: error });
  }
  const found = lstatSync(runDir);
  if (!found.isDirectory() || found.uid !== process.geteuid?.() || (found.mode & 0o022) !== 0) {
    throw new KerntapError('start.data', `The folder ${runDir} belongs to somebody else or others may write in it.`, {
      remedy: 'remove that folder',
    });
  }
  const sweep = () => {
    for (const name of readdirSync(runDir)) {
      const [, pid, startTime] = OWNER.exec(name) ?? [];
      if (pid === undefined || startTimeOf(pid) === startTime) continue;
      onSwept(join(runDir, name));
      rmSync(join(runDir, name), { recursive: true, force: true });
    }
  };
  sweep();
  const path = mkdtempSync(join(runDir, `${process.pid}-${startTimeOf(process.pid)}-`));
  return {
    path,
    makeRunFolder: () => mkdtempSync(join(path, 'run-')),
    sweep,
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}
