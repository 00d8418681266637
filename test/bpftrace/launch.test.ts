import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Chain, environmentOf, renderChain } from '../../src/bpftrace/launch.ts';
import { createOwnFolder } from '../../src/bpftrace/own-folder.ts';
import { requirePrivileges } from '../../src/bpftrace/privilege.ts';
import { projectRoot } from '../helpers/machine.ts';
import { temporaryFolder } from '../helpers/tracer.ts';

const chain: Chain = {
  installation: {
    version: '0.27.0',
    bundled: false,
    bpftrace: ['/usr/bin/bpftrace'],
    setpriv: ['/usr/bin/setpriv'],
    prlimit: ['/usr/bin/prlimit'],
  },
  parts: { setpriv: true, seccomp: '/deny.bpf', landlock: 'fs', prlimit: true },
  functionsFile: '/proc/self/status',
  maxCpuS: 620,
};

describe('the launch chain', () => {
  test('is one row of execs, with nothing between setpriv, prlimit and bpftrace that could fork', () => {
    const words = renderChain(chain, '/tmp', ['-f', 'json', '-']);
    const programs = words.filter((word) => word.startsWith('/usr/bin/'));
    expect(programs).toEqual(['/usr/bin/setpriv', '/usr/bin/prlimit', '/usr/bin/bpftrace']);
    expect(words.slice(-5)).toEqual(['--', '/usr/bin/bpftrace', '-f', 'json', '-']);
    expect(words.join(' ')).toContain('--pdeathsig KILL --bounding-set -all,+sys_admin,+bpf,+perfmon,+syslog');
    expect(words).toContain('--cpu=620:621');
  });

  test('lifts the limit of locked memory before setpriv takes the right to do so', () => {
    const words = renderChain({ ...chain, parts: { ...chain.parts, memlock: true } }, '/tmp', ['-']);
    expect(words.slice(0, 4)).toEqual(['/usr/bin/prlimit', '--memlock=unlimited', '--', '/usr/bin/setpriv']);
  });

  test('lets bpftrace write in its own folder alone', () => {
    const words = renderChain(chain, '/private', []);
    const rules = words.filter((word) => word.startsWith('path-beneath:') && /write-file|make-/.test(word));
    expect(rules).toEqual([
      'path-beneath:read-file,write-file:/dev/null',
      'path-beneath:make-reg,write-file,read-file,remove-file:/private',
    ]);
  });

  test('has no rule for a path that is not there, which setpriv would refuse', () => {
    const words = renderChain({ ...chain, functionsFile: '/nowhere/functions' }, '/tmp', []);
    expect(words.join(' ')).not.toContain('/nowhere');
  });

  test('leaves out what does not work on this machine', () => {
    expect(renderChain({ ...chain, parts: { setpriv: false, prlimit: false } }, '/tmp', ['-'])).toEqual([
      '/usr/bin/bpftrace',
      '-',
    ]);
  });

  test('sets no variable to nothing, which bpftrace would take for a wrong number', () => {
    expect(Object.values(environmentOf('/tmp'))).not.toContain('');
  });
});

describe('privileges', () => {
  const status = (caps: string, uid = 0) => `Name:\tnode\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\nCapEff:\t${caps}\n`;

  test('root with all capabilities may trace', () => {
    expect(() => requirePrivileges(status('000001ffffffffff'))).not.toThrow();
  });

  test.each([
    [
      'an ordinary user',
      status('0000000000000000', 1000),
      'CAP_SYS_ADMIN, CAP_BPF, CAP_PERFMON, CAP_SYSLOG, CAP_SETPCAP',
    ],
    ['root in a plain container', status('00000000a80425fb'), 'CAP_SYS_ADMIN, CAP_BPF, CAP_PERFMON, CAP_SYSLOG,'],
    ['root without CAP_SYSLOG', status('000001fbffffffff'), 'needs CAP_SYSLOG,'],
    ['a user with all capabilities', status('000001ffffffffff', 1000), 'user 1000'],
  ])('%s is told what is missing', (_who, text, missing) => {
    expect(() => requirePrivileges(text)).toThrow(
      expect.objectContaining({ code: 'start.privilege', message: expect.stringContaining(missing) }),
    );
  });

  test('under lockdown=confidentiality nobody may, and is told how to boot; the lower level is no hindrance', () => {
    const root = status('000001ffffffffff');
    expect(() => requirePrivileges(root, 'none integrity [confidentiality]\n')).toThrow(
      expect.objectContaining({ code: 'start.privilege', remedy: expect.stringContaining('lockdown=integrity') }),
    );
    expect(() => requirePrivileges(root, 'none [integrity] confidentiality\n')).not.toThrow();
  });
});

