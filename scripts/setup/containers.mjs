import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { machine, obstacleToDebian, unpack } from './debian.mjs';
import { keepOnly, megabytesIn } from './folder.mjs';
import { findOnPath } from './run.mjs';
import { Problem, say, step } from './say.mjs';

// Trixie's are the newest that work beside a kernel without systemd: its runc, containerd 1.7 and Docker 26.
const WANTED = {
  suite: 'trixie',
  packages: ['runc', 'containerd', 'docker.io', 'containernetworking-plugins', 'busybox-static'],
  otherwise: '; until then the tests that need containers are skipped',
};
const PROGRAMS = {
  bin: ['busybox', 'containerd', 'containerd-shim-runc-v2', 'ctr', 'docker-init', 'tini-static'],
  sbin: ['dockerd', 'runc'],
  'lib/cni': ['bridge', 'host-local', 'loopback'],
};

const home = (root) => join(root, '.cache/containers');
const unpacked = (root) => join(home(root), 'root');
const stamp = (root) => join(unpacked(root), 'of');

const mark = JSON.stringify([WANTED, PROGRAMS]);

export const isDone = (root) => existsSync(stamp(root)) && readFileSync(stamp(root), 'utf8') === mark;

/** Unpacks what the tests with containers need. Where that cannot be had they are skipped, so the set-up only says so. */
export async function bring(root) {
  const obstacle = obstacleToDebian() ?? (findOnPath('gcc') ? undefined : 'there is no gcc for the test programs');
  if (obstacle !== undefined) {
    say(`no container runtimes for the tests: ${obstacle}. The tests that need containers are skipped.`);
    return;
  }
  mkdirSync(home(root), { recursive: true });
  const notes = [];
  try {
    await step('container runtimes for the tests from Debian trixie, about 80 MB', () =>
      unpack(unpacked(root), WANTED, notes, async (folder) => {
        trim(folder);
        writeFileSync(join(folder, 'of'), mark);
        return `${megabytesIn(folder)} MB on disk`;
      }),
    );
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    say(error.message);
  }
  notes.forEach(say);
}

/** Leaves the programs and the libraries. */
function trim(folder) {
  keepOnly(folder, ['usr']);
  keepOnly(join(folder, 'usr'), ['bin', 'sbin', 'lib', 'lib64']);
  keepOnly(join(folder, 'usr/lib'), ['cni', machine.triplet, machine.loader]);
  for (const [path, names] of Object.entries(PROGRAMS)) keepOnly(join(folder, 'usr', path), names);
  rmSync(join(folder, 'usr/lib', machine.triplet, 'gconv'), { recursive: true, force: true });
}
