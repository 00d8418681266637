import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  modernRequest,
  openSession,
  post,
  rawSocket,
  startProxy,
  startServer,
  type TestServer,
} from '../helpers/http.ts';
import { legacyDrivers, modernDrivers } from '../helpers/mcp-clients.ts';
import { until } from '../helpers/until.ts';
import { createWorkTools } from '../helpers/work-tools.ts';

const tools = createWorkTools();
const { counts } = tools;
let server: TestServer;
beforeAll(async () => {
  server = await startServer({
    ...tools,
    sessions: { orphanMs: 1_500, sweepMs: 50, retryMs: 100 },
    flow: { stallMs: 1_000 },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

const megabytes = (bytes: number) => Math.round(bytes / 2 ** 20);
const workCall = (id: number, args: object) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name: 'work', arguments: args, _meta: { progressToken: id } },
});

describe.each(legacyDrivers)('$name', ({ connect }) => {
  it('loses nothing when its sockets are cut', async () => {
    await using proxy = await startProxy(server.port);
    await using client = await connect(`http://127.0.0.1:${proxy.port}/mcp`);
    const seen: number[] = [];
    const answer = await client.call(
      'work',
      { steps: 15, everyMs: 100 },
      {
        onProgress({ progress }) {
          seen.push(progress);
          if (progress === 4) proxy.cut();
        },
      },
    );
    expect(answer.text).toBe('15 steps');
    expect(seen).toEqual(Array.from({ length: 15 }, (_, step) => step + 1));
  });
});

describe.each(modernDrivers)('$name', ({ connect }) => {
  it('cancels its call when its socket is cut', async () => {
    await using proxy = await startProxy(server.port);
    const client = await connect(`http://127.0.0.1:${proxy.port}/mcp`);
    const before = counts.cancelled;
    const call = client.call(
      'work',
      { steps: 1_000, everyMs: 50 },
      { timeoutMs: 2_000, onProgress: () => proxy.cut() },
    );
    await expect(call).rejects.toThrow();
    await until(() => counts.cancelled === before + 1 && counts.running === 0, 'a cut stops the work');
    await client.close();
  });
});

it('a modern client that vanishes before the first byte leaves nothing running', async () => {
  const before = counts.started;
  const request = modernRequest('tools/call', { name: 'work', arguments: { steps: 10_000, everyMs: 50 } });
  for (let turn = 0; turn < 30; turn++) {
    const { socket } = rawSocket(server.port, headOf(request.headers, request.body), request.body);
    await new Promise<void>((resolve) => socket.once('connect', () => resolve()));
    setTimeout(() => socket.destroy(), turn);
  }
  await until(() => counts.started > before && counts.running === 0, 'all work ends');
});

it('a legacy client that vanishes is given up by the sweep, its session with it', async () => {
  const session = await openSession(server.mcp);
  const before = counts.cancelled;
  const gone = new AbortController();
  const call = JSON.stringify(workCall(1, { steps: 10_000, everyMs: 50 }));
  const response = await post(server.mcp, call, { headers: session, signal: gone.signal });
  await response.body?.getReader().read();
  gone.abort();
  await until(() => counts.cancelled === before + 1 && counts.running === 0, 'the orphan is swept');
  const after = await post(server.mcp, JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'tools/list' }), {
    headers: session,
  });
  expect(after.status).toBe(404);
  expect(await after.json()).toMatchObject({ error: { code: -32001 } });
});

it.each(['modern', 'legacy'] as const)(
  'a %s client that never reads costs little memory and is given up',
  async (era) => {
    const call = {
      name: 'work',
      arguments: { steps: 100_000, everyMs: 1, padBytes: 50_000 },
      _meta: { progressToken: 9 },
    };
    const request =
      era === 'modern'
        ? modernRequest('tools/call', call, 9)
        : {
            headers: await openSession(server.mcp),
            body: JSON.stringify({ jsonrpc: '2.0', id: 9, method: 'tools/call', params: call }),
          };
    const before = { ...counts, rss: process.memoryUsage().rss };
    using client = rawSocket(server.port, headOf(request.headers, request.body), request.body);
    client.socket.pause();
    let peak = 0;
    await until(() => {
      peak = Math.max(peak, process.memoryUsage().rss);
      return counts.stalled === before.stalled + 1;
    }, 'the reader is given up');
    expect(counts.running).toBe(0);
    expect(counts.skipped).toBeGreaterThan(before.skipped);
    expect(megabytes(peak - before.rss)).toBeLessThan(80);
  },
);

it('logs nothing of all this as an error of its own', () => {
  expect(server.logged.filter((line) => line.includes('"level":"error"'))).toEqual([]);
});

function headOf(headers: Record<string, string>, body: string): string[] {
  return [
    'POST /mcp HTTP/1.1',
    'Host: 127.0.0.1',
    'Content-Type: application/json',
    'Accept: application/json, text/event-stream',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
}
