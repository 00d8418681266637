import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ensureTracefs } from '../../src/bpftrace/tracefs.ts';
import { plainProgram } from '../../src/program/instrument.ts';
import { canTrace } from '../helpers/machine.ts';
import {
  bpftraceChildrenOf,
  createTestTracer,
  installed,
  printed,
  scalar,
  startHiddenShell,
  type TestTracer,
  temporaryFolder,
} from '../helpers/tracer.ts';
import { until } from '../helpers/until.ts';

const SWITCH = '/proc/sys/kernel/bpf_stats_enabled';
const { signal } = new AbortController();

/** Lets a program wait and reads /proc of its bpftrace meanwhile. */
async function whileRunning<T>(own: TestTracer, read: (pid: number) => T | Promise<T>): Promise<T> {
  const run = own.run('interval:s:1 { }');
  await run.armed;
  const [pid = 0] = bpftraceChildrenOf();
  const found = await read(pid);
  run.stop('stopped');
  await run.end;
  return found;
}

const procFile = (name: string) => (pid: number) => readFileSync(`/proc/${pid}/${name}`, 'utf8');

async function canConfine(): Promise<boolean> {
  if (!canTrace) return false;
  await using own = await createTestTracer();
  return own.tracer.sandbox.state === 'full';
}
const isFull = await canConfine();

