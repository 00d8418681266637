// Node's part of the runc that containerd starts: makes a bundle fit for a machine without systemd and, maybe, without
// cgroup controllers. Arguments: how cgroups are named (`systemd` or `literal`), then those of runc.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { slicesOf } from './pod-cgroup.ts';

interface Process {
  rlimits?: unknown;
  oomScoreAdj?: number;
  capabilities?: Record<string, string[]>;
}
interface Spec {
  process: Process;
  linux: { cgroupsPath: string; resources?: { devices?: unknown } };
}

const [naming, ...args] = process.argv.slice(2);
const after = (option: string) => args[args.indexOf(option) + 1] ?? '';

function change<Content>(file: string, by: (content: Content) => void): void {
  const content = JSON.parse(readFileSync(file, 'utf8')) as Content;
  by(content);
  writeFileSync(file, JSON.stringify(content));
}

/** Leaves out what only CAP_SYS_RESOURCE may do, which a machine in a sandbox lacks. */
function unassuming(process: Process): void {
  delete process.rlimits;
  process.oomScoreAdj = Math.max(0, process.oomScoreAdj ?? 0);
  for (const [set, names] of Object.entries(process.capabilities ?? {})) {
    if (process.capabilities) process.capabilities[set] = names.filter((name) => name !== 'CAP_SYS_RESOURCE');
  }
}

if (args.includes('--process')) change(after('--process'), unassuming);
if (args.includes('--bundle')) {
  change<Spec>(join(after('--bundle'), 'config.json'), ({ process, linux }) => {
    unassuming(process);
    const controllers = readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').split(/\s+/);
    if (!controllers.includes('cpu')) linux.resources = { devices: linux.resources?.devices ?? [] };
    const [slice, prefix, id, ...rest] = linux.cgroupsPath.split(':');
    if (naming === 'systemd' && slice && prefix && id && rest.length === 0)
      linux.cgroupsPath = `${slicesOf(slice)}/${prefix}-${id}.scope`;
  });
}
