import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { startTimeOf } from '../../../src/process-start.ts';
import { cgroupFolder, endCgroup, parentsOf, removeGroup } from './cgroups.ts';
import { canContain, inView, runsFolder } from './machine.ts';

/** What one runtime of a test leaves on the machine, all of it known before it is made, so that it can be taken away. */
export interface Bed extends AsyncDisposable {
  /** A folder that goes with the bed. */
  readonly path: string;
  /** Names a cgroup that is about to be made. With the bed it goes, and all in it; a `*` at the end stands for any rest. */
  claimCgroup(path: string): void;
  claimLink(name: string): void;
  /** Makes a folder outside of the bed where it is absent; it goes when it is empty. */
  makeFolder(path: string): void;
  /** Starts a program in a cgroup and in mounts of its own, with the unpacked packages over /usr. */
  spawn(command: readonly string[], options: SpawnOptions): ChildProcess;
  /** Runs one to its end and resolves with its standard output. */
  run(command: readonly string[], options?: SpawnOptions): Promise<string>;
}

let made = 0;

/** Makes a bed. What a dead test process left is taken away first. */
export async function createBed(name: string): Promise<Bed> {
  if (!canContain) throw new Error('no containers on this machine: root, cgroup v2 and the packages of the set-up');
  await sweep();
  const path = join(runsFolder, `${process.pid}-${startTimeOf(process.pid)}-${name}-${++made}`);
  mkdirSync(path, { recursive: true });

  const claim = (kind: keyof typeof TAKE_AWAY, what: string) => appendFileSync(claimsFile(path), `${kind} ${what}\n`);
  const claimCgroup = (cgroup: string) => {
    for (const parent of parentsOf(cgroup).filter(comesFromTests)) claim('parent', parent);
    if (existsSync(cgroupFolder(cgroup))) throw new Error(`the cgroup ${cgroup} is there already`);
    claim('cgroup', cgroup);
  };
  const own = `/kerntap-test-${basename(path)}`;
  claimCgroup(own);
  mkdirSync(cgroupFolder(own));

  const start = (command: readonly string[], options: SpawnOptions) =>
    spawn(...inView(cgroupFolder(own), command), { ...options, detached: true });
  return {
    path,
    claimCgroup,
    claimLink: (link) => claim('link', link),
    makeFolder(folder) {
      if (existsSync(folder)) return;
      claim('folder', folder);
      mkdirSync(folder);
    },
    spawn: start,
    run: (command, options = {}) =>
      outputOf(start(command, { stdio: ['ignore', 'pipe', 'pipe'], ...options }), command),
    [Symbol.asyncDispose]: () => clear(path),
  };
}

async function outputOf(child: ChildProcess, command: readonly string[]): Promise<string> {
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}: ${output.stderr || output.stdout}`);
  return output.stdout;
}

const claimsFile = (bed: string) => join(bed, 'claims');

function claimsOf(bed: string): { kind: string; what: string }[] {
  try {
    const lines = readFileSync(claimsFile(bed), 'utf8').split('\n').filter(Boolean);
    return lines.map((line) => ({ kind: line.slice(0, line.indexOf(' ')), what: line.slice(line.indexOf(' ') + 1) }));
  } catch {
    return [];
  }
}

const beds = () => (existsSync(runsFolder) ? readdirSync(runsFolder).map((name) => join(runsFolder, name)) : []);

// A cgroup such as /kubepods.slice may serve several beds: the last of them removes it, unless it was there before them all.
const comesFromTests = (cgroup: string) =>
  !existsSync(cgroupFolder(cgroup)) ||
  beds().some((bed) => claimsOf(bed).some(({ kind, what }) => kind === 'parent' && what === cgroup));

async function sweep(): Promise<void> {
  for (const bed of beds()) {
    const [pid = '', started] = basename(bed).split('-');
    if (startTimeOf(pid) !== started) await clear(bed);
  }
}

const TAKE_AWAY: Readonly<Record<'cgroup' | 'link' | 'parent' | 'folder', (what: string) => Promise<void>>> = {
  async cgroup(path) {
    for (const folder of matching(cgroupFolder(path))) await endCgroup(folder);
  },
  async link(name) {
    await once(spawn('ip', ['link', 'del', name], { stdio: 'ignore' }), 'close');
  },
  async parent(path) {
    removeGroup(cgroupFolder(path));
  },
  async folder(path) {
    try {
      rmdirSync(path);
    } catch {
      // absent, or somebody else's by now
    }
  },
};

/** Takes everything away: processes and cgroups first, since they hold the rest. Their mounts go with the last process. */
async function clear(bed: string): Promise<void> {
  const claims = claimsOf(bed);
  for (const [kind, takeAway] of Object.entries(TAKE_AWAY)) {
    const all = claims.filter((claim) => claim.kind === kind).map(({ what }) => what);
    for (const what of [...new Set(all)].sort((a, b) => b.length - a.length)) await takeAway(what);
  }
  await rm(bed, { recursive: true, force: true });
}

function matching(path: string): string[] {
  if (!path.endsWith('*')) return [path];
  const folder = dirname(path);
  const start = basename(path).slice(0, -1);
  return readdirSync(folder).flatMap((name) => (name.startsWith(start) ? [join(folder, name)] : []));
}

/** Waits until a daemon answers; throws the end of its log when it has ended, or did not answer in time. */
export async function untilAnswers(daemon: ChildProcess, ask: () => Promise<unknown>, log: string): Promise<void> {
  const deadlineMs = performance.now() + 60_000;
  for (;;) {
    try {
      await ask();
      return;
    } catch (error) {
      if (daemon.exitCode !== null || daemon.signalCode !== null || performance.now() > deadlineMs) {
        throw new Error(`${String(error)}; its log ends: ${readFileSync(log, 'utf8').slice(-2000)}`);
      }
    }
    await wait(50);
  }
}
