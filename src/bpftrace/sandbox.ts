import { existsSync, rmSync } from 'node:fs';
import { release } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { SandboxFacts } from '../trace/ports.ts';
import { isAtLeast } from '../trace/version.ts';
import { collect } from './command.ts';
import { type Chain, type ChainParts, environmentOf, renderChain } from './launch.ts';
import type { OwnFolder } from './own-folder.ts';

export interface Sandbox {
  readonly parts: ChainParts;
  readonly facts: SandboxFacts;
}

// Rights of Landlock's first two versions: what a kernel older than setpriv still knows (landlock(7)).
const FIRST_RIGHTS =
  'execute,write-file,read-file,read-dir,remove-dir,remove-file,make-char,make-dir,make-reg,make-sock,make-fifo,make-block,make-sym';
const LANDLOCK_ACCESSES = ['fs', `fs:${FIRST_RIGHTS},refer`, `fs:${FIRST_RIGHTS}`];

const LOCKED_MEMORY =
  'locked memory: before kernel 5.11 all that BPF holds counts as such, and its limit could not be raised; start with `ulimit -l unlimited`';

const none: ChainParts = { setpriv: false, prlimit: false };

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };

/** Finds by trial how much of the launch chain this machine's tools and kernel support, and says what is missing. */
export async function findSandbox(chain: Omit<Chain, 'parts'>, folder: OwnFolder): Promise<Sandbox> {
  const { installation } = chain;
  const works = async (parts: ChainParts) => {
    const tmp = folder.makeRunFolder();
    const command = renderChain({ ...chain, parts }, tmp, ['--version']);
    const { exitCode } = await collect(command, { env: environmentOf(tmp), timeoutMs: 20_000 });
    rmSync(tmp, { recursive: true, force: true });
    return exitCode === 0;
  };
  const filter = fileURLToPath(new URL(`../../seccomp/deny-${ARCHITECTURES[process.arch]}.bpf`, import.meta.url));
  const isLimited = !isAtLeast(release(), '5.11');
  const memlock = isLimited && installation.prlimit !== undefined && (await works({ ...none, memlock: true }));
  const notes = isLimited && !memlock ? [LOCKED_MEMORY] : [];
  const all: ChainParts = { setpriv: true, seccomp: filter, landlock: 'fs', prlimit: true, memlock };
  const isWhole = installation.setpriv !== undefined && installation.prlimit !== undefined && existsSync(filter);
  if (isWhole && (await works(all))) return { parts: all, facts: factsOf([], notes) };

  // Something is missing: what works alone is kept.
  const missing: string[] = [];
  const prlimit = installation.prlimit !== undefined && (await works({ ...none, prlimit: true }));
  if (!prlimit) missing.push(`rlimits: ${installation.prlimit ? 'prlimit fails' : 'there is no prlimit'}`);
  const setpriv = installation.setpriv !== undefined && (await works({ ...none, setpriv: true }));
  if (!setpriv) {
    const why = installation.setpriv ? 'setpriv fails' : 'there is no setpriv';
    missing.push(`capabilities, no new privileges, end with the server: ${why}`);
  }
  const help = setpriv ? await helpOf(installation.setpriv ?? []) : '';
  const whyNot = (option: string, otherwise: string) =>
    !setpriv ? 'there is no setpriv that works' : help.includes(option) ? otherwise : `setpriv has no ${option}`;

  let landlock: string | undefined;
  for (const access of help.includes('--landlock-access') ? LANDLOCK_ACCESSES : []) {
    if (landlock === undefined && (await works({ ...none, setpriv, landlock: access }))) landlock = access;
  }
  if (landlock === undefined) {
    missing.push(`landlock: ${whyNot('--landlock-access', 'the kernel has none, or bpftrace does not start in it')}`);
  }
  const seccomp = help.includes('--seccomp-filter') && (await works({ ...none, setpriv, seccomp: filter }));
  if (!seccomp) missing.push(`seccomp: ${whyNot('--seccomp-filter', `no filter for ${process.arch} works here`)}`);
  return {
    parts: {
      setpriv,
      prlimit,
      memlock,
      ...(seccomp ? { seccomp: filter } : {}),
      ...(landlock === undefined ? {} : { landlock }),
    },
    facts: factsOf(missing, notes),
  };
}

const helpOf = async (setpriv: readonly string[]) =>
  (await collect([...setpriv, '--help'], { env: { PATH: '/usr/bin:/bin' } })).stdout;

const factsOf = (missing: readonly string[], notes: readonly string[]): SandboxFacts => ({
  state: missing.length === 0 ? 'full' : 'degraded',
  missing,
  // No run needs a cgroup of its own to be safe, so this alone does not make the sandbox degraded.
  notes: ['cgroup: no memory limit for each run, its address space is limited instead', ...notes],
});
