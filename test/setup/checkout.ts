import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from '../helpers/machine.ts';

/** A folder with the set-up and nothing else, and programs of the test's own for all that the set-up calls. */
export function createCheckout(name = 'a b') {
  const base = mkdtempSync(join(tmpdir(), 'kerntap-setup-'));
  const root = join(base, name);
  const bin = join(base, 'bin');
  cpSync(join(projectRoot, 'scripts'), join(root, 'scripts'), { recursive: true });
  mkdirSync(join(root, '.cache'));
  mkdirSync(bin);
  writeFileSync(join(root, 'package-lock.json'), '{}');

  const setup = (parts: readonly string[] = [], env: NodeJS.ProcessEnv = {}) => {
    const child = spawn(process.execPath, ['scripts/setup.mjs', ...parts], { cwd: root, env: { PATH: bin, ...env } });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += chunk));
    const ended = new Promise<{ code: number | null; text: string }>((resolve) =>
      child.once('close', (code) => resolve({ code, text })),
    );
    return { child, ended, text: () => text };
  };

  return {
    root,
    bin,
    /** Puts a shell script on PATH; it may write to `$ROOT/NAME.log` what `log` gives back. */
    program(called: string, script: string) {
      const body = `#!/bin/sh\nPATH_GIVEN=$PATH PATH=/usr/bin:/bin ROOT='${root}'\n${script}\n`;
      writeFileSync(join(bin, called), body, { mode: 0o755 });
    },
    log(called: string): string {
      const file = join(root, `${called}.log`);
      return existsSync(file) ? readFileSync(file, 'utf8') : '';
    },
    start: setup,
    run: (parts: readonly string[] = [], env: NodeJS.ProcessEnv = {}) => setup(parts, env).ended,
    [Symbol.dispose]: () => rmSync(base, { recursive: true, force: true }),
  };
}

/** What npm does as far as the set-up looks at it. */
export const NPM = `
  echo "$*" >>"$ROOT/npm.log"
  mkdir -p node_modules && touch node_modules/.package-lock.json
  echo 'added 3 packages in 1s'`;

export const bpftraceOf = (version: string) => `echo 'bpftrace ${version}'`;
