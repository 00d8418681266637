import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Hono } from 'hono';
import { describe, expect, it, test } from 'vitest';
import { createAccess } from '../../src/access/access.ts';
import { createApp } from '../../src/http/app.ts';
import { createHealth, createHealthListener, type Readiness } from '../../src/http/health.ts';
import { listen } from '../../src/http/listen.ts';
import { createMetrics } from '../../src/http/metrics.ts';
import { silentLog } from '../../src/log.ts';
import type { RunFinal } from '../../src/trace/ports.ts';
import { header, record } from '../cluster/small-node.ts';

const ready: Readiness = {
  draining: false,
  store: { runs: 1, bytes: 10, maxBytes: 100 },
  sandbox: { state: 'full', missing: [], notes: [] },
};

const final: RunFinal = {
  state: 'complete',
  reason: 'deadline',
  timing: { armedMs: header.timing.askedMs + 400, endedMs: header.timing.askedMs + 1900 },
  attached: 1,
  sections: record.sections,
  account: { ...record.account, nodeCost: { timeNs: 2_500_000_000, runs: 1, cpuShare: 0.1, probes: [] } },
  diagnostics: [],
};

describe('health', () => {
  it.each([
    ['a node that takes runs', {}, 200, { ready: true, draining: false, store: 'ok' }],
    ['a node that drains', { draining: true }, 503, { ready: false, draining: true }],
    ['a full store', { store: { runs: 1, bytes: 100, maxBytes: 100 } }, 503, { ready: false, store: 'full' }],
    [
      'a degraded sandbox',
      { sandbox: { state: 'degraded', missing: ['landlock: the kernel has none'], notes: [] } } as const,
      200,
      { ready: true, sandbox: { state: 'degraded', missing: ['landlock: the kernel has none'], notes: [] } },
    ],
  ])('/readyz tells of %s', async (_what, part, status, body) => {
    const response = await createHealth(() => ({ ...ready, ...part })).request('/readyz');
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject(body);
  });

  test('/livez and /healthz answer also while the node drains', async () => {
    const health = createHealth(() => ({ ...ready, draining: true }));
    for (const path of ['/livez', '/healthz']) expect((await health.request(path)).status).toBe(200);
  });
});

describe('metrics', () => {
  test('count what ended, in OpenMetrics, with words of ours as labels', async () => {
    const metrics = createMetrics({ version: '0.1.0' });
    metrics.watch({ slots: () => ({ taken: 2, total: 8 }), store: () => ready.store });
    metrics.observeRun(header, final);
    metrics.observeRun(header, {
      ...final,
      state: 'failed',
      reason: 'invalid',
      timing: { endedMs: header.timing.askedMs },
    });
    const response = await metrics.routes.request('/metrics');
    expect(response.headers.get('content-type')).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
    const lines = (await response.text()).split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        'kerntap_build_info{version="0.1.0"} 1',
        'kerntap_runs_total{state="complete",reason="deadline"} 1',
        'kerntap_runs_total{state="failed",reason="invalid"} 1',
        'kerntap_runs_running 2',
        'kerntap_slots 8',
        'kerntap_run_seconds_count 2',
        'kerntap_arm_seconds_count 1',
        'kerntap_arm_seconds_bucket{le="0.5"} 1',
        'kerntap_events_total 10',
        'kerntap_dropped_events_total 4',
        'kerntap_probe_cpu_seconds_total 5',
        'kerntap_store_bytes 10',
      ]),
    );
    expect(await (await metrics.routes.request('/metrics')).text()).toBe(lines.join('\n')); // reading changes nothing
    expect(lines.slice(-2)).toEqual(['# EOF', '']);
    expect(lines.filter((line) => /^# TYPE .*_total/.test(line))).toEqual([]); // OpenMetrics names the family without it
  });

  test('count requests by the pattern of their route, whatever path a caller sends', async () => {
    const metrics = createMetrics({ version: '0.1.0' });
    const app = new Hono();
    app.use(metrics.countRequests);
    app.get('/v1/runs/:id', (c) => c.text('x'));
    app.get('/v1/facts', () => {
      throw new Error('broken');
    });
    app.onError((_error, c) => c.text('x', 500));
    app.route('/', metrics.routes);
    for (const path of ['/v1/runs/one', '/v1/runs/two', '/v1/facts', '/\u0022evil\u0022', '/x/y/z'])
      await app.request(path);
    const text = await (await app.request('/metrics')).text();
    const counted = text.split('\n').filter((line) => line.startsWith('kerntap_http_requests_total'));
    expect(counted).toEqual([
      'kerntap_http_requests_total{route="/v1/runs/:id",status="200"} 2',
      'kerntap_http_requests_total{route="/v1/facts",status="500"} 1',
      'kerntap_http_requests_total{route="/*",status="404"} 2',
    ]);
  });

  test('on the main listener need a token of the node tier', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kerntap-metrics-'));
    const tokenFile = join(folder, 'tokens');
    const entries = ['pod', 'node'].map((tier) => ({
      name: `${tier}-caller`,
      sha256: createHash('sha256').update(tier).digest('hex'),
      namespaces: ['*'],
      tiers: [tier],
    }));
    await writeFile(tokenFile, JSON.stringify(entries), { mode: 0o600 });
    const app = createApp({
      endpoint: { handle: async () => new Response() },
      health: createHealth(() => ready),
      metrics: createMetrics({ version: '0.1.0' }).routes,
      access: await createAccess({ tokenFile, log: silentLog }),
      authentication: 'bearer',
      allowedHosts: [],
      allowedOrigins: [],
      log: silentLog,
    });
    const statusOf = async (path: string, token?: string) => {
      const headers = { host: 'localhost', ...(token && { authorization: `Bearer ${token}` }) };
      return (await app.request(`http://localhost${path}`, { headers })).status;
    };
    expect(await statusOf('/metrics')).toBe(401);
    expect(await statusOf('/metrics', 'pod')).toBe(403);
    expect(await statusOf('/metrics', 'node')).toBe(200);
    expect(await statusOf('/readyz')).toBe(200);
    await rm(folder, { recursive: true });
  });
});

describe('the health listener', () => {
  it.each([
    ['GET', '/livez', 200],
    ['GET', '/healthz', 200],
    ['GET', '/readyz', 200],
    ['GET', '/metrics', 200],
    ['GET', '/v1/facts', 404],
    ['GET', '/mcp', 404],
    ['HEAD', '/livez', 405],
    ['POST', '/livez', 405],
    ['DELETE', '/metrics', 405],
  ])('answers %s %s with %i, whatever Host, Origin and token', async (method, path, status) => {
    const app = createHealthListener(
      createHealth(() => ready),
      createMetrics({ version: '0.1.0' }).routes,
    );
    const listener = await listen(app, { host: '127.0.0.1', port: 0 });
    const headers = { origin: 'https://evil.example', authorization: 'Bearer nobody' };
    const response = await fetch(`${listener.url}${path}`, { method, headers });
    expect([response.status, response.headers.get('allow')]).toEqual([status, status === 405 ? 'GET' : null]);
    await response.text();
    await listener.close(1000);
  });
});
