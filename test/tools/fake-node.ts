import { KerntapError } from '../../src/errors.ts';
import type { CallContext, NodeApi, NodeFacts, ProbePage, RunHeader, RunRecord } from '../../src/trace/ports.ts';
import { viewSections } from '../../src/trace/view.ts';

export const FACTS: NodeFacts = {
  node: 'dev-1',
  kerntap: '0.1.0',
  kernel: { release: '6.18.44', arch: 'x86_64', cpus: 2 },
  btf: true,
  tracefs: true,
  lockdown: 'none',
  landlock: true,
  cgroups: { layout: 'hybrid', path: '/sys/fs/cgroup/unified' },
  bpftrace: { version: '0.27.0', bundled: true },
  probeKinds: [
    { kind: 'tracepoint', available: true },
    { kind: 'profile', available: true },
    { kind: 'kprobe', available: false, why: 'this kernel has none' },
  ],
  features: { helpers: ['probe_read', 'get_stackid'], maps: ['hash', 'array'], programs: ['tracepoint'] },
  checkedMs: Date.UTC(2026, 10, 22, 14),
  sandbox: { state: 'degraded', notes: [], missing: ['landlock: the kernel has none'] },
  limits: { maxTimeoutS: 600 },
  slots: { taken: 1, total: 8 },
  store: { runs: 12, bytes: 1_258_291, maxBytes: 536_870_912 },
};

type Asked = { readonly method: string; readonly args: unknown; readonly call: CallContext };

/** A node with these runs, whose next run is `next`; it keeps what it was asked. */
export function createFakeNode({
  next,
  runs = next ? [next] : [],
  probes,
}: {
  next?: RunRecord;
  runs?: readonly RunRecord[];
  probes?: ProbePage;
} = {}) {
  const kept = new Map<string, RunRecord>(runs.map((run) => [run.id, run]));
  const asked: Asked[] = [];
  /** Set by a test: what happens while `run` waits. */
  let during: ((call: CallContext) => Promise<void>) | undefined;

  const known = (id: string): RunRecord => {
    const run = kept.get(id);
    if (!run) throw new KerntapError('run.unknown', `There is no run ${JSON.stringify(id)}.`);
    return run;
  };
  const header = ({ sections: _s, account: _a, diagnostics: _d, ...run }: RunRecord): RunHeader => run;
  const note = (method: string, args: unknown, call: CallContext) => void asked.push({ method, args, call });

  const node: NodeApi = {
    async run(request, call) {
      note('run', request, call);
      if (request.program === '') throw new KerntapError('program.empty', 'The program is empty.');
      if (request.program === 'crash') throw new TypeError('ENOENT /var/lib/secret/token');
      await during?.(call);
      if (!next) throw new Error('this node has no run to give');
      kept.set(next.id, next);
      return { ...next, sections: viewSections(next.sections, { offset: 0, limit: request.rows }) };
    },
    async check(request, call) {
      note('check', request, call);
      const ok = !request.program.includes('foo');
      return {
        ok,
        attachPoints: ['begin'],
        tier: 'pod',
        rules: [],
        printed: 'begin\n{\n}',
        diagnostics: ok
          ? [{ severity: 'warning', at: { line: 1, column: 9 }, message: 'Return value discarded.' }]
          : [
              {
                severity: 'error',
                at: { line: 1, column: 9 },
                message: "Unknown function: 'foo'",
                remedy: 'did you mean: fmod',
              },
            ],
      };
    },
    async result(id, { waitMs, ...query }, call) {
      note('result', { id, waitMs, ...query }, call);
      const run = known(id);
      return { ...run, sections: viewSections(run.sections, query) };
    },
    async stop(id, call) {
      note('stop', id, call);
      const stopped: RunRecord = { ...known(id), state: 'truncated', reason: 'stopped' };
      kept.set(id, stopped);
      return stopped;
    },
    async runs(filter, call) {
      note('runs', filter, call);
      return [...kept.values()].map(header);
    },
    async change(id, change, call) {
      note('change', change, call);
      const run = known(id);
      if (change.action === 'delete') kept.delete(id);
      return header(change.action === 'rename' ? { ...run, name: change.name } : { ...run, kept: true });
    },
    async targets(filter, call) {
      note('targets', filter, call);
      return { targets: [], total: 0, closest: [], sources: ['/proc'] };
    },
    async probes(query, call) {
      note('probes', query, call);
      return probes ?? { probes: [], matches: 0, total: 2_305, closest: ['tracepoint:tcp:tcp_probe'], notes: [] };
    },
    async describe(refresh, call) {
      note('describe', refresh, call);
      return FACTS;
    },
  };
  return {
    node,
    asked,
    whileRunning: (does: (call: CallContext) => Promise<void>) => {
      during = does;
    },
  };
}
