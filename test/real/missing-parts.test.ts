import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { bpftraceCommand, canTrace } from '../helpers/machine.ts';
import { connect } from '../helpers/mcp-clients.ts';
import { startServer, temporaryFolder } from '../helpers/server.ts';
import { until } from '../helpers/until.ts';

/** Runs what follows in a mount namespace of its own, in which `hidden` are empty. */
const without = (...hidden: readonly string[]): readonly string[] => {
  const mounts = hidden.map((path) => `mount -t tmpfs none ${path}`).join(' && ');
  return ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', `${mounts} && exec "$@"`, 'sh'];
};

async function infoOf(options: Parameters<typeof startServer>[0], program: string) {
  await using server = await startServer(options);
  await using client = await connect(server.mcp);
  const info = await client.call('bpf_info');
  const run = await client.call('exec_program', { program, timeout: 1 });
  return { info: info.text, run: run.text };
}

const OPENS = 'tracepoint:syscalls:sys_enter_openat { @ = count(); }';

test.skipIf(!canTrace)(
  'without BTF the server starts, says so, and traces what needs no types [needs root and BPF]',
  async () => {
    const { info, run } = await infoOf({ under: without('/sys/kernel/btf') }, OPENS);
    expect(info).toMatch(/^BTF no, tracefs yes, lockdown (?!confidentiality)\w+, Landlock yes/m);
    expect(info).toContain('rawtracepoint (bpftrace cannot attach them without BTF)');
    expect(run).toMatch(/complete/);
  },
);

test.skipIf(!canTrace)('a missing tracefs is mounted, and said [needs root and BPF]', async () => {
  // The empty folder hides the real one; what the server mounts on it is gone with its namespace.
  await using server = await startServer({ under: without('/sys/kernel/tracing') });
  await until(() => server.stdout().includes('tracepoint'), 'the server says what it can do');
  expect(server.stdout()).toMatch(/tracefs +was missing and has been mounted/);
});

test.skipIf(!canTrace)(
  'with a setpriv that knows no Landlock the sandbox is degraded, and said [needs root and BPF]',
  async () => {
    const folder = await temporaryFolder();
    onTestFinished(() => rm(folder, { recursive: true }));
    const setpriv = join(folder, 'setpriv');
    // What Debian 12 has: the tool is there, the two options are not.
    await writeFile(
      setpriv,
      `#!/bin/sh\ncase "$*" in *landlock*|*seccomp*) exit 1;; esac\nexec /usr/bin/setpriv "$@"\n`,
    );
    const bpftrace = join(folder, 'bpftrace');
    await writeFile(bpftrace, `#!/bin/sh\nexec ${bpftraceCommand.map((word) => `'${word}'`).join(' ')} "$@"\n`);
    await Promise.all([setpriv, bpftrace].map((path) => chmod(path, 0o755)));
    const under = ['env', `PATH=${folder}:/usr/sbin:/usr/bin:/sbin:/bin`];
    const { info, run } = await infoOf({ under, args: ['--bpftrace', bpftrace] }, OPENS);
    expect(info).toMatch(/degraded/);
    expect(info).toMatch(/landlock/i);
    expect(run).toMatch(/complete/);
  },
);
