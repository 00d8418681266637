import { lstatSync, readlinkSync } from 'node:fs';

/** The host path of `path` as a process whose root folder is `root` sees it: no link in it leads out of `root`. */
export function resolveInRoot(root: string, path: string): string {
  let left = path.split('/').filter(Boolean);
  let done: string[] = [];
  for (let links = 0; left.length > 0; ) {
    const [name = '', ...rest] = left;
    left = rest;
    if (name === '.') continue;
    if (name === '..') {
      done = done.slice(0, -1);
      continue;
    }
    const at = [root === '/' ? '' : root, ...done, name].join('/');
    if (!lstatSync(at).isSymbolicLink()) {
      done = [...done, name];
      continue;
    }
    if (++links > 40) throw new Error('too many links');
    const to = readlinkSync(at);
    if (to.startsWith('/')) done = [];
    left = [...to.split('/').filter(Boolean), ...left];
  }
  return [root === '/' ? '' : root, ...done].join('/');
}
