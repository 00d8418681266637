import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectRoot } from '../machine.ts';
import { busybox } from './machine.ts';

const run = promisify(execFile);

export const IMAGE = 'localhost/kerntap-test:1';
const PROGRAMS = ['idle', 'calls'];
const SOURCE = join(import.meta.dirname, 'programs.c');

export interface Image {
  /** Its files, for a runtime without images. */
  readonly rootfs: string;
  /** An archive that containerd and Docker import. */
  readonly archive: string;
}

/** The image of all test containers: busybox and the programs of programs.c. Made once; runs `idle` unless told otherwise. */
export async function testImage(): Promise<Image> {
  const hash = createHash('sha256');
  for (const file of [SOURCE, import.meta.filename]) hash.update(readFileSync(file));
  const folder = join(projectRoot, '.cache/containers', `image-${hash.digest('hex').slice(0, 12)}`);
  if (!existsSync(folder)) {
    const unfinished = await mkdtemp(`${folder}.`);
    try {
      await makeRootfs(join(unfinished, 'rootfs'));
      await makeArchive(unfinished);
      await rename(unfinished, folder).catch(() => {}); // somebody else was faster, and has made the same
    } finally {
      await rm(unfinished, { recursive: true, force: true });
    }
  }
  return { rootfs: join(folder, 'rootfs'), archive: join(folder, 'image.tar') };
}

async function makeRootfs(rootfs: string): Promise<void> {
  for (const name of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp']) await mkdir(join(rootfs, name), { recursive: true });
  await cp(busybox, join(rootfs, 'bin/busybox'));
  const { stdout } = await run(busybox, ['--list']);
  const applets = stdout.split('\n').filter((name) => name !== '' && name !== 'busybox');
  await Promise.all(applets.map((name) => symlink('busybox', join(rootfs, 'bin', name))));
  await run('gcc', ['-static', '-Os', '-o', join(rootfs, 'bin/idle'), SOURCE]);
  for (const name of PROGRAMS.slice(1)) await symlink('idle', join(rootfs, 'bin', name));
  await writeFile(join(rootfs, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n');
}

/** One layer, in the form of `docker save` that all runtimes know. */
async function makeArchive(folder: string): Promise<void> {
  const sameBytes = ['--sort=name', '--mtime=@0', '--numeric-owner', '--owner=0', '--group=0'];
  const layer = join(folder, 'layer.tar');
  await run('tar', [...sameBytes, '-C', join(folder, 'rootfs'), '-cf', layer, '.']);
  const created = '1970-01-01T00:00:00Z';
  const config = {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    created,
    config: { Cmd: ['/bin/idle'], Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${createHash('sha256').update(readFileSync(layer)).digest('hex')}`] },
    history: [{ created, created_by: 'kerntap' }],
  };
  const manifest = [{ Config: 'config.json', RepoTags: [IMAGE], Layers: ['layer.tar'] }];
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
  const parts = ['manifest.json', 'config.json', 'layer.tar'];
  await run('tar', [...sameBytes, '-C', folder, '-cf', join(folder, 'image.tar'), ...parts]);
  await Promise.all(parts.map((name) => rm(join(folder, name))));
}
