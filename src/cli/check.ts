import { composeNode, loadConfig, localCall } from '../compose.ts';
import type { Command } from './commands.ts';
import type { Terminal } from './terminal.ts';

export const check: Command = {
  name: 'check',
  usage: 'check [options]',
  summary: 'say what this machine can do, one line each, and what to do about a no',
  async run(args, terminal) {
    const local = await composeNode(loadConfig(args, process.env), () => {});
    const never = new AbortController().signal;
    try {
      const facts = await local.node.describe(true, localCall(never));
      const yes = (name: string, value: string) => terminal.out(`${mark(terminal, true)} ${name.padEnd(14)} ${value}`);
      const no = (name: string, why: string) => terminal.out(`${mark(terminal, false)} ${name.padEnd(14)} ${why}`);
      const say = (ok: boolean, name: string, value: string, otherwise: string) =>
        ok ? yes(name, value) : no(name, otherwise);

      yes('kernel', `${facts.kernel.release} ${facts.kernel.arch}, ${facts.kernel.cpus} CPUs`);
      yes('bpftrace', `${facts.bpftrace.version}${facts.bpftrace.bundled ? ', unpacked below .cache' : ''}`);
      say(
        facts.btf,
        'BTF',
        'types of the kernel are known',
        'absent: use a kernel built with CONFIG_DEBUG_INFO_BTF, else struct fields are unknown',
      );
      const tracefs = local.tracefs === 'mounted' ? 'was missing, is mounted now' : 'mounted';
      say(facts.tracefs, 'tracefs', tracefs, 'absent: mount -t tracefs nodev /sys/kernel/tracing');
      say(
        facts.lockdown !== 'confidentiality',
        'lockdown',
        facts.lockdown,
        'confidentiality: boot without lockdown=confidentiality, else programs cannot read kernel memory',
      );
      say(
        facts.landlock,
        'Landlock',
        'bpftrace sees only the files that it needs',
        'absent: boot with lsm=landlock,… on a kernel from 5.13',
      );
      say(
        facts.sandbox.state === 'full',
        'sandbox',
        ['full', ...facts.sandbox.missing].join('; '),
        facts.sandbox.missing.join('; '),
      );
      say(
        facts.cgroups.layout !== 'none',
        'cgroups',
        `${facts.cgroups.layout} ${facts.cgroups.path ?? ''}`,
        'no cgroup file system is mounted',
      );
      for (const { kind, available, why } of facts.probeKinds)
        say(available, kind, 'attaches', why ?? 'does not attach');
      yes('data', `${local.dataDir}, ${facts.store.runs} runs`);
    } finally {
      await local.close(never);
    }
    return 0;
  },
};

const mark = (terminal: Terminal, ok: boolean): string =>
  ok ? terminal.style('green', 'yes') : terminal.style('yellow', 'no ');