describe("a server's own folder", () => {
  test('is private, and goes with what is in it', () => {
    using folder = temporaryFolder();
    const own = createOwnFolder(join(folder.path, 'run'), () => {});
    const run = own.makeRunFolder();
    expect(run.startsWith(own.path)).toBe(true);
    own.remove();
    expect(readdirSync(join(folder.path, 'run'))).toEqual([]);
  });

  test('is kept while its server lives, and swept when its pid is gone or another process has it now', () => {
    using folder = temporaryFolder();
    const living = createOwnFolder(folder.path, () => {});
    const dead = ['4194305-1-gone', `${process.pid}-1-reused`].map((name) => join(folder.path, name));
    for (const path of dead) mkdirSync(join(path, 'run-1'), { recursive: true });
    writeFileSync(join(folder.path, 'foreign'), 'not ours');
    const swept: string[] = [];
    createOwnFolder(folder.path, (path) => swept.push(path));
    expect(swept.sort()).toEqual(dead.sort());
    const left = readdirSync(folder.path);
    expect(left).toHaveLength(3);
    expect(left).toContain('foreign');
    expect(left.map((name) => join(folder.path, name))).toContain(living.path);
  });

  test('is swept again when it is asked to, of servers that died since', () => {
    using folder = temporaryFolder();
    const swept: string[] = [];
    const own = createOwnFolder(folder.path, (path) => swept.push(path));
    const dead = join(folder.path, '4194305-1-gone');
    mkdirSync(dead);
    own.sweep();
    expect(swept).toEqual([dead]);
    expect(readdirSync(folder.path).map((name) => join(folder.path, name))).toEqual([own.path]);
  });

  test('is not made where others may write', () => {
    using folder = temporaryFolder();
    const runDir = join(folder.path, 'open');
    mkdirSync(runDir);
    spawnSync('chmod', ['777', runDir]);
    expect(() => createOwnFolder(runDir, () => {})).toThrow(expect.objectContaining({ code: 'start.data' }));
  });
});

describe('the filter of system calls', () => {
  const KILL = 0x80000000;
  const EPERM = 0x00050001;
  const ALLOW = 0x7fff0000;

  /** Runs a classic BPF program over one call, as the kernel does. */
  function decide(filter: Buffer, arch: number, nr: number): number | undefined {
    let accumulator = 0;
    for (let at = 0; at * 8 < filter.length; at++) {
      const [code, yes, no, value] = [
        filter.readUInt16LE(at * 8),
        filter.readUInt8(at * 8 + 2),
        filter.readUInt8(at * 8 + 3),
        filter.readUInt32LE(at * 8 + 4),
      ];
      if (code === 0x06) return value;
      if (code === 0x20) accumulator = value === 0 ? nr : arch;
      if (code === 0x15) at += accumulator === value ? yes : no;
      if (code === 0x35) at += accumulator >= value ? yes : no;
    }
    return undefined;
  }

  const filterOf = (arch: string) => readFileSync(join(projectRoot, `seccomp/deny-${arch}.bpf`));

  test('is what scripts/seccomp.mjs writes', () => {
    using folder = temporaryFolder();
    const script = join(projectRoot, 'scripts/seccomp.mjs');
    expect(spawnSync(process.execPath, [script, folder.path]).status).toBe(0);
    for (const name of ['deny-x86_64.bpf', 'deny-aarch64.bpf']) {
      const written = readFileSync(join(folder.path, name));
      expect(written.equals(readFileSync(join(projectRoot, 'seccomp', name)))).toBe(true);
    }
  });

  test.each([
    // arch, AUDIT_ARCH, denied: mount ptrace socket setns kill init_module; allowed: read write execve bpf perf_event_open
    ['x86_64', 0xc000003e, [165, 101, 41, 308, 62, 175], [0, 1, 59, 321, 298]],
    ['aarch64', 0xc00000b7, [40, 117, 198, 268, 129, 105], [63, 64, 221, 280, 241]],
  ])('of %s denies what bpftrace never needs and nothing that it does', (arch, audit, denied, allowed) => {
    const filter = filterOf(arch);
    for (const nr of denied) expect(decide(filter, audit, nr)).toBe(EPERM);
    for (const nr of allowed) expect(decide(filter, audit, nr)).toBe(ALLOW);
    expect(decide(filter, 0x40000003, 0)).toBe(KILL); // a 32-bit call would have other numbers
  });

  test('of x86_64 denies the second numbering of that architecture', () => {
    expect(decide(filterOf('x86_64'), 0xc000003e, 0x40000000)).toBe(EPERM);
  });
});
