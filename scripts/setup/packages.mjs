import { statSync } from 'node:fs';
import { join } from 'node:path';
import { npm } from './run.mjs';
import { step } from './say.mjs';

const changedMs = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** npm writes this file last: it is as new as the lock file when every package is there. */
export const isDone = (root) =>
  changedMs(join(root, 'node_modules/.package-lock.json')) >= changedMs(join(root, 'package-lock.json'));

export const bring = (root) =>
  step('npm packages', async () => {
    const said = await npm(root, ['ci', '--include=dev']);
    return /added (\d+) packages/.exec(said)?.[1] ?? 'all there';
  });
