import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The checkout, without a trailing slash. */
export const projectRoot = join(import.meta.dirname, '../..');

export const isRoot = process.geteuid?.() === 0;

/** Command and first arguments that start the bpftrace that was named or unpacked here, else the one on PATH. */
export const bpftraceCommand: readonly string[] = process.env.KERNTAP_BPFTRACE
  ? [process.env.KERNTAP_BPFTRACE]
  : (unpackedBpftrace() ?? ['bpftrace']);

/** True when a bpftrace of this process can load and attach a program: it was tried once in this test run. */
export const canTrace = tried() === 'yes';

/** For `test.env` of the runner, so that its workers need not try again. */
export const machineEnv = { KERNTAP_TEST_CAN_TRACE: canTrace ? 'yes' : 'no' };

function unpackedBpftrace(): readonly string[] | undefined {
  const usr = join(projectRoot, '.cache/bpftrace/root/usr');
  if (!existsSync(join(usr, 'bin/bpftrace'))) return undefined;
  for (const triplet of readdirSync(join(usr, 'lib')).filter((name) => name.endsWith('-linux-gnu'))) {
    const libraries = join(usr, 'lib', triplet);
    const loader = readdirSync(libraries).find((name) => /^ld-linux-.*\.so\.\d$/.test(name));
    if (loader !== undefined) {
      return [join(libraries, loader), '--library-path', libraries, '--argv0', 'bpftrace', join(usr, 'bin/bpftrace')];
    }
  }
  return undefined;
}

function tried(): string {
  const known = process.env.KERNTAP_TEST_CAN_TRACE;
  if (known !== undefined) return known;
  if (!hasCapabilities()) return 'no';
  const [file = 'bpftrace', ...args] = bpftraceCommand;
  return spawnSync(file, [...args, '-e', 'BEGIN { exit(); }'], { cwd: '/' }).status === 0 ? 'yes' : 'no';
}

/** Whether this process holds all capabilities that the server asks for. */
function hasCapabilities(): boolean {
  const held = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
  const [setpcap, sysPtrace, sysAdmin, syslog, perfmon, bpf] = [8n, 19n, 21n, 34n, 38n, 39n];
  return [setpcap, sysPtrace, sysAdmin, syslog, perfmon, bpf].every((bit) => ((held >> bit) & 1n) === 1n);
}
