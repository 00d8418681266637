import { readFileSync } from 'node:fs';

/**
 * When a living process was started, in clock ticks since boot: with its pid it names the process, since a pid alone is
 * given again. Undefined for one that is gone or only waits to be reaped. (Fields 3 and 22 of proc_pid_stat(5).)
 */
export function startTimeOf(pid: number | string, procFolder = '/proc'): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`${procFolder}/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The second field is the program's name in parentheses and may hold anything, so count from the last parenthesis.
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return state === 'Z' || state === 'X' ? undefined : fields[18];
}
