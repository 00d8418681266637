import { accessSync, constants, existsSync, realpathSync, statSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { KerntapError } from '../errors.ts';
import { isAtLeast } from '../trace/version.ts';
import { type Command, collect } from './command.ts';

/** Where bpftrace, setpriv and prlimit are and how they are started. */
export interface Installation {
  readonly version: string;
  /** True for the one that the set-up unpacked below the cache folder. */
  readonly bundled: boolean;
  readonly bpftrace: Command;
  readonly setpriv: Command | undefined;
  readonly prlimit: Command | undefined;
  /** The folder that bpftrace's own files are in, where that is not below `/usr`. */
  readonly root?: string;
}

// Older ones give "" for str() of a __data_loc field and print attached_probes before they attach.
const OLDEST = '0.24.2';

/**
 * Finds bpftrace: the given path, else the one on PATH if it is new enough, else the one that the set-up unpacked
 * below `<cacheDir>/bpftrace/root`. Throws `start.bpftrace`, which names what was found.
 */
export async function findInstallation(options: {
  path?: string;
  cacheDir: string;
  env: NodeJS.ProcessEnv;
}): Promise<Installation> {
  const searchPath = options.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin';
  if (options.path !== undefined) {
    const given = resolve(options.path);
    const version = await versionOf([given]);
    if (version === undefined) throw new KerntapError('start.bpftrace', `${given} could not be started as bpftrace.`);
    if (!isNewEnough(version)) throw new KerntapError('start.bpftrace', `${given} is bpftrace ${version}, too old.`);
    return fromHost(given, version, searchPath);
  }

  const onPath = findOnPath('bpftrace', searchPath);
  const hostVersion = onPath === undefined ? undefined : await versionOf([onPath]);
  if (onPath !== undefined && hostVersion !== undefined && isNewEnough(hostVersion)) {
    return fromHost(onPath, hostVersion, searchPath);
  }

  const root = resolve(options.cacheDir, 'bpftrace/root');
  const bundled = existsSync(root) ? await fromRoot(root) : undefined;
  if (bundled !== undefined) return bundled;
  const host = onPath === undefined ? 'none is on PATH' : `${onPath} is ${hostVersion ?? 'no program that starts'}`;
  const cache = existsSync(root) ? `the one in ${root} does not start` : `none is in ${root}`;
  throw new KerntapError('start.bpftrace', `No bpftrace ${OLDEST} or newer was found: ${host}, ${cache}.`);
}

function fromHost(bpftrace: string, version: string, searchPath: string): Installation {
  const tool = (name: string): Command | undefined => {
    const path = findOnPath(name, searchPath);
    return path === undefined ? undefined : [path];
  };
  const folder = dirname(realpathSync(bpftrace));
  return {
    version,
    bundled: false,
    bpftrace: [bpftrace],
    setpriv: tool('setpriv'),
    prlimit: tool('prlimit'),
    ...(folder.startsWith('/usr/') ? {} : { root: folder }),
  };
}

const TRIPLETS: Readonly<Record<string, readonly [folder: string, loader: string]>> = {
  x64: ['x86_64-linux-gnu', 'ld-linux-x86-64.so.2'],
  arm64: ['aarch64-linux-gnu', 'ld-linux-aarch64.so.1'],
};

async function fromRoot(root: string): Promise<Installation | undefined> {
  const [folder, loader] = TRIPLETS[process.arch] ?? [];
  if (folder === undefined || loader === undefined) return undefined;
  // The loader splits --library-path at both, and has no way to escape them.
  if (/[:;]/.test(root)) {
    throw new KerntapError('start.bpftrace', `bpftrace in ${root} cannot be started: the path holds a colon.`, {
      remedy: 'move kerntap to a folder without : and ; in its path',
    });
  }
  // These programs are newer than the host's C library: they are started by the loader they came with.
  const libraries = join(root, 'usr/lib', folder);
  const tool = (name: string): Command | undefined => {
    const path = join(root, 'usr/bin', name);
    if (!existsSync(path)) return undefined;
    // The kernel names a process after the file that was started: a link to the loader gives it the right name.
    const link = join(libraries, 'named', name);
    const starter = existsSync(link) ? link : join(libraries, loader);
    return [starter, '--library-path', libraries, '--argv0', name, path];
  };
  const bpftrace = tool('bpftrace');
  const version = bpftrace === undefined ? undefined : await versionOf(bpftrace);
  if (bpftrace === undefined || version === undefined || !isNewEnough(version)) return undefined;
  return { version, bundled: true, bpftrace, setpriv: tool('setpriv'), prlimit: tool('prlimit'), root };
}

async function versionOf(command: Command): Promise<string | undefined> {
  const { stdout, exitCode } = await collect([...command, '--version'], {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' },
    timeoutMs: 20_000,
  });
  return exitCode === 0 ? /^bpftrace v?(\d+\.\d+\.\d+)/.exec(stdout)?.[1] : undefined;
}

const isNewEnough = (version: string): boolean => isAtLeast(version, OLDEST);

function findOnPath(name: string, searchPath: string): string | undefined {
  return searchPath
    .split(delimiter)
    .filter((folder) => folder.startsWith('/'))
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
