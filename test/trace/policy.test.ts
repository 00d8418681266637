import { expect, test } from 'vitest';
import { admit, requireSandbox, resolveTarget } from '../../src/trace/policy.ts';
import type { Caller, Program, SandboxFacts } from '../../src/trace/ports.ts';

const limits = { maxTimeoutMs: 60_000, maxAttachPoints: 2 };
const program = (...attachPoints: string[]): Program => ({ source: '', printed: '', attachPoints, endsAtOnce: false });
const caller = (source: Caller['source']): Caller => ({ name: 'one', source, tiers: ['node'], namespaces: ['*'] });
const full: SandboxFacts = { state: 'full', missing: [], notes: ['cgroup: no limit'] };
const degraded: SandboxFacts = {
  state: 'degraded',
  missing: ['landlock: the kernel has none'],
  notes: ['cgroup: no limit'],
};

test.each([
  ['no probe', program(), 1_000, 'program.empty'],
  ['too many attach points', program('a', 'b', 'c'), 1_000, 'program.too_many_probes'],
  ['a timeout beyond that of the node', program('a'), 60_001, 'argument.invalid'],
])('%s is refused', (_what, refused, timeoutMs, code) => {
  expect(() => admit(refused, timeoutMs, limits)).toThrow(expect.objectContaining({ code }));
});

test('what is within the limits is admitted', () => {
  expect(() => admit(program('a', 'b'), 60_000, limits)).not.toThrow();
});

test('the target is this node, and nothing else yet', () => {
  expect(resolveTarget(undefined)).toEqual(resolveTarget('node'));
  expect(() => resolveTarget('shop/web-0')).toThrow(expect.objectContaining({ code: 'target.unsupported' }));
});

test('with half a sandbox only the loopback caller may trace the node', () => {
  const node = resolveTarget('node');
  expect(() => requireSandbox(caller('token'), node, full)).not.toThrow();
  expect(() => requireSandbox(caller('local'), node, degraded)).not.toThrow();
  expect(() => requireSandbox(caller('token'), node, degraded)).toThrow(
    expect.objectContaining({ code: 'trace.unavailable', message: expect.stringContaining('lacks landlock,') }),
  );
});
