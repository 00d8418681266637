import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { machine, obstacleToDebian, unpack } from './debian.mjs';
import { keepOnly, megabytesIn } from './folder.mjs';
import { findOnPath, run, sentence } from './run.mjs';
import { Problem, say, step } from './say.mjs';
import { isAtLeast, versionIn } from './version.mjs';

const NEEDED = '0.24.2';
// util-linux comes along: Debian 12's own setpriv knows neither Landlock nor seccomp.
const PROGRAMS = ['bpftrace', 'setpriv', 'prlimit'];

const home = (root) => join(root, '.cache/bpftrace');
const unpacked = (root) => join(home(root), 'root');
const stamp = (root) => join(home(root), 'on-path');

/** A bpftrace was unpacked, or one that was found new enough is still on PATH, or the caller has named one. */
export function isDone(root) {
  if (process.env.KERNTAP_BPFTRACE) return true;
  if (machine !== undefined && existsSync(join(namesIn(unpacked(root)), 'bpftrace'))) return true;
  const found = findOnPath('bpftrace');
  return found !== undefined && existsSync(stamp(root)) && readFileSync(stamp(root), 'utf8') === mark(found);
}

const librariesIn = (folder) => join(folder, 'usr/lib', machine.triplet);

// The kernel names a process after the file that was started: by the loader's own name bpftrace would stand in every
// trace as `ld-linux-x86-64`. So each program is started by a link to the loader that has the program's name.
const namesIn = (folder) => join(librariesIn(folder), 'named');

function nameLoaders(folder) {
  mkdirSync(namesIn(folder), { recursive: true });
  for (const name of PROGRAMS) {
    rmSync(join(namesIn(folder), name), { force: true });
    symlinkSync(join('..', machine.loader), join(namesIn(folder), name));
  }
}

const mark = ({ file, changedMs }) => `${file} ${changedMs}\n`;

export async function bring(root) {
  if (machine !== undefined && existsSync(join(librariesIn(unpacked(root)), machine.loader))) {
    nameLoaders(unpacked(root)); // unpacked before the links were
    return;
  }
  const found = findOnPath('bpftrace');
  const version = found && versionIn((await run(found.file, ['--version'])).stdout);
  if (version !== undefined && isAtLeast(version, NEEDED)) {
    mkdirSync(home(root), { recursive: true });
    writeFileSync(stamp(root), mark(found));
    say(`bpftrace ${version} of this machine: ${found.file}`);
    return;
  }
  const obstacle = obstacleToDebian();
  if (obstacle !== undefined) {
    const here =
      found === undefined ? 'there is no bpftrace on PATH' : `${found.file} is ${version ?? 'of no known version'}`;
    say(
      `no bpftrace ${NEEDED} or newer: ${here}, and ${obstacle}. Tracing needs one: install it, or name it with ` +
        '--bpftrace PATH, or use the container image, which has it.',
    );
    return;
  }
  const wanted = {
    suite: 'forky',
    packages: ['bpftrace', 'util-linux'],
    otherwise: `, or install bpftrace ${NEEDED} or newer and set KERNTAP_BPFTRACE to its path`,
  };
  const notes = [];
  await step('bpftrace and util-linux from Debian forky, about 70 MB', () =>
    unpack(unpacked(root), wanted, notes, async (folder) => {
      trim(folder);
      nameLoaders(folder);
      return `${await started(folder)}, ${megabytesIn(folder)} MB on disk`;
    }),
  );
  notes.forEach(say);
}

/** Leaves the three programs, the libraries, and bpftrace's own tools, which tests read. */
function trim(folder) {
  keepOnly(folder, ['usr']);
  keepOnly(join(folder, 'usr'), ['bin', 'lib', 'sbin']);
  keepOnly(join(folder, 'usr/bin'), PROGRAMS);
  const programs = join(folder, 'usr/sbin');
  if (existsSync(programs))
    keepOnly(
      programs,
      readdirSync(programs).filter((name) => name.endsWith('.bt')),
    );
  rmSync(join(librariesIn(folder), 'gconv'), { recursive: true, force: true });
}

/** Starts all three by their own loader, as the server will, and returns bpftrace's version. */
async function started(folder) {
  const libraries = join(folder, 'usr/lib', machine.triplet);
  const [bpftrace] = await Promise.all(
    PROGRAMS.map(async (name) => {
      const { code, stdout, stderr } = await run(join(libraries, machine.loader), [
        ...['--library-path', libraries, '--argv0', name],
        ...[join(folder, 'usr/bin', name), '--version'],
      ]);
      if (code !== 0)
        throw new Problem(
          `Debian's ${name} does not start on this machine: ${sentence(stderr)} Install bpftrace ${NEEDED} or newer yourself.`,
        );
      return stdout;
    }),
  );
  const version = versionIn(bpftrace);
  if (version !== undefined && isAtLeast(version, NEEDED)) return version;
  throw new Problem(`Debian forky's bpftrace says "${bpftrace.trim()}". Install ${NEEDED} or newer yourself.`);
}
