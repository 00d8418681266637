import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { Problem } from './say.mjs';

const children = new Set();

/** Runs a program without input until it ends, and resolves with its exit code (127: there is no such program) and output. */
export function run(file, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(file, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) {
      child[name].setEncoding('utf8').on('data', (text) => {
        output[name] += text;
      });
    }
    children.add(child);
    child.once('error', (error) => resolve({ code: 127, stdout: '', stderr: error.message }));
    child.once('close', (code, signal) => {
      children.delete(child);
      resolve({ code: code ?? 128, ...output, ...(signal ? { stderr: `${output.stderr}\nended by ${signal}` } : {}) });
    });
  });
}

/** Passes a signal on to whatever runs now. */
export function endChildren(signal) {
  for (const child of children) child.kill(signal);
}

/** Runs npm on the Node of `.cache/bin`, as if no other npm had started this set-up. Throws a `Problem` in npm's own words. */
export async function npm(root, args, cwd = root) {
  // What an outer npm says of its own package and script would be taken for ours.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(package_|lifecycle_|.*execpath$)/.test(name)),
  );
  env.PATH = `${join(root, '.cache/bin')}${delimiter}${env.PATH ?? ''}`;
  // npm looks for the machine's npmrc (registry, proxy, certificates) beside the Node that runs it, which is ours now.
  env.npm_config_globalconfig ??= join(dirname(dirname(process.execPath)), 'etc/npmrc');
  // npm's own pauses (10 s, then 60 s) leave a person who is offline in doubt for too long.
  env.npm_config_fetch_retry_mintimeout ??= '1000';
  env.npm_config_fetch_retry_maxtimeout ??= '5000';
  const { code, stdout, stderr } = await run('npm', args, { cwd, env });
  if (code === 0) return stdout;
  if (code === 127) throw new Problem('npm is not on PATH. Install npm and run this again.');
  const said = stderr
    .split('\n')
    .flatMap((line) => /^npm (?:error|ERR!) (?!code |errno |syscall |A complete log)(.+)/.exec(line)?.[1] ?? []);
  throw new Problem(
    `npm ${args[0]} failed: ${sentence(said[0] ?? `it ended with code ${code}`)} ` +
      'Check the network, the proxy and the registry (npm config get registry), then run this again.',
  );
}

/** Text of another program as the end of a sentence of ours. */
export const sentence = (text) => `${text.trim().replace(/\s+/g, ' ').replace(/[.:]$/, '')}.`;

/** Finds a program in the folders of PATH. */
export function findOnPath(name) {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const file = join(folder || '.', name);
    try {
      accessSync(file, constants.X_OK);
      const { mtimeMs } = statSync(file);
      return { file, changedMs: mtimeMs };
    } catch {
      // absent here, or in a folder that is closed to us
    }
  }
  return undefined;
}
