import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { createFunctionNames } from '../../src/bpftrace/functions.ts';
import { createKernel } from '../../src/bpftrace/kernel.ts';
import { silentLog } from '../../src/log.ts';
import { bpftraceCommand, canTrace } from '../helpers/machine.ts';

const never = new AbortController().signal;
const page = { fields: false, limit: 20, offset: 0 };
const folder = mkdtempSync(join(tmpdir(), 'kerntap-kernel-'));
afterAll(() => rmSync(folder, { recursive: true }));

const functions = join(folder, 'functions');
createFunctionNames(functions).refresh();
const [file = 'bpftrace', ...first] = [...bpftraceCommand, '--traceable-functions', functions];

const kernel = createKernel({ query, attach, version: '0.27.0', bundled: true, log: silentLog });

function query(
  args: readonly string[],
  signal: AbortSignal,
): Promise<{ stdout: string; exitCode: number | undefined }> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...first, ...args], { cwd: '/', signal, stdio: ['ignore', 'pipe', 'ignore'] });
    const parts: Buffer[] = [];
    child.stdout.on('data', (part: Buffer) => parts.push(part));
    child.on('error', reject);
    child.on('close', (code) => resolve({ stdout: Buffer.concat(parts).toString(), exitCode: code ?? undefined }));
  });
}

/** Starts a program and ends it as soon as it is attached. */
function attach(program: string): Promise<{ attached: boolean; why?: string }> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, __BPFTRACE_NOTIFY_PROBES_ATTACHED: '1' };
    const child = spawn(file, [...first, '-'], { cwd: '/', env, stdio: ['pipe', 'pipe', 'ignore'] });
    let attached = false;
    child.stdout.on('data', (part: Buffer) => {
      if (attached || !part.includes('__BPFTRACE_NOTIFY_PROBES_ATTACHED')) return;
      attached = true;
      child.kill('SIGINT');
    });
    child.on('error', reject);
    child.on('close', () => resolve({ attached }));
    child.stdin.end(program);
  });
}

test.skipIf(!canTrace)('this kernel has facts, and tracepoints attach [needs root and BPF]', async () => {
  const facts = await kernel.facts(false, never);
  expect(facts.kernel.release).toMatch(/^\d+\.\d+/);
  expect(facts.kernel.cpus).toBeGreaterThan(0);
  expect(facts.tracefs).toBe(true);
  expect(['none', 'integrity', 'confidentiality', 'unknown']).toContain(facts.lockdown);
  const kinds = new Map(facts.probeKinds.map((kind) => [kind.kind, kind]));
  for (const kind of ['tracepoint', 'profile', 'interval', 'software'])
    expect(kinds.get(kind)).toEqual({ kind, available: true });
  expect(facts.probeKinds.filter((kind) => !kind.available && kind.why === undefined)).toEqual([]);
  expect(facts.features.helpers.length).toBeGreaterThan(0);
});

test.skipIf(!canTrace)('words find a tracepoint of this kernel before all else [needs root and BPF]', async () => {
  const found = await kernel.probes({ ...page, filter: 'sched switch' }, never);
  expect(found.probes[0]?.name).toBe('tracepoint:sched:sched_switch');
  expect(found.total).toBeGreaterThan(500);
});

test.skipIf(!canTrace)('fields have the names that a program uses [needs root and BPF]', async () => {
  const asked = { ...page, filter: 'tracepoint:sched:sched_switch', fields: true };
  const { probes } = await kernel.probes(asked, never);
  expect(probes[0]?.fields?.map((field) => field.name)).toEqual(expect.arrayContaining(['prev_pid', 'next_comm']));
});

test.skipIf(!canTrace)(
  'a struct of this kernel is searched with what is embedded in it [needs root and BPF]',
  async () => {
    const { struct } = await kernel.probes({ ...page, filter: 'struct sock skc_stat' }, never);
    expect(struct?.fields.map((field) => field.name)).toContain('__sk_common.skc_state');
    expect((await kernel.probes({ ...page, filter: 'struct task_strukt' }, never)).closest[0]).toBe(
      'struct task_struct',
    );
  },
);

test.skipIf(!canTrace)('the symbols of a program are found in its file [needs root and BPF]', async () => {
  const maps = readFileSync('/proc/self/maps', 'utf8');
  const libc = /(\/\S*\/(?:libc[.-]|ld-musl-)\S*)$/m.exec(maps)?.[1] ?? '';
  const { probes, total } = await kernel.probes({ ...page, filter: `uprobe:${libc}:gethostid` }, never);
  expect(probes).toEqual([{ name: `uprobe:${libc}:gethostid` }]);
  expect(total).toBeGreaterThan(100);
});

test.skipIf(!canTrace)('names that bpftrace does not know find their neighbours [needs root and BPF]', async () => {
  const nearest = (kind: 'probe' | 'field', name: string, context: string) =>
    kernel.nearest(kind, name, context, never);
  expect((await nearest('probe', 'sched:sched_swich', 'tracepoint'))[0]).toBe('tracepoint:sched:sched_switch');
  expect((await nearest('field', 'next_pd', 'struct tracepoint:sched:sched_switch_args'))[0]).toBe('next_pid');
  expect((await nearest('field', 'skc_state', 'struct sock'))[0]).toBe('__sk_common.skc_state');
});

test.skipIf(!canTrace)('this kernel lets programs be scoped by what it has [needs root and BPF]', async () => {
  const scoping = await kernel.scoping(never);
  const { lockdown } = await kernel.facts(false, never);
  expect(scoping.has('struct task_struct', 'cgroups')).toBe(true);
  expect(scoping.has('struct task_struct', 'nosuchfield')).toBe(false);
  expect(scoping.cgroups === 'id_set').toBe(lockdown === 'confidentiality');
  // What was chosen is what bpftrace can read here.
  if (scoping.cgroups.startsWith('ancestor')) {
    const program = `software:cpu-clock:1000000000 { @ = curtask->cgroups->dfl_cgrp->${scoping.cgroups}[0]; }`;
    expect(await attach(program)).toEqual({ attached: true });
  }
});
