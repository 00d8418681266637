// Brings what kerntap needs and the machine lacks: `node scripts/setup.mjs [PART…]`, without a name what it needs to run.
// Everything lands in node_modules and .cache of this checkout; the system stays as it is. What is there costs nothing.
import { mkdirSync } from 'node:fs';
import { constants } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as bpftrace from './setup/bpftrace.mjs';
import * as containers from './setup/containers.mjs';
import { takeLock } from './setup/lock.mjs';
import * as node from './setup/node.mjs';
import * as packages from './setup/packages.mjs';
import { endChildren } from './setup/run.mjs';
import { Problem, say } from './setup/say.mjs';
import * as vm from './setup/vm.mjs';

const TO_RUN = ['node', 'packages', 'bpftrace'];
const PARTS = { node, packages, bpftrace, containers, vm };
const EX_CONFIG = 78; // sysexits.h: something is wrong with the machine, not with the program

async function main(names) {
  const root = resolve(fileURLToPath(import.meta.url), '../..');
  if (/[:;"]/.test(root)) {
    throw new Problem(
      `kerntap cannot work in ${root}: PATH and the dynamic loader split folders at ":" and ";", and apt ends names at '"'. ` +
        'Move the checkout to a path without these characters.',
    );
  }
  const unknown = names.find((name) => !(name in PARTS));
  if (unknown !== undefined) {
    throw new Problem(`There is no part "${unknown}" of the set-up. Name some of: ${Object.keys(PARTS).join(', ')}.`);
  }
  const missing = () => (names.length === 0 ? TO_RUN : names).filter((name) => !PARTS[name].isDone(root));
  if (missing().length === 0) return;

  mkdirSync(join(root, '.cache'), { recursive: true });
  const unlock = await takeLock(join(root, '.cache/lock'));
  process.once('exit', unlock);
  for (const name of missing()) await PARTS[name].bring(root);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    endChildren(signal);
    process.stderr.write('stopped\n');
    process.exit(128 + constants.signals[signal]);
  });
}

main(process.argv.slice(2)).catch((error) => {
  if (error instanceof Problem) say(error.message);
  else if (typeof error?.syscall === 'string')
    say(`The set-up could not go on: ${error.message}. Correct that and run it again.`);
  else throw error;
  process.exitCode = EX_CONFIG;
});
