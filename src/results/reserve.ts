import { randomBytes } from 'node:crypto';
import { existsSync, renameSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const RESERVE_BYTES = 1024 * 1024;
/** Left over when it is taken, so that taking it does not fill the disk. */
const SLACK_BYTES = 256 * 1024;

/** Room on the disk that is given up when nothing else is left, so that the last verdicts can still be written. */
export interface Reserve {
  /** Gives the room back to the disk; false when there was none. Never throws. */
  release(): boolean;
  /** Takes the room when the disk has enough of it again; true when it is held. Never throws. */
  take(): boolean;
}

/** Keeps the room as a file beside the store; servers on one folder share it. */
export function createReserve(dataDir: string): Reserve {
  const file = join(dataDir, 'reserve');
  const unfinished = join(dataDir, 'reserve.new');
  return {
    release() {
      try {
        rmSync(file);
        return true;
      } catch {
        return false;
      }
    },
    take() {
      if (existsSync(file)) return true;
      try {
        if (freeBytes(dataDir) < RESERVE_BYTES + SLACK_BYTES) return false;
        // Random, because some file systems store zeros without taking room for them.
        writeFileSync(unfinished, randomBytes(RESERVE_BYTES), { mode: 0o600, flush: true });
        renameSync(unfinished, file);
        return true;
      } catch {
        rmSync(unfinished, { force: true });
        return false;
      }
    },
  };
}

/** Room that is left for this process on the disk of `folder`. */
export function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}
