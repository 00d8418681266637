import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, globSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { testImage } from '../containers/image.ts';
import { busybox } from '../containers/machine.ts';
import { projectRoot } from '../machine.ts';

const run = promisify(execFile);

export type KernelName = 'default' | '6.1' | '5.10';

export const vmFolder = join(projectRoot, '.cache/vm');
const GUEST = join(import.meta.dirname, 'guest');
const DRIVERS = ['virtio', 'virtio_ring', 'virtio_pci', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_blk'];

const OVERLAY = 'box=$1 usr=$2; shift 2; "$box" mount -t overlay overlay -o "lowerdir=$usr:/usr" /usr; exec "$@"';

/** The command that runs one in mounts of its own, in which QEMU's packages are as installed. Named by its whole path. */
export const asInstalled = (command: readonly string[]): [file: string, args: string[]] => [
  'unshare',
  [
    '-m',
    '--propagation',
    'private',
    busybox,
    'sh',
    '-ec',
    OVERLAY,
    'sh',
    busybox,
    join(vmFolder, 'qemu/usr'),
    ...command,
  ],
];

/** The kernels that the set-up could unpack. */
export const kernels = (): KernelName[] =>
  (['default', '6.1', '5.10'] as const).filter((name) => existsSync(join(vmFolder, `kernel-${name}`)));

const kernelFolder = (name: KernelName) => join(vmFolder, `kernel-${name}`);
const modulesOf = (name: KernelName) => {
  const lib = ['usr/lib', 'lib'].map((path) => join(kernelFolder(name), path, 'modules')).find(existsSync);
  if (lib === undefined) throw new Error(`the kernel ${name} was not unpacked: node scripts/setup.mjs vm`);
  return join(lib, readdirSync(lib)[0] ?? '');
};

export interface Boot {
  readonly kernel: string;
  readonly initrd: string;
}

/** A kernel and its initramfs. */
export async function bootOf(name: KernelName): Promise<Boot> {
  const modules = modulesOf(name);
  const kernel = join(kernelFolder(name), 'boot', `vmlinuz-${basename(modules)}`);
  const initrd = await once('initrd', [join(GUEST, 'init')], name, async (file) => {
    const folder = `${file}.d`;
    for (const path of ['bin', 'dev', 'root', 'modules']) await mkdir(join(folder, path), { recursive: true });
    await cp(busybox, join(folder, 'bin/busybox'));
    await cp(join(GUEST, 'init'), join(folder, 'init'));
    await chmod(join(folder, 'init'), 0o755);
    for (const path of globSync(`kernel/drivers/**/{${DRIVERS}}.ko{,.xz}`, { cwd: modules })) {
      const module = path.endsWith('.xz')
        ? execFileSync(busybox, ['xz', '-dc', join(modules, path)], { maxBuffer: 2 ** 24 })
        : await readFile(join(modules, path));
      await writeFile(join(folder, 'modules', basename(path, '.xz')), module);
    }
    await run('sh', ['-ec', `cd "$1"; find . | "$2" cpio -o -H newc | gzip >"$3"`, 'sh', folder, busybox, file]);
    await rm(folder, { recursive: true });
  });
  return { kernel, initrd };
}

/** The disk of the system: Debian, all kernels' modules, and of this checkout what was brought (packages, bpftrace, containers). */
export async function systemDisk(): Promise<string> {
  const image = await testImage();
  const stamps = ['package-lock.json', '.cache/containers/root/of', '.cache/vm/system/.of', ...kernels().map(stampOf)];
  const files = [
    ...stamps.map((path) => join(projectRoot, path)),
    ...guestFiles(),
    image.archive,
    import.meta.filename,
  ];
  return once('system', files, realpathSync(process.execPath), async (file) => {
    for (const old of globSync('system-????????????', { cwd: vmFolder })) await rm(join(vmFolder, old));
    const root = `${file}.d`;
    await cp(join(vmFolder, 'system'), root, { recursive: true, verbatimSymlinks: true });
    await configure(root);
    await cp(join(image.rootfs, 'bin/idle'), join(root, 'usr/local/bin/calls'));
    const brought = join(root, 'opt/brought');
    await mkdir(join(brought, '.cache/bin'), { recursive: true });
    await mkdir(join(root, 'opt/kerntap'));
    await cp(realpathSync(process.execPath), join(brought, '.cache/bin/node'));
    const copies = [
      'node_modules',
      '.cache/bpftrace/root',
      '.cache/containers/root',
      join('.cache/containers', imageName(image.archive)),
    ];
    for (const path of copies)
      await cp(join(projectRoot, path), join(brought, path), { recursive: true, verbatimSymlinks: true });
    await makeExt4(root, file, '6G');
    await rm(root, { recursive: true });
  });
}

const stampOf = (name: KernelName) => `.cache/vm/kernel-${name}/.of`;
const imageName = (archive: string) => basename(join(archive, '..'));
const guestFiles = () => globSync('{*.*,bin/*}', { cwd: GUEST }).map((name) => join(GUEST, name));

/** Does what the packages' own scripts would have done, as far as the tests need it. */
async function configure(root: string): Promise<void> {
  const at = (...path: string[]) => join(root, ...path);
  const inRoot = (...command: string[]) => run('chroot', [root, ...command]);
  for (const name of ['passwd', 'group']) await cp(at('usr/share/base-passwd', `${name}.master`), at('etc', name));
  await writeFile(at('etc/hostname'), 'kerntap-vm\n');
  await writeFile(at('etc/hosts'), '127.0.0.1 localhost kerntap-vm\n');
  await writeFile(at('etc/machine-id'), `${createHash('md5').update('kerntap-vm').digest('hex')}\n`);
  await writeFile(at('etc/resolv.conf'), '');
  await inRoot('systemd-sysusers');
  for (const name of kernels()) {
    const modules = modulesOf(name);
    await cp(modules, at('usr/lib/modules', basename(modules)), { recursive: true, verbatimSymlinks: true });
    await inRoot('depmod', basename(modules));
  }
  await mkdir(at('etc/containerd'), { recursive: true });
  await cp(join(GUEST, 'containerd.toml'), at('etc/containerd/config.toml'));
  for (const name of readdirSync(join(GUEST, 'bin'))) {
    await cp(join(GUEST, 'bin', name), at('usr/local/bin', name));
    await chmod(at('usr/local/bin', name), 0o755);
  }
  const units = at('etc/systemd/system');
  await cp(join(GUEST, 'serve.service'), join(units, 'serve.service'));
  await mkdir(join(units, 'multi-user.target.wants'), { recursive: true });
  await symlink('../serve.service', join(units, 'multi-user.target.wants/serve.service'));
  await symlink('/usr/lib/systemd/system/multi-user.target', join(units, 'default.target'));
  const unwanted = ['getty.target', 'systemd-firstboot.service', 'systemd-hwdb-update.service', 'ldconfig.service'];
  for (const name of unwanted) await symlink('/dev/null', join(units, name));
}

/** Writes the disk of the checkout as it is now; what was brought is mounted into it. */
export async function checkoutDisk(file: string): Promise<void> {
  const folder = `${file}.d`;
  for (const name of ['node_modules', '.cache']) await mkdir(join(folder, name), { recursive: true });
  for (const name of [
    'src',
    'test',
    'scripts',
    'seccomp',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'vitest.config.ts',
  ])
    await cp(join(projectRoot, name), join(folder, name), { recursive: true });
  await makeExt4(folder, file, '256M');
  await rm(folder, { recursive: true });
}

async function makeExt4(from: string, file: string, size: string): Promise<void> {
  const options = ['-q', '-t', 'ext4', '-E', 'lazy_itable_init=1', '-m', '0'];
  await run(...asInstalled(['/usr/sbin/mke2fs', ...options, '-d', from, file, size]));
}

/** Makes a file of the folder of VMs anew when what it is made from has changed. */
async function once(name: string, from: readonly string[], variant: string, make: (file: string) => Promise<void>) {
  const hash = createHash('sha256').update(variant);
  for (const file of from) hash.update(readFileSync(file));
  const file = join(vmFolder, `${name}-${hash.digest('hex').slice(0, 12)}`);
  if (existsSync(file)) return file;
  const folder = await mkdtemp(`${file}.`);
  try {
    await make(join(folder, name));
    await rename(join(folder, name), file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return file;
}
