import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Holds kernel.bpf_stats_enabled on while runs exist. It belongs to the whole machine, so other servers turn it, too:
 * who turned it on turns it off, and who still needs it then turns it on again at its next sample.
 */
export interface StatsSwitch {
  /** Turns it on for one more run; false when this machine does not allow it. */
  hold(): boolean;
  /** Turns it on again if another server has turned it off. */
  keep(): void;
  /** Gives one hold back; the last one restores what was there before. */
  release(): void;
}

const SWITCH = '/proc/sys/kernel/bpf_stats_enabled';
const MARKER = 'turned-stats-on';

export function createStatsSwitch(ownFolder: string): StatsSwitch {
  const marker = join(ownFolder, MARKER);
  let holds = 0;
  const turnOn = (): boolean => {
    try {
      if (isOn()) return true;
      writeFileSync(marker, '');
      writeFileSync(SWITCH, '1');
      return isOn();
    } catch {
      rmSync(marker, { force: true });
      return false;
    }
  };
  return {
    hold() {
      holds += 1;
      return turnOn();
    },
    keep: () => void turnOn(),
    release() {
      holds -= 1;
      if (holds === 0) restoreStats(ownFolder);
    },
  };
}

/** Turns the statistics off if the server that owned `folder` had turned them on, and it is over or dead. */
export function restoreStats(folder: string): void {
  const marker = join(folder, MARKER);
  if (!existsSync(marker)) return;
  try {
    writeFileSync(SWITCH, '0');
  } catch {
    // Not allowed any more: nothing that we could do about it.
  }
  rmSync(marker, { force: true });
}

const isOn = () => readFileSync(SWITCH, 'latin1').trim() !== '0';
