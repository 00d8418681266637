import { expect, test } from 'vitest';
import { impossibleKinds } from '../../src/trace/explain.ts';
import type { Kernel, KernelFacts } from '../../src/trace/ports.ts';

const probeKinds: KernelFacts['probeKinds'] = [
  { kind: 'tracepoint', available: true },
  { kind: 'kprobe', available: false, why: 'this kernel has no kprobes' },
  { kind: 'fentry', available: false },
];
const kernel = { facts: async () => ({ probeKinds }) } as unknown as Kernel;

test.each([
  ['tracepoint:sched:sched_switch', []],
  ['kprobe:vfs_read', ['kprobe probes do not attach on this node: this kernel has no kprobes']],
  ['k:vfs_read', ['kprobe probes do not attach on this node: this kernel has no kprobes']],
  ['fexit:vfs_read', ['fentry probes do not attach on this node']],
])('whether this node can attach %s is known before it tries', async (point, messages) => {
  const found = await impossibleKinds([point, point], kernel, AbortSignal.timeout(1_000));
  expect(found.map(({ message }) => message)).toEqual(messages);
});
