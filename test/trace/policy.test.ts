import { expect, test } from 'vitest';
import { parseProgram } from '../../src/program/program.ts';
import {
  admit,
  neededRight,
  refuseHidden,
  requireSandbox,
  rightForUnscoped,
  visibleTo,
} from '../../src/trace/policy.ts';
import type { AppliedRule, Caller, ResolvedTarget, SandboxFacts } from '../../src/trace/ports.ts';

const limits = { maxTimeoutMs: 60_000, maxAttachPoints: 2 };
const program = (...attachPoints: string[]) =>
  parseProgram(attachPoints.map((point) => `${point} { @ = count(); }`).join('\n'));
const OPEN = 'tracepoint:syscalls:sys_enter_openat';
const caller = (source: Caller['source']): Caller => ({ name: 'one', source, tiers: ['node'], namespaces: ['*'] });
const full: SandboxFacts = { state: 'full', missing: [], notes: ['cgroup: no limit'] };
const degraded: SandboxFacts = {
  state: 'degraded',
  missing: ['landlock: the kernel has none'],
  notes: ['cgroup: no limit'],
};
const pod: ResolvedTarget = {
  kind: 'pod',
  name: 'shop/web-0',
  tier: 'pod',
  namespace: 'shop',
  cgroups: [],
  containers: [],
  follows: true,
  notes: [],
};

test.each([
  ['too many attach points', program(OPEN, OPEN, OPEN), 1_000, 'program.too_many_probes'],
  ['a timeout beyond that of the node', program(OPEN), 60_001, 'argument.invalid'],
  ['what changes the node', parseProgram('watchpoint:0x10000:8:rw { @ = count(); }'), 1_000, 'program.refused'],
])('%s is refused', (_what, refused, timeoutMs, code) => {
  expect(() => admit(refused, timeoutMs, limits)).toThrow(expect.objectContaining({ code }));
});

test('what is within the limits is admitted', () => {
  expect(() => admit(program(OPEN, OPEN), 60_000, limits)).not.toThrow();
});

test('a program that stays with its pod needs the right of the pod, whatever the target is called', () => {
  expect(neededRight(program(OPEN), pod)).toEqual({ act: 'trace', tier: 'pod', namespace: 'shop' });
});

test('a construct that reaches beyond the pod needs node rights, and is named with its place', () => {
  const reaching = parseProgram(
    'tracepoint:syscalls:sys_enter_openat {\n  @[curtask->real_parent->comm] = count();\n}',
  );
  const right = neededRight(reaching, pod);
  expect(right).toMatchObject({ tier: 'node', namespace: 'shop' });
  expect(right.because?.what).toMatch(/^`.*real_parent.*` at line 2, column \d+$/);
});

test('a probe that runs for the whole node needs node rights; one that has no event of its own does not', () => {
  const rule = (point: string): AppliedRule => ({ point, class: 'N', owner: 'nobody', points: 1, notes: [] });
  const right = neededRight(program(OPEN), pod);
  expect(rightForUnscoped([rule('interval:s:1'), rule('BEGIN')], right)).toBeUndefined();
  expect(rightForUnscoped([rule('tracepoint:irq:*')], right)).toMatchObject({ tier: 'node' });
});

test("a probe of tasks is refused for a target whose own kernel takes its system calls; packets are this node's", () => {
  const container = { runtime: 'containerd', id: 'c1', name: 'main', state: 'running', labels: {} } as const;
  const sandboxed = { ...pod, containers: [{ ...container, handler: 'runsc' }] };
  const rule = (point: string, owner: AppliedRule['class']): AppliedRule => ({
    point,
    class: owner,
    owner: '',
    points: 1,
    notes: [],
  });
  expect(() => refuseHidden([rule(OPEN, 'T')], sandboxed)).toThrow(
    expect.objectContaining({ code: 'target.unsupported', message: expect.stringMatching(/sys_enter_openat.*gVisor/) }),
  );
  expect(() => refuseHidden([rule('tracepoint:net:*', 'P'), rule('interval:s:1', 'N')], sandboxed)).not.toThrow();
  expect(() =>
    refuseHidden([rule(OPEN, 'T')], { ...pod, containers: [{ ...container, handler: 'runc' }] }),
  ).not.toThrow();
});

test('a caller knows of what is in his namespaces, and with node rights of everything', () => {
  const shop = visibleTo({ ...caller('token'), tiers: ['pod'], namespaces: ['shop'] });
  expect([shop('shop'), shop('bank'), shop(undefined)]).toEqual([true, false, false]);
  expect(visibleTo(caller('token'))('bank')).toBe(true);
});

test('with half a sandbox only the loopback caller may trace the node', () => {
  expect(() => requireSandbox(caller('token'), 'node', full)).not.toThrow();
  expect(() => requireSandbox(caller('local'), 'node', degraded)).not.toThrow();
  expect(() => requireSandbox(caller('token'), 'node', degraded)).toThrow(
    expect.objectContaining({ code: 'trace.unavailable', message: expect.stringContaining('lacks landlock,') }),
  );
});
