import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { startTimeOf } from '../../../src/process-start.ts';
import { asInstalled, bootOf, checkoutDisk, type KernelName, systemDisk, vmFolder } from './disks.ts';

export interface VmOptions {
  readonly kernel?: KernelName;
  /** Added to the kernel's command line, such as `lockdown=confidentiality`. */
  readonly cmdline?: string;
}

/** A machine with kprobes, systemd and the cgroup controllers, and this checkout in /opt/kerntap. What it writes is lost. */
export interface Vm extends AsyncDisposable {
  /** Runs shell commands as root in /opt/kerntap; several may run at once. Rejects when they fail or last too long. */
  run(command: string, limitMs?: number): Promise<string>;
  /** Copies a file into the VM. */
  put(file: string, path: string): Promise<void>;
}

// Generous: where the processor is emulated, everything is ten times as slow.
const BOOT_LIMIT_MS = 300_000;
const RUN_LIMIT_MS = 300_000;

export async function startVm({ kernel = 'default', cmdline = '' }: VmOptions = {}): Promise<Vm> {
  await using stack = new AsyncDisposableStack();
  const [boot, system] = [await bootOf(kernel), await systemDisk()];
  await sweep();
  const folder = mkdtempSync(join(vmFolder, `run-${process.pid}-${startTimeOf(process.pid)}-`));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const checkout = join(folder, 'checkout');
  await checkoutDisk(checkout);

  const socket = join(folder, 'command.sock');
  const console = join(folder, 'console.log');
  const append = `console=ttyS0 loglevel=4 panic=-1 oops=panic mitigations=off audit=0 nowatchdog systemd.show_status=0 ${cmdline}`;
  const disk = (id: string, file: string) => [
    '-drive',
    `file=${file},format=raw,if=none,id=${id},cache=unsafe,snapshot=on`,
    '-device',
    `virtio-blk-pci,drive=${id}`,
  ];
  const [file, args] = asInstalled([
    ...['/usr/bin/qemu-system-x86_64', '-M', 'q35', '-accel', 'tcg,thread=multi,tb-size=512', '-cpu', 'Nehalem'],
    ...['-smp', '2', '-m', '2048', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-kernel', boot.kernel, '-initrd', boot.initrd, '-append', append, '-serial', `file:${console}`],
    ...[...disk('system', system), ...disk('checkout', checkout), '-device', 'virtio-rng-pci'],
    ...['-device', 'virtio-serial-pci', '-chardev', `socket,id=command,path=${socket},server=on,wait=off`],
    ...['-device', 'virtserialport,chardev=command,name=command'],
  ]);
  const qemu = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, TMPDIR: folder } });
  writeFileSync(join(folder, 'qemu'), `${qemu.pid} ${startTimeOf(qemu.pid ?? 0)}`);
  let complaint = '';
  qemu.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const ended = once(qemu, 'close');
  stack.defer(async () => {
    qemu.kill('SIGKILL');
    await ended;
  });
  const why = () =>
    `${complaint} its console ends: ${existsSync(console) ? readFileSync(console, 'latin1').slice(-2000) : ''}`;
  const port = await connectTo(socket, why);
  stack.defer(() => void port.destroy());

  const waiting = new Map<string, (answer: string[]) => void>();
  createInterface({ input: port }).on('line', (line) => {
    const [id = '', ...answer] = line.split(' ');
    waiting.get(id)?.(answer);
    waiting.delete(id);
  });
  let last = 0;
  const run = async (command: string, limitMs = RUN_LIMIT_MS) => {
    const id = `${++last}`;
    const answer = new Promise<string[]>((resolve) => waiting.set(id, resolve));
    port.write(`${id} ${Buffer.from(command).toString('base64')}\n`);
    const timer = new AbortController();
    const late = wait(limitMs, undefined, { signal: timer.signal }).catch(() => undefined);
    const over = await Promise.race([answer, ended.then(() => undefined), late]);
    timer.abort();
    if (over === undefined) throw new Error(`the VM has not answered to: ${command}; ${why()}`);
    const [status, stdout, stderr] = over;
    const output = textOf(stdout);
    if (status !== '0') throw new Error(`in the VM ended with ${status}: ${command}\n${output}${textOf(stderr)}`);
    return output;
  };
  await run('true', BOOT_LIMIT_MS);

  const kept = stack.move();
  return {
    run,
    async put(from, path) {
      const bytes = readFileSync(from).toString('base64');
      await run(`mkdir -p "$(dirname '${path}')" && base64 -d >'${path}' <<'END'\n${bytes}\nEND`);
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Ends the VMs of test processes that are dead, and removes their folders. */
async function sweep(): Promise<void> {
  for (const name of globSync('run-*', { cwd: vmFolder })) {
    const [, owner = '', ownerStarted] = name.split('-');
    if (startTimeOf(owner) === ownerStarted) continue;
    const folder = join(vmFolder, name);
    const file = join(folder, 'qemu');
    const [pid = '', started] = existsSync(file) ? readFileSync(file, 'utf8').split(' ') : [];
    if (started !== undefined && startTimeOf(pid) === started) process.kill(Number(pid), 'SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
}

const textOf = (base64 = '=') => Buffer.from(base64.slice(0, -1), 'base64').toString();

async function connectTo(path: string, why: () => string) {
  for (const endMs = performance.now() + 30_000; ; ) {
    const socket = connect(path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      if (performance.now() > endMs) throw new Error(`QEMU did not start: ${String(error)} ${why()}`);
    }
    await wait(50);
  }
}
