import { readFileSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Problem, say } from './say.mjs';

const PATIENCE_MS = 15 * 60_000;

/**
 * Waits until no other live process holds the lock, takes it, and returns what gives it back. A dead owner's is taken over.
 * The lock is a symbolic link, since that appears with its content at once and fails when the name is taken; it leads to
 * its owner's process id and start time, since an id alone may be another's after a restart.
 */
export async function takeLock(file) {
  const mine = `${process.pid} ${startOf(process.pid)}`;
  const deadlineMs = Date.now() + PATIENCE_MS;
  for (let told = ''; !linked(mine, file); await sleep(200)) {
    const owner = unlessAbsent(() => readlinkSync(file));
    if (owner === undefined) continue;
    const pid = Number.parseInt(owner, 10);
    if (owner !== `${pid} ${startOf(pid)}`) {
      takeAway(file, owner);
    } else if (Date.now() > deadlineMs) {
      throw new Problem(`Process ${pid} has been setting up this checkout for too long. End it and run this again.`);
    } else if (told !== owner) {
      told = owner;
      say(`process ${pid} is setting up this checkout; waiting for it`);
    }
  }
  return () => {
    if (unlessAbsent(() => readlinkSync(file)) === mine) rmSync(file);
  };
}

function linked(owner, file) {
  try {
    symlinkSync(owner, file);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

function takeAway(file, owner) {
  const aside = `${file}.${process.pid}`;
  unlessAbsent(() => renameSync(file, aside));
  const taken = unlessAbsent(() => readlinkSync(aside));
  // Another may have taken the dead owner's lock over since it was read: then it goes back.
  if (taken !== undefined && taken !== owner) linked(taken, file);
  rmSync(aside, { force: true });
}

/** When a process was started, in clock ticks since the machine was; undefined for one that is gone or a zombie. */
function startOf(pid) {
  const stat = unlessAbsent(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  // The name before it may hold spaces and brackets (proc_pid_stat(5)): state is field 3, the start time field 22.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields === undefined || fields[0] === 'Z' ? undefined : fields[19];
}

function unlessAbsent(read) {
  try {
    return read();
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return undefined;
    throw error;
  }
}
