import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { machine, obstacleToDebian, unpack } from './debian.mjs';
import { keepOnly, megabytesIn } from './folder.mjs';
import { Problem, say, step } from './say.mjs';

const KERNEL = { packages: ['linux-image-cloud-amd64'], trim: keepKernel };
const otherwise = '; only the tests in a VM need it';

/** What a VM of the tests is made of, each unpacked into a folder of its own below .cache/vm. */
const PIECES = {
  qemu: {
    what: 'QEMU',
    suite: 'trixie',
    packages: ['qemu-system-x86', 'e2fsprogs'],
    trim: (folder) => rmSync(join(folder, 'usr/lib', machine.triplet, 'gconv'), { recursive: true, force: true }),
  },
  system: {
    what: 'the system of the test VM',
    suite: 'forky',
    packages: [
      'systemd-sysv',
      'udev',
      'kmod',
      'dbus',
      'containerd',
      'runc',
      'containernetworking-plugins',
      'procps',
    ].concat(
      ['base-files', 'base-passwd', 'bash', 'coreutils', 'dash', 'findutils', 'grep', 'gzip', 'iproute2', 'libstdc++6'],
      ['mawk', 'mount', 'perl-base', 'sed', 'tar', 'util-linux', 'xz-utils', 'fdisk', 'e2fsprogs', 'python3-minimal'],
    ),
    trim: () => {},
  },
  'kernel-default': { what: 'the kernel of Debian 13', suite: 'trixie', ...KERNEL },
  'kernel-6.1': { what: 'the kernel of Debian 12', suite: 'bookworm', ...KERNEL },
  'kernel-5.10': { what: 'the kernel of Debian 11', suite: 'bullseye', ...KERNEL },
};

const pieceFolder = (root, name) => join(root, '.cache/vm', name);
const mark = ({ suite, packages }) => JSON.stringify([suite, packages]);
const isThere = (root, name, piece) => {
  const stamp = join(pieceFolder(root, name), '.of');
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === mark(piece);
};

export const isDone = (root) => Object.entries(PIECES).every(([name, piece]) => isThere(root, name, piece));

/** Unpacks what the tests in a VM need. An older kernel that Debian no longer has is only told of. */
export async function bring(root) {
  const obstacle = obstacleToDebian() ?? (machine.debian === 'amd64' ? undefined : 'its kernels here are for amd64');
  if (obstacle !== undefined) throw new Problem(`The tests in a VM need packages of Debian, and ${obstacle}.`);
  mkdirSync(join(root, '.cache/vm'), { recursive: true });
  const notes = [];
  for (const [name, { what, trim, ...piece }] of Object.entries(PIECES)) {
    if (isThere(root, name, piece)) continue;
    try {
      await step(`${what} from Debian ${piece.suite}`, () =>
        unpack(pieceFolder(root, name), { ...piece, otherwise }, notes, async (folder) => {
          trim(folder);
          writeFileSync(join(folder, '.of'), mark(piece));
          return `${megabytesIn(folder)} MB on disk`;
        }),
      );
    } catch (error) {
      if (!(error instanceof Problem) || !name.startsWith('kernel-') || name === 'kernel-default') throw error;
      say(error.message);
    }
  }
  notes.forEach(say);
}

/** Leaves the kernel and its modules, which lie in /usr/lib only since Debian 13. */
function keepKernel(folder) {
  keepOnly(folder, ['boot', 'lib', 'usr']);
  keepOnly(join(folder, 'usr'), ['lib']);
  for (const lib of ['lib', 'usr/lib']) if (existsSync(join(folder, lib))) keepOnly(join(folder, lib), ['modules']);
}
