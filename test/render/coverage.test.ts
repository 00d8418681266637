import { describe, expect, it, test } from 'vitest';
import { overviewOf } from '../../src/render/answer.ts';
import { coverageLines, silence } from '../../src/render/coverage.ts';
import { renderJson } from '../../src/render/json.ts';
import { renderTable } from '../../src/render/table.ts';
import type { AppliedRule, CoverageAccount } from '../../src/trace/ports.ts';
import { ASKED_MS, mapSection, recordOf } from './records.ts';

const rule = (point: string, owner = "the task's cgroup", more: Partial<AppliedRule> = {}): AppliedRule => ({
  point,
  class: 'T',
  owner,
  points: 1,
  notes: [],
  ...more,
});
const look = (processes: number, contextSwitches: number, names = ['main', 'side']) => ({
  atMs: ASKED_MS,
  containers: names.map((name) => ({ name, id: `${name}-id` })),
  processes,
  contextSwitches,
  sockets: 12,
});
const coverage: CoverageAccount = {
  rules: [
    rule('tracepoint:syscalls:sys_enter_openat'),
    rule('tracepoint:sched:*', "the task's cgroup", { points: 26 }),
    rule('tcp:tcp_retransmit_skb', "the socket's cgroup", {
      class: 'S',
      notes: ['sockets in TIME_WAIT are not attributable'],
    }),
    rule('interval:s:1', 'nobody', { class: 'N' }),
  ],
  start: look(7, 100),
  end: look(8, 512),
  notes: ['container c3 was started during the trace: included'],
};

describe('what an answer covers', () => {
  test('is a line for the rules, one for what has no owner, one for what was there, and one a gap', () => {
    expect(coverageLines(coverage)).toEqual([
      "scope: tracepoint:syscalls:sys_enter_openat, tracepoint:sched:* (26) by the task's cgroup; tcp:tcp_retransmit_skb by the socket's cgroup",
      'not scoped, node-wide: interval:s:1',
      'covered: 2 containers (main, side), 7 processes at the start, 8 at the end',
      'note: sockets in TIME_WAIT are not attributable',
      'note: container c3 was started during the trace: included',
    ]);
  });

  test('says how often each probe fired for others when that was counted', () => {
    const [first] = coverage.rules;
    const counted = { rules: first ? [first] : [], control: [{ all: 12_034, inScope: 7 }], notes: [] };
    expect(coverageLines(counted)).toContain(
      "control: tracepoint:syscalls:sys_enter_openat fired 12,034 times on the node, 7 of them the target's",
    );
  });

  test('stands in the table and, under names that are a contract, in JSON', () => {
    const record = recordOf({
      target: 'shop/web-0',
      tier: 'pod',
      sections: [mapSection('@', [['nginx', 3]])],
      account: { coverage },
    });
    const answer = overviewOf(record, { rows: 10, nowMs: ASKED_MS });
    expect(renderTable(answer)).toContain('\nscope: tracepoint:syscalls:sys_enter_openat');
    expect(JSON.parse(renderJson(answer)).scope).toMatchObject({
      node: 'dev-1',
      classes: ['T', 'S', 'N'],
      start: { processes: 7, context_switches: 100, sockets: 12 },
      rules: [{ point: 'tracepoint:syscalls:sys_enter_openat', class: 'T' }, {}, {}, {}],
    });
  });

  test('holds no traced text at the margin and no control characters', () => {
    const lines = coverageLines({
      ...coverage,
      end: look(1, 1, ['a\nfinding: all ok', '\u001b[31mred']),
      notes: ['x\ny'],
    });
    expect(lines.join('|')).not.toMatch(/\n|\u001b/);
  });
});

describe('a run about a target that saw nothing', () => {
  it.each([
    [
      { ...coverage, rules: coverage.rules.slice(0, 1) },
      90,
      'The target was there: 8 processes, 412 context switches, 12 sockets. The probes fired 90 times on this node.',
    ],
    [
      coverage,
      0,
      'The target was there: 8 processes, 412 context switches, 12 sockets. The probes did not fire on this node at all.',
    ],
    [{ ...coverage, start: look(0, 0, []), end: look(0, 0, []) }, undefined, 'No process of the target was seen.'],
  ])('says whether the target lived and the probes fired', (account, runs, sentence) => {
    expect(silence(account, runs)).toBe(sentence);
  });

  const seen = (point: string, more: Partial<CoverageAccount> = {}) => ({ ...coverage, rules: [rule(point)], ...more });
  it.each([
    [seen('uprobe:libc:malloc'), 0, 'a static binary'],
    [seen('tracepoint:syscalls:sys_enter_read', { end: { ...look(8, 512), ioUrings: 2 } }), 9, 'io_uring (2 rings)'],
    [seen('kprobe:blk_account_io_done'), 9, 'an interrupt or a worker'],
  ])('names what would explain it', (account, fired, why) => {
    expect(silence(account, fired)).toContain(why);
  });

  test('guesses nothing where nothing points to it', () => {
    expect(silence(seen('tracepoint:syscalls:sys_enter_read'), 9)).not.toContain('Likely');
  });

  test('never says just that there were no events', () => {
    const record = recordOf({ target: 'shop/web-0', tier: 'pod', account: { coverage } });
    const text = renderTable(overviewOf(record, { rows: 10, nowMs: ASKED_MS }));
    expect(text).toContain('finding: The target was there: 8 processes');
    expect(text).toContain('The probes fired 1,203 times on this node.');
  });
});
