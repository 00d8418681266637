import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callModern, startServer, type TestServer } from '../helpers/http.ts';
import { mcpDrivers } from '../helpers/mcp-clients.ts';
import { until } from '../helpers/until.ts';
import { createWorkTools } from '../helpers/work-tools.ts';

const tools = createWorkTools();
const { counts } = tools;
let server: TestServer;
beforeAll(async () => {
  server = await startServer({ ...tools, sessions: { orphanMs: 400, sweepMs: 50 } });
});
afterAll(() => server[Symbol.asyncDispose]());

describe.each(mcpDrivers)('$name', ({ connect, era }) => {
  it('speaks the era it is meant to', async () => {
    await using client = await connect(server.mcp);
    expect(client.era).toBe(era);
  });

  it('lists the tools and gets their answers', async () => {
    await using client = await connect(server.mcp);
    expect((await client.tools()).map(({ name }) => name)).toEqual(['add', 'echo', 'whoami', 'work', 'trace']);
    expect((await client.call('add', { a: 1, b: 2 })).text).toBe('3');
  });

  it('tells the handler who is calling', async () => {
    await using client = await connect(server.mcp);
    expect((await client.call('whoami')).text).toBe('local');
  });

  it('sees each step of a long call while it runs', async () => {
    await using client = await connect(server.mcp);
    const seen: number[] = [];
    const answer = await client.call('work', { steps: 5, everyMs: 30 }, { onProgress: (it) => seen.push(it.progress) });
    expect(answer.text).toBe('5 steps');
    expect(seen).toEqual([1, 2, 3, 4, 5]);
  });

  it('stops the handler by a cancellation, and may go on calling', async () => {
    await using client = await connect(server.mcp);
    const before = counts.cancelled;
    const abort = new AbortController();
    const call = client.call(
      'work',
      { steps: 1_000, everyMs: 100 },
      { signal: abort.signal, onProgress: () => abort.abort() },
    );
    await expect(call).rejects.toThrow();
    await until(() => counts.cancelled === before + 1 && counts.running === 0, 'the cancelled call ends');
    // Longer than an orphan lives: a cancelled call must not cost the session.
    expect((await client.call('echo', { text: 'still here', afterMs: 800 })).text).toBe('still here');
  });

  it('stops the handler when its own time for a call is over', async () => {
    await using client = await connect(server.mcp);
    const before = counts.cancelled;
    await expect(client.call('work', { steps: 1_000, everyMs: 100 }, { timeoutMs: 300 })).rejects.toThrow();
    await until(() => counts.cancelled === before + 1 && counts.running === 0, 'the abandoned call ends');
  });

  it('is told which argument is wrong', async () => {
    await using client = await connect(server.mcp);
    const answer = await client.call('add', { a: 1, b: 'two' });
    expect(answer.isError).toBe(true);
    expect(answer.text).toContain('b');
  });
});

it('keeps apart what clients ask under the same JSON-RPC id', async () => {
  const clients = await Promise.all(mcpDrivers.map(({ connect }) => connect(server.mcp)));
  const calls = clients.flatMap((client, who) =>
    Array.from({ length: 40 }, (_, turn) => ({ client, text: `client ${who} call ${turn}`, afterMs: (turn * 7) % 30 })),
  );
  const answers = await Promise.all(calls.map(({ client, ...args }) => client.call('echo', args)));
  expect(answers.map(({ text }) => text)).toEqual(calls.map(({ text }) => text));

  const raw = await Promise.all(
    Array.from({ length: 60 }, async (_, turn) => {
      const response = await callModern(server.mcp, 'echo', { text: `raw ${turn}`, afterMs: (turn * 7) % 30 }, {}, 1);
      return response.text();
    }),
  );
  expect(raw.map((body, turn) => body.includes(`"raw ${turn}"`))).toEqual(raw.map(() => true));
  for (const client of clients) await client.close();
});

it('answers a long tool with a stream at once, any other with plain JSON', async () => {
  const long = await callModern(server.mcp, 'work', { steps: 1, everyMs: 10 });
  expect(long.headers.get('content-type')).toBe('text/event-stream');
  await long.text();
  const short = await callModern(server.mcp, 'add', { a: 1, b: 2 });
  expect(short.headers.get('content-type')).toContain('application/json');
});

it('logs nothing of what clients do right or wrong as an error of its own', () => {
  expect(server.logged.filter((line) => line.includes('"level":"error"'))).toEqual([]);
});

it('refuses headers of the modern era that do not agree with the body', async () => {
  const response = await callModern(server.mcp, 'add', { a: 1, b: 2 }, { headers: { 'mcp-name': 'echo' } });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: { code: -32020 } });
});

it('answers with 503 once it is closed', async () => {
  await using closing = await startServer(createWorkTools());
  await closing.endpoint.close();
  const response = await callModern(closing.mcp, 'add', { a: 1, b: 2 });
  expect(response.status).toBe(503);
  expect(response.headers.get('retry-after')).toBe('5');
  expect(await response.json()).toMatchObject({ id: 1, error: { data: { code: 'server.draining' } } });
});
