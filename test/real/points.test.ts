import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { createKernelTypes } from '../../src/bpftrace/btf.ts';
import { createFunctionNames } from '../../src/bpftrace/functions.ts';
import { createPoints } from '../../src/bpftrace/points.ts';
import { parseFields } from '../../src/bpftrace/probe-index.ts';
import { pointOf } from '../../src/program/tree.ts';
import { bpftraceCommand, canTrace } from '../helpers/machine.ts';

const never = new AbortController().signal;
const folder = mkdtempSync(join(tmpdir(), 'kerntap-points-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** What bpftrace itself lists, with arguments. */
function listed(pattern: string) {
  const functions = join(folder, 'functions');
  createFunctionNames(functions).refresh();
  const [file = 'bpftrace', ...first] = bpftraceCommand;
  const args = [...first, '--traceable-functions', functions, '-lv', pattern];
  return parseFields(spawnSync(file, args, { cwd: '/', encoding: 'utf8', maxBuffer: 1 << 26 }).stdout);
}

const point = (name: string) => {
  const [kind = '', ...parts] = name.split(':');
  return pointOf(kind, ...parts);
};

test.skipIf(!canTrace).each(['tracepoint:*:*', 'rawtracepoint:*'])(
  'all of %s that bpftrace lists is found with the names that it has [needs root and BPF]',
  async (pattern) => {
    const expected = listed(pattern);
    const names = [...expected.keys()];
    expect(names.length).toBeGreaterThan(100);
    const lookup = await createPoints('/', createKernelTypes('/')).find(names.map(point), never);
    const found = new Map(
      names.map((name) => [name, lookup(point(name)).flatMap(({ fields }) => fields.map((field) => field.name))]),
    );
    expect(found).toEqual(new Map([...expected].map(([name, fields]) => [name, fields.map((field) => field.name)])));
  },
);

test.skipIf(!canTrace)('wildcards stand for what bpftrace finds [needs root and BPF]', async () => {
  const lookup = await createPoints('/', createKernelTypes('/')).find([], never);
  for (const pattern of ['tracepoint:sched:sched_*', 'rawtracepoint:sched_*', 'kprobe:vfs_*']) {
    const names = lookup(point(pattern)).map(({ name }) => name);
    expect(names.sort()).toEqual([...listed(pattern).keys()].sort());
  }
});

test.skipIf(!canTrace)('arguments that a rule needs have their types [needs root and BPF]', async () => {
  const lookup = await createPoints('/', createKernelTypes('/')).find([], never);
  const typesOf = (name: string) => lookup(point(name)).flatMap(({ parameters }) => parameters.map(({ type }) => type));
  expect(typesOf('tracepoint:sched:sched_switch').slice(1, 3)).toEqual([
    'struct task_struct *',
    'struct task_struct *',
  ]);
  expect(typesOf('rawtracepoint:block_rq_issue')).toEqual(['struct request *']);
  expect(typesOf('tracepoint:skb:kfree_skb')).toContain('struct sk_buff *');
  expect(typesOf('kprobe:tcp_connect')).toEqual(['struct sock *']);
});
