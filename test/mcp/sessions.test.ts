import { describe, expect, it } from 'vitest';
import { openSession, post, startServer, tokenAccess, tokenOf } from '../helpers/http.ts';
import { until } from '../helpers/until.ts';
import { createWorkTools } from '../helpers/work-tools.ts';

const list = JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'tools/list' });
const initialize = JSON.stringify({
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '0' } },
});
const work = JSON.stringify({
  jsonrpc: '2.0',
  id: 8,
  method: 'tools/call',
  params: { name: 'work', arguments: { steps: 10_000, everyMs: 50 }, _meta: { progressToken: 8 } },
});

describe('a session of the 2025 era', () => {
  it('does not exist for another identity', async () => {
    await using server = await startServer({ ...createWorkTools(), access: tokenAccess(['ann', 'bob']) });
    const session = await openSession(server.mcp, tokenOf('ann'));
    expect((await post(server.mcp, list, { headers: session })).status).toBe(200);

    const stolen = await post(server.mcp, list, { headers: { ...session, ...tokenOf('bob') } });
    const invented = await post(server.mcp, list, { headers: { ...session, 'mcp-session-id': crypto.randomUUID() } });
    expect([stolen.status, invented.status]).toEqual([404, 404]);
    expect(await stolen.json()).toEqual(await invented.json());
  });

  it('ends by DELETE, and then is unknown', async () => {
    await using server = await startServer(createWorkTools());
    const headers = await openSession(server.mcp);
    expect(server.endpoint.sessions()).toBe(1);
    expect((await fetch(server.mcp, { method: 'DELETE', headers })).status).toBe(200);
    expect(server.endpoint.sessions()).toBe(0);
    expect((await post(server.mcp, list, { headers })).status).toBe(404);
  });

  it('ends when nobody uses it', async () => {
    await using server = await startServer({ ...createWorkTools(), sessions: { idleMs: 200, sweepMs: 20 } });
    await openSession(server.mcp);
    await until(() => server.endpoint.sessions() === 0, 'the idle session is swept');
  });

  it('is asked for when a request has none', async () => {
    await using server = await startServer(createWorkTools());
    const response = await post(server.mcp, list);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: -32000 } });
  });

  it('is not kept when its first request is refused', async () => {
    await using server = await startServer(createWorkTools());
    const response = await post(server.mcp, initialize, { headers: { accept: 'application/json' } });
    expect(response.status).toBe(406);
    expect(server.endpoint.sessions()).toBe(0);
  });

  it('makes room for a new one of the same caller when it is not in use', async () => {
    await using server = await startServer({ ...createWorkTools(), sessions: { maxSessionsPerCaller: 3 } });
    const sessions = [];
    for (let turn = 0; turn < 4; turn++) sessions.push(await openSession(server.mcp));
    expect(server.endpoint.sessions()).toBe(3);
    const statuses = [];
    for (const headers of sessions) statuses.push((await post(server.mcp, list, { headers })).status);
    expect(statuses).toEqual([404, 200, 200, 200]);
  });

  it('is refused with the reason when all that the caller may have are in use', async () => {
    await using server = await startServer({
      ...createWorkTools(),
      access: tokenAccess(['ann', 'bob']),
      sessions: { maxSessionsPerCaller: 2 },
    });
    const leave = new AbortController();
    for (let turn = 0; turn < 2; turn++) {
      const headers = await openSession(server.mcp, tokenOf('ann'));
      const response = await post(server.mcp, work, { headers, signal: leave.signal });
      expect(response.status).toBe(200);
    }
    const third = await post(server.mcp, initialize, { headers: tokenOf('ann') });
    expect(third.status).toBe(503);
    expect(third.headers.get('retry-after')).toBe('30');
    expect(await third.json()).toMatchObject({ error: { data: { code: 'limit.sessions' } } });
    expect((await post(server.mcp, initialize, { headers: tokenOf('bob') })).status).toBe(200);
    leave.abort();
  });

  it('answers a batch, and forgets what the batch cancels', async () => {
    const tools = createWorkTools();
    await using server = await startServer({ ...tools, sessions: { orphanMs: 300, sweepMs: 20 } });
    const headers = { ...(await openSession(server.mcp)), 'mcp-protocol-version': '2025-03-26' };
    const stream = await post(server.mcp, `[${work}]`, { headers });
    await until(() => tools.counts.running === 1, 'the work of the batch runs');
    const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 8 } };
    const both = await post(server.mcp, JSON.stringify([cancel, JSON.parse(list)]), { headers });
    expect(await both.text()).toContain('"id":7');
    await until(() => tools.counts.running === 0, 'the work is cancelled');
    await stream.body?.cancel();
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect((await post(server.mcp, list, { headers })).status).toBe(200);
  });
});
