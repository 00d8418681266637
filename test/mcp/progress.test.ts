import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { modernRequest, rawSocket, startServer, type TestServer } from '../helpers/http.ts';
import { mcpDrivers } from '../helpers/mcp-clients.ts';
import { until } from '../helpers/until.ts';
import { createWorkTools } from '../helpers/work-tools.ts';

const tools = createWorkTools();
let server: TestServer;
beforeAll(async () => {
  server = await startServer({ ...tools, flow: { stallMs: 500 } });
});
afterAll(() => server[Symbol.asyncDispose]());

describe.each(mcpDrivers)('the progress of a call that reports fifty times a second, $name', ({ connect }) => {
  it('comes at once, then twice a second at most, grows, and stays short', async () => {
    await using client = await connect(server.mcp);
    const seen: { progress: number; total?: number; message?: string }[] = [];
    const answer = await client.call('trace', { durationMs: 1_300 }, { onProgress: (it) => seen.push(it) });
    expect(answer.text).toBe('done');
    const values = seen.map(({ progress }) => progress);
    expect(values[0]).toBe(0);
    // Of some sixty reports those at 0, 500 and 1,000 ms, and one more when the last step took its time.
    expect(values.length).toBeGreaterThanOrEqual(2);
    expect(values.length).toBeLessThanOrEqual(4);
    expect(values).toEqual([...new Set(values)].sort((a, b) => a - b));
    for (const { message, total } of seen) {
      expect(message?.length).toBe(120);
      expect(total).toBe(1_300);
    }
  });
});

it('is not sent to a client that did not ask for it', async () => {
  const request = modernRequest('tools/call', { name: 'trace', arguments: { durationMs: 700 } });
  const response = await fetch(server.mcp, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...request.headers },
    body: request.body,
  });
  const body = await response.text();
  expect(body).toContain('done');
  expect(body).not.toContain('notifications/progress');
});

it('gives the call up as client_gone when the client reads nothing', async () => {
  const before = tools.counts.stalled;
  const { headers, body } = modernRequest('tools/call', {
    name: 'trace',
    arguments: { durationMs: 60_000, floodBytes: 100_000_000 },
    _meta: { progressToken: 1 },
  });
  const head = [
    'POST /mcp HTTP/1.1',
    'Host: 127.0.0.1',
    'Content-Type: application/json',
    'Accept: application/json, text/event-stream',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  using client = rawSocket(server.port, head, body);
  client.socket.pause();
  await until(() => tools.counts.stalled === before + 1 && tools.counts.running === 0, 'the call is given up');
});
