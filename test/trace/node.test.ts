import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createAccess, LOCAL_CALLER } from '../../src/access/access.ts';
import { KerntapError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import { createRunStore } from '../../src/results/store.ts';
import { createTargets } from '../../src/targets/targets.ts';
import { createNode, type NodeDependencies } from '../../src/trace/node.ts';
import type { CallContext, Caller, Tracer } from '../../src/trace/ports.ts';
import { createSlots, defaultSlots } from '../../src/trace/slots.ts';
import { until } from '../helpers/until.ts';
import { FACTS } from '../tools/fake-node.ts';

const agent: Caller = { name: 'agent', source: 'token', tiers: ['node'], namespaces: ['*'] };
const callOf = (caller: Caller): CallContext => ({
  caller,
  signal: new AbortController().signal,
  log: silentLog,
  progress: () => {},
});
const request = { program: 'begin { @ = 1; }', timeoutMs: 60_000, waitMs: 0, rows: 1 };
const TRACE_LAUNCH = new KerntapError('trace.launch', 'bpftrace was not run: it could not be started.');

/** A node on a real store with one slot, whose tracer starts nothing. */
async function nodeWith(tracer: Partial<Tracer>) {
  const dataDir = mkdtempSync(join(tmpdir(), 'kerntap-test-'));
  const store = createRunStore({ dataDir, node: 'here', log: silentLog });
  const now = () => performance.now();
  const deps: NodeDependencies = {
    access: await createAccess({ log: silentLog }),
    kernel: {
      facts: async () => FACTS,
      probes: async () => ({ probes: [], matches: 0, total: 0, closest: [], notes: [] }),
      nearest: async () => [],
      points: async () => () => [],
      scoping: async () => ({ cgroups: 'ancestors', nestedPids: false, has: () => true }),
    },
    targets: createTargets({ runtimes: [], pods: undefined, hostRoot: '', nodeName: 'here', log: silentLog }),
    nonce: () => 'nonce',
    nearestFunctions: () => [],
    slots: createSlots({ ...defaultSlots, total: 1, queueMs: 600_000 }, now),
    store,
    tracer: {
      run: async () => Promise.reject(TRACE_LAUNCH),
      check: async () => [],
      sandbox: { state: 'full', missing: [], notes: [] },
      close: async () => {},
      ...tracer,
    },
    log: silentLog,
    limits: { maxTimeoutMs: 600_000, maxAttachPoints: 64, maxEventBytes: 1, maxMapBytes: 1 },
    redactions: [],
    node: 'here',
    versions: { kerntap: '0', bpftrace: '0', kernel: '0' },
    now,
    onEnd: () => {},
    shownLimits: {},
  };
  return {
    node: createNode(deps),
    store,
    async [Symbol.asyncDispose]() {
      await store.close();
      rmSync(dataDir, { recursive: true });
    },
  };
}

test('a call that waits for its slot when the server begins to stop is refused and starts nothing', async () => {
  let started = 0;
  const run: Tracer['run'] = async (_program, _limits, _sink, signal) => {
    started += 1;
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    throw TRACE_LAUNCH;
  };
  await using own = await nodeWith({ run });
  const first = own.node.run(request, callOf(LOCAL_CALLER)).catch((error: unknown) => error);
  await until(() => started === 1, 'the first run');
  const second = own.node.run(request, callOf(LOCAL_CALLER)).catch((error: unknown) => error);
  await own.node.drain(10_000);
  expect(await second).toMatchObject({ code: 'server.draining' });
  await first;
  expect(started).toBe(1);
  expect(await own.store.list({ limit: 10 })).toHaveLength(1);
});

test('whoever waits for the attachment alone is told, too, why bpftrace could not be started', async () => {
  await using own = await nodeWith({});
  await expect(own.node.run(request, callOf(LOCAL_CALLER))).rejects.toMatchObject({ code: 'trace.launch' });
});

test('a check needs the rights of a run', async () => {
  await using own = await nodeWith({ sandbox: { state: 'degraded', missing: ['landlock: none'], notes: [] } });
  const check = (caller: Caller) => own.node.check({ program: request.program }, callOf(caller));
  expect(await check(LOCAL_CALLER)).toMatchObject({ ok: true });
  await expect(check(agent)).rejects.toMatchObject({ code: 'trace.unavailable' });
  await expect(check({ ...agent, tiers: ['pod'] })).rejects.toMatchObject({ code: 'access.denied' });
});

test('the files of the node are listed to who may trace the node, and its kernel to all', async () => {
  await using own = await nodeWith({});
  const call = callOf({ ...agent, tiers: ['pod'] });
  const ask = (filter: string) => own.node.probes({ filter, fields: false, offset: 0, limit: 1 }, call);
  await expect(ask('uprobe:/etc/shadow:*')).rejects.toMatchObject({ code: 'access.denied' });
  await expect(ask('usdt:/etc/shadow')).rejects.toMatchObject({ code: 'access.denied' });
  expect(await ask('tracepoint:tcp:*')).toMatchObject({ probes: [] });
});
