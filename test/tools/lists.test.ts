import { describe, expect, test } from 'vitest';
import type { ProbePage } from '../../src/trace/ports.ts';
import { connect } from './connect.ts';
import { createFakeNode } from './fake-node.ts';

test('bpf_info tells what works, what does not and why, within 400 tokens', async () => {
  const { node, asked } = createFakeNode();
  await using server = await connect(node);
  const { text } = await server.call('bpf_info', { refresh: true });
  expect(asked[0]?.args).toBe(true);
  expect(text.split('\n')).toEqual([
    'node dev-1: kerntap 0.1.0, kernel 6.18.44 x86_64, 2 CPUs, bpftrace 0.27.0 (brought by kerntap)',
    'BTF yes, tracefs yes, lockdown none, Landlock yes, cgroups hybrid (/sys/fs/cgroup/unified)',
    'probe kinds that attach: tracepoint, profile',
    'probe kinds that do not: kprobe (this kernel has none)',
    'helpers: 2 (list_helpers says which functions need one)',
    'sandbox: degraded; missing landlock: the kernel has none',
    'limits: maxTimeoutS 600',
    'slots: 1 of 8 taken; store: 12 runs, 1.2 MiB of 512.0 MiB',
    'found by trying at 2026-11-22T14:00:00Z; refresh=true tries again',
  ]);
});

describe('list_probes', () => {
  async function list(probes: ProbePage | undefined, args: Record<string, unknown>) {
    const { node, asked } = createFakeNode(probes ? { probes } : {});
    await using server = await connect(node);
    return { ...(await server.call('list_probes', args)), asked };
  }
  const page = (names: readonly string[], given: Partial<ProbePage> = {}): ProbePage => ({
    probes: names.map((name) => ({ name })),
    matches: names.length,
    total: 2_305,
    closest: [],
    notes: [],
    ...given,
  });

  test('is one line a probe, with how many there are and how to read on', async () => {
    const { text, asked } = await list(
      page(['tracepoint:tcp:tcp_probe', 'tracepoint:tcp:tcp_send'], { matches: 134 }),
      {
        filter: 'tcp',
        kind: 'tracepoint',
        limit: 2,
        offset: 2,
      },
    );
    expect(asked[0]?.args).toEqual({ filter: 'tcp', kind: 'tracepoint', fields: false, limit: 2, offset: 2 });
    expect(text.split('\n')).toEqual([
      '3-4 of 134 matches among 2,305 tracepoint probes',
      'tracepoint:tcp:tcp_probe',
      'tracepoint:tcp:tcp_send',
      'next: the same call with offset=4, or a narrower filter',
    ]);
  });

  test('names the arguments as a program reads them', async () => {
    const fields = [
      { name: 'dfd', type: 'int' },
      { name: 'filename', type: 'const char *' },
    ];
    const probes = [
      { name: 'tracepoint:syscalls:sys_enter_openat', fields },
      { name: 'tracepoint:sched:x', fields: [] },
    ];
    const { text } = await list(page([], { probes, matches: 2, notes: ['kprobe: this kernel has none'] }), {
      filter: 'open',
      fields: true,
    });
    expect(text).toBe(
      '2 of 2 matches among 2,305 probes\ntracepoint:syscalls:sys_enter_openat\n  args.dfd int, args.filename const char *\ntracepoint:sched:x\n  no arguments\nnote: kprobe: this kernel has none',
    );
  });

  test('lists the fields of a struct', async () => {
    const struct = { name: 'struct sock', fields: [{ name: '__sk_common.skc_state', type: 'volatile unsigned char' }] };
    const { text } = await list(page([], { struct, matches: 1 }), { filter: 'struct sock skc_' });
    expect(text).toBe('1 of 1 matches in struct sock\n  __sk_common.skc_state volatile unsigned char');
  });

  test('says of a miss how much was searched and what is near', async () => {
    const { text } = await list(undefined, { filter: 'tracepoint:tcp:tcp_prob' });
    expect(text).toBe(
      `0 of 2,305 probes match "tracepoint:tcp:tcp_prob", closest names are tracepoint:tcp:tcp_probe. Try fewer words or a glob such as 'tracepoint:*prob*'.`,
    );
  });

  test('never answers more than a page, and goes on where it was cut', async () => {
    const fields = Array.from({ length: 60 }, (_, at) => ({ name: `field_${at}`, type: 'unsigned long' }));
    const probes = Array.from({ length: 100 }, (_, at) => ({ name: `tracepoint:a:b${at}`, fields }));
    const { text } = await list(page([], { probes, matches: 100 }), { filter: 'b', fields: true, limit: 100 });
    expect(text.length).toBeLessThanOrEqual(24_000);
    const shown = Number(/^(\d+) of 100/.exec(text)?.[1]);
    expect(shown).toBeGreaterThan(10);
    expect(text).toContain(`offset=${shown}`);
  });
});

describe('list_helpers', () => {
  async function list(args: Record<string, unknown>) {
    await using server = await connect(createFakeNode().node);
    return (await server.call('list_helpers', args)).text;
  }

  test('has a line for each function and builtin, by kind, within a page', async () => {
    const text = await list({});
    expect(text).toMatch(/^\d+ of \d+ names/);
    expect(text).toMatch(/^map function:$/m);
    expect(text).toMatch(/^ {2}.*= hist\(.*: \S/m);
    expect(text).toMatch(/\[.*refused.*\]$/m);
    expect(text.length).toBeLessThan(24_000);
  });

  test('finds by words', async () => {
    expect(await list({ filter: 'stack' })).toMatch(/kstack/);
    expect(await list({ filter: 'no such words' })).toMatch(/^0 of \d+ names match/);
  });

  test.each(['kstack', 'KSTACK', 'kstack()'])('tells all about %s', async (filter) => {
    const text = await list({ filter });
    expect(text).toMatch(/^function kstack/);
    expect(text).toMatch(/^example: .*kstack/m);
    expect(text).toMatch(/^trap: /m);
  });

  test('says why a function is refused', async () => {
    expect(await list({ filter: 'system' })).toMatch(/^refused: /m);
  });
});