describe.skipIf(!canTrace)('the launch chain [needs root and BPF]', () => {
  test('finds tracefs where it was mounted, or mounts it', async () => {
    expect(await ensureTracefs()).not.toBe('absent');
    expect(await ensureTracefs()).toBe('present');
  });

  test('builds the environment from nothing', async () => {
    await using own = await createTestTracer();
    process.env.BPFTRACE_MAX_PROBES = '9999';
    process.env.KERNTAP_TEST_SECRET = 'secret';
    const environment = await whileRunning(own, procFile('environ')).finally(() => {
      delete process.env.BPFTRACE_MAX_PROBES;
      delete process.env.KERNTAP_TEST_SECRET;
    });
    const names = environment.split('\0').filter(Boolean);
    expect(names.map((entry) => entry.split('=')[0]).sort()).toEqual([
      'BPFTRACE_MAX_BPF_PROGS',
      'BPFTRACE_MAX_CAT_BYTES',
      'BPFTRACE_MAX_MAP_KEYS',
      'BPFTRACE_MAX_PROBES',
      'BPFTRACE_MAX_STRLEN',
      'BPFTRACE_PERF_RB_PAGES',
      'GLIBC_TUNABLES',
      'LANG',
      'LD_BIND_NOW',
      'PATH',
      'TMPDIR',
      '__BPFTRACE_NOTIFY_PROBES_ATTACHED',
    ]);
    expect(names).toContain('BPFTRACE_MAX_PROBES=72');
  });

  test('keeps the program out of the command line, and bpftrace in a session of its own', async () => {
    await using own = await createTestTracer();
    const [command, stat] = await whileRunning(own, (pid) => [procFile('cmdline')(pid), procFile('stat')(pid)]);
    expect(command).not.toContain('interval');
    const [, , , session] = stat?.split(') ').at(-1)?.split(' ') ?? [];
    expect(session).toBe(stat?.split(' ')[0]);
  });

  test('holds kernel.bpf_stats_enabled while it traces, whoever turns it off, and gives it back', async () => {
    const read = () => readFileSync(SWITCH, 'utf8').trim();
    const before = read();
    await using own = await createTestTracer();
    await whileRunning(own, async () => {
      await until(() => read() === '1', 'statistics on');
      writeFileSync(SWITCH, '0'); // as another server does at its end
      await until(() => read() === '1', 'statistics on again');
    });
    await until(() => read() === before, 'statistics as before');
  });

  test('cat() prints nothing, whatever file it names', async () => {
    await using own = await createTestTracer();
    const run = own.run(plainProgram('begin { cat("/proc/sys/kernel/ostype"); @a = 1; exit(); }'));
    const end = await run.end;
    expect(scalar(end, '@a')).toBe(1);
    expect(JSON.stringify(run.events)).not.toContain('Linux');
  });

  test.skipIf(!isFull)(
    'leaves four capabilities and no way to new ones [needs setpriv with Landlock and seccomp]',
    async () => {
      await using own = await createTestTracer();
      const status = await whileRunning(own, procFile('status'));
      expect(status).toMatch(/^NoNewPrivs:\s*1$/m);
      expect(status).toMatch(/^Seccomp:\s*2$/m);
      for (const set of ['CapEff', 'CapPrm', 'CapBnd']) {
        expect(status).toMatch(new RegExp(`^${set}:\\s*000000c400200000$`, 'm')); // BPF, PERFMON, SYSLOG, SYS_ADMIN
      }
      expect(status).toMatch(/^Cap(?:Inh|Amb):\s*0+$/m);
      const limits = await whileRunning(own, procFile('limits'));
      expect(limits).toMatch(/^Max address space\s+2147483648\s+2147483648/m);
      expect(limits).toMatch(/^Max core file size\s+0\s+0/m);
    },
  );

  test('traces a file that only another mount namespace has, and gives bpftrace no other way to it', async () => {
    await using own = await createTestTracer();
    await using hidden = await startHiddenShell();
    const program = {
      ...printed('uprobe:/proc/self/fd/9:xmalloc { printf("%s\\n", comm); @ = count(); }'),
      attachPoints: ['uprobe:bash:xmalloc'],
      files: [`/proc/${hidden.pid}/root${hidden.path}`],
    };
    expect(existsSync(hidden.path)).toBe(false);
    expect(await own.tracer.check(program, signal)).toEqual([]);
    const run = own.run(program);
    await run.armed;
    await hidden.work();
    run.stop('stopped');
    const end = await run.end;
    expect(end).toMatchObject({ state: 'truncated', reason: 'stopped', attached: 1, diagnostics: [] });
    expect(scalar(end, '@')).toBeGreaterThan(0);
    expect(end.counts.seen).toBe(scalar(end, '@'));
  });

  test('names a file that is gone, or that is no program', async () => {
    await using own = await createTestTracer();
    for (const file of ['/nowhere/bash', '/etc/passwd', '/dev/null', '/usr']) {
      const program = { ...printed('uprobe:/proc/self/fd/9:main { @ = count(); }'), files: [file] };
      await expect(own.run(program).end).rejects.toMatchObject({ code: 'target.no_file' });
      await expect(own.tracer.check(program, signal)).rejects.toMatchObject({ code: 'target.no_file' });
    }
    expect(bpftraceChildrenOf()).toEqual([]);
  });

  test('lets bpftrace read a program that its probes name, wherever it is, and lists its symbols', async () => {
    await using own = await createTestTracer();
    using folder = temporaryFolder();
    const shop = join(folder.path, 'shop');
    copyFileSync('/bin/bash', shop);
    const listed = await own.tracer.query(['-l', `uprobe:${shop}:xmalloc`], signal);
    expect(listed.stdout).toContain(`uprobe:${shop}:xmalloc`);
    const run = own.run(`uprobe:${shop}:xmalloc { @ = count(); }`);
    await run.armed;
    execFileSync(shop, ['-c', 'a=1; b=$a']);
    run.stop('stopped');
    const end = await run.end;
    expect(end).toMatchObject({ state: 'truncated', attached: 1 });
    expect(scalar(end, '@')).toBeGreaterThan(0);
  });

  test.skipIf(!isFull)(
    'hides every file that bpftrace does not need [needs setpriv with Landlock and seccomp]',
    async () => {
      await using own = await createTestTracer();
      using folder = temporaryFolder();
      const secret = join(folder.path, 'secret.bt');
      writeFileSync(secret, 'begin { printf("secret"); }');
      // bpftrace would read its program from there, and quote it.
      for (const path of [secret, '/etc/shadow', '/proc/1/environ']) {
        const { stdout, stderr, exitCode } = await own.tracer.query(['--mode', 'codegen', path], signal);
        expect(exitCode).not.toBe(0);
        expect(stdout + stderr).toMatch(/failed to open file|Permission denied/);
      }
      const source = '#include "/etc/passwd"\nbegin { exit(); }';
      const end = await own.run(plainProgram(source)).end;
      expect(end.state).toBe('failed');
      expect(JSON.stringify(end)).not.toContain('root:');
    },
  );

  test('says what is missing, and traces all the same, with a setpriv that knows neither Landlock nor seccomp', async () => {
    using folder = temporaryFolder();
    const installation = await installed();
    const old = script(
      folder.path,
      'setpriv',
      `case "$*" in --help) echo "--nnp --pdeathsig"; exit;; *--landlock*|*--seccomp*) exit 1;; esac
       exec ${(installation.setpriv ?? ['setpriv']).map((word) => `'${word}'`).join(' ')} "$@"`,
    );
    await using own = await createTestTracer({ installation: { ...installation, setpriv: [old] } });
    expect(own.tracer.sandbox.state).toBe('degraded');
    expect(own.tracer.sandbox.missing).toEqual(
      expect.arrayContaining([
        'landlock: setpriv has no --landlock-access',
        'seccomp: setpriv has no --seccomp-filter',
      ]),
    );
    expect(await own.run('begin { exit(); }').end).toMatchObject({ state: 'complete' });
    expect(await whileRunning(own, procFile('status'))).toMatch(/^NoNewPrivs:\s*1$/m);
  });

  test('says what is missing, and traces all the same, without setpriv and prlimit', async () => {
    const installation = { ...(await installed()), setpriv: undefined, prlimit: undefined };
    await using own = await createTestTracer({ installation });
    expect(own.tracer.sandbox).toMatchObject({
      state: 'degraded',
      missing: expect.arrayContaining(['rlimits: there is no prlimit']),
    });
    expect(await own.run('begin { exit(); }').end).toMatchObject({ state: 'complete' });
  });

  test('a chain that breaks later is our fault, never that of the program', async () => {
    using folder = temporaryFolder();
    const broken = script(
      folder.path,
      'bpftrace',
      'case "$*" in *--version*) echo "bpftrace v0.27.0";; *) exit 127;; esac',
    );
    const installation = { ...(await installed()), bpftrace: [broken], root: folder.path };
    await using own = await createTestTracer({ installation });
    await expect(own.run('begin { exit(); }').end).rejects.toMatchObject({ code: 'trace.launch' });
    await expect(own.tracer.query(['-l'], signal)).rejects.toMatchObject({ code: 'trace.launch' });
  });
});

function script(folder: string, name: string, body: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}
