import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { projectRoot } from './machine.ts';

const run = promisify(execFile);

/**
 * Brings one version of a package that is too large, or too loosely pinned, to be a dependency into `.cache`, once; the
 * answer is the path of its program, which Node can run.
 */
export async function npmTool(name: string, version: string, program: string): Promise<string> {
  const folder = join(projectRoot, '.cache', `${name.replace(/^.*\//, '')}-${version}`);
  if (!existsSync(folder)) {
    const unfinished = await mkdtemp(`${folder}.`);
    const options = [
      '--no-save',
      '--no-package-lock',
      '--no-audit',
      '--no-fund',
      '--ignore-scripts',
      '--loglevel=error',
    ];
    try {
      await run('npm', ['install', '--prefix', unfinished, ...options, `${name}@${version}`], { env: plainEnv() });
      await rename(unfinished, folder).catch(() => {}); // somebody else was faster, and has brought the same
    } finally {
      await rm(unfinished, { recursive: true, force: true });
    }
  }
  return join(folder, 'node_modules/.bin', program);
}

/** The environment without what an outer `npm test` has put there, and with this Node first. */
function plainEnv(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^npm_(package|lifecycle)_|^npm_.*execpath$/.test(name));
  return { ...Object.fromEntries(own), PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
}
