import { Hono } from 'hono';
import { routePath } from 'hono/route';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KerntapError } from '../../src/errors.ts';
import type { AppEnv } from '../../src/http/context.ts';
import type { Action, Caller } from '../../src/trace/ports.ts';
import {
  callModern,
  modernRequest,
  post,
  rawSocket,
  startServer,
  type TestServer,
  tokenAccess,
  tokenOf,
} from '../helpers/http.ts';
import { until } from '../helpers/until.ts';
import { createWorkTools } from '../helpers/work-tools.ts';

const LIMIT = 256 * 1024;
const v1 = new Hono<AppEnv>()
  .get('/v1/facts', (c) => c.json({ caller: c.get('caller').name }))
  .post('/v1/runs', (c) => c.json({ body: c.get('body') ?? null }))
  .patch('/v1/runs/:id', (c) => c.json({ id: c.req.param('id') }))
  .get('/v1/broken', () => {
    throw new Error('ENOENT /secret/path');
  });
const health = new Hono<AppEnv>().get('/livez', (c) => c.text('ok'));
const metrics = new Hono<AppEnv>().get('/metrics', (c) => c.text('metrics'));

const counted: string[] = [];

async function allow({ name }: Caller, { act }: Action): Promise<void> {
  if (act === 'metrics' && name !== 'ops') throw new KerntapError('access.denied', `${name} may not read metrics.`);
}

let server: TestServer;
beforeAll(async () => {
  server = await startServer({
    ...createWorkTools(),
    v1,
    health,
    metrics,
    countRequests: async (c, next) => {
      await next();
      counted.push(`${routePath(c, -1)} ${c.res.status}`);
    },
    access: { ...tokenAccess(['ann', 'ops']), allow },
    authentication: 'bearer',
    allowedHosts: ['kerntap.example'],
    allowedOrigins: ['app.example'],
  });
});
afterAll(() => server[Symbol.asyncDispose]());

const { headers, body } = modernRequest('tools/call', { name: 'add', arguments: { a: 1, b: 2 } });
/** A call that would be answered, but for what `change` does to it. */
const call = (change: Record<string, string> = {}, text: string = body) =>
  post(server.mcp, text, { headers: { ...headers, ...tokenOf('ann'), ...change } });

/** The status line and body that a request gets whose Host header `fetch` would not send. */
async function callByHost(host: string): Promise<string> {
  const head = ['POST /mcp HTTP/1.1', `Host: ${host}`, 'Connection: close', 'Content-Length: 0'];
  using client = rawSocket(server.port, head);
  await new Promise((resolve) => client.socket.once('close', resolve));
  return client.text();
}

it('lets a right call through', async () => {
  expect(await (await call()).json()).toMatchObject({ id: 1, result: { content: [{ text: '3' }] } });
});

describe('step 1, Host', () => {
  it.each(['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example:80', '127.0.0.2', '[::2]:1'])(
    'refuses %s with 403 before anything else',
    async (host) => {
      const answer = await callByHost(host);
      expect(answer).toMatch(/^HTTP\/1.1 403 /);
      expect(answer).toContain('access.host');
    },
  );
  it.each(['localhost', 'LOCALHOST:9', '[::1]:7337', 'kerntap.example'])('knows %s', async (host) => {
    expect(await callByHost(host)).toMatch(/^HTTP\/1.1 401 /);
  });
  it.each(['user@localhost', 'localhost/x', 'local host', ''])('refuses the broken %j', async (host) => {
    expect(await callByHost(host)).toMatch(/^HTTP\/1.1 40[03] /);
  });
});

describe('step 2, Origin', () => {
  it.each(['https://evil.example', 'null', 'http://localhost:3000', 'file://', 'app.example', 'ftp://app.example'])(
    'refuses %s with 403, also with a good token',
    async (origin) => {
      const response = await call({ origin });
      expect(response.status).toBe(403);
      expect(await response.json()).toMatchObject({ id: null, error: { data: { code: 'access.origin' } } });
    },
  );
  it('lets a page through that was named', async () => {
    expect((await call({ origin: 'https://app.example:8443' })).status).toBe(200);
  });
  it('never answers with CORS headers', async () => {
    const response = await call({ origin: 'https://app.example' });
    expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
  });
});

describe('step 3, method, path and what the headers say of the body, before the token', () => {
  it.each([
    ['GET', '/', 404, 'request.not_found'],
    ['POST', '/mcp/', 404, 'request.not_found'],
    ['POST', '/v2/runs', 404, 'request.not_found'],
    ['DELETE', '/v1/facts', 405, 'request.method'],
    ['OPTIONS', '/v1/facts', 405, 'request.method'],
    ['GET', '/v1/runs/a.b', 405, 'request.method'],
  ])('%s %s is %i', async (method, path, status, code) => {
    const response = await fetch(server.url + path, { method });
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ error: { code, remedy: expect.any(String) } });
  });

  it.each(['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])('%s /mcp without a session is 405', async (method) => {
    const response = await fetch(server.mcp, { method });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST');
  });

  it('names the methods that a path takes', async () => {
    const response = await fetch(`${server.url}/v1/runs/a.b`, { method: 'PUT' });
    expect(response.headers.get('allow')).toBe('PATCH');
  });

  it.each([
    [{ 'content-type': 'text/plain' }],
    [{ 'content-type': 'application/x-www-form-urlencoded' }],
    [{ 'content-type': 'application/jsonp' }],
    [{ 'content-encoding': 'gzip' }],
    [{ 'content-encoding': 'identity' }],
  ])('refuses %o with 415', async (change) => {
    const response = await post(server.mcp, body, { headers: { ...headers, ...change } });
    expect(response.status).toBe(415);
    expect(await response.json()).toMatchObject({ error: { data: { code: 'request.media_type' } } });
  });

  it('refuses a body that declares to be too long with 413', async () => {
    const response = await post(server.mcp, 'x'.repeat(LIMIT + 1));
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({ error: { data: { code: 'limit.body' } } });
  });
});

describe('steps 4 and 5, who is calling', () => {
  it.each(['/mcp', '/v1/runs'])('asks for a token on POST %s', async (path) => {
    const response = await post(server.url + path, '{}');
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toBe(
      `Bearer scope="trace", resource_metadata="${server.url}/.well-known/oauth-protected-resource/mcp"`,
    );
  });

  it('says that a token is wrong, and not why', async () => {
    const response = await call({ authorization: 'Bearer guess' });
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toContain('error="invalid_token"');
    expect(JSON.stringify(await response.json())).not.toContain('guess');
  });

  it('serves the document that tells clients where to go, and health, without a token', async () => {
    const document = await fetch(`${server.url}/.well-known/oauth-protected-resource/mcp`);
    expect(await document.json()).toMatchObject({ resource: server.mcp, scopes_supported: ['trace'] });
    expect((await fetch(`${server.url}/livez`)).status).toBe(200);
    expect((await fetch(`${server.url}/metrics`)).status).toBe(401);
  });

  it('has no such document where nobody needs a token', async () => {
    await using open = await startServer(createWorkTools());
    expect((await fetch(`${open.url}/.well-known/oauth-protected-resource/mcp`)).status).toBe(404);
    expect(await (await callModern(open.mcp, 'whoami')).text()).toContain('local');
  });

  it('answers 401 while the body is still awaited', async () => {
    const head = ['POST /mcp HTTP/1.1', 'Host: 127.0.0.1', 'Content-Type: application/json', 'Content-Length: 1000'];
    using client = rawSocket(server.port, head);
    await until(() => client.text().startsWith('HTTP/1.1 401 '), 'the refusal comes');
  });
});

describe('step 6, the body', () => {
  const chunked = (text: string) =>
    fetch(server.mcp, {
      method: 'POST',
      headers: { ...headers, ...tokenOf('ann'), 'content-type': 'application/json' },
      body: new Blob([text]).stream(),
      duplex: 'half',
    } as RequestInit);

  it('is refused with 413 when it turns out to be too long', async () => {
    const response = await chunked(`"${'x'.repeat(LIMIT)}"`);
    expect(response.status).toBe(413);
  });

  it('may be as long as the limit', async () => {
    const padding = 'x'.repeat(LIMIT - Buffer.byteLength(body));
    expect((await call({}, body + ' '.repeat(padding.length))).status).toBe(200);
  });

  it.each([
    ['not JSON', '{"jsonrpc":'],
    ['only spaces', '   '],
    ['nothing', ''],
    ['33 levels deep', '['.repeat(33) + ']'.repeat(33)],
    ['a bomb of brackets', '['.repeat(200_000)],
    ['invalid UTF-8', Buffer.from([0x22, 0xff, 0x22]).toString('latin1')],
  ])('that is %s is refused with 400', async (what, text) => {
    const bytes = what === 'invalid UTF-8' ? Buffer.from(text, 'latin1') : text;
    const response = await post(server.mcp, bytes, { headers: { ...headers, ...tokenOf('ann') } });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: -32700, data: { code: 'request.malformed' } } });
  });

  it.each(['null', '5', '"text"', '[]', '{}', '[1]', '{"jsonrpc":"2.0"}'])(
    'that is %s is refused with 400',
    async (text) => {
      const response = await call({}, text);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ jsonrpc: '2.0', error: { code: expect.any(Number) } });
    },
  );

  it('may be 32 levels deep, and brackets in strings do not count', async () => {
    const deep = `${'['.repeat(31)}"${'['.repeat(100)}\\"${'{'.repeat(100)}"${']'.repeat(31)}`;
    const response = await post(`${server.url}/v1/runs`, `{"program":${deep}}`, { headers: tokenOf('ann') });
    expect(response.status).toBe(200);
  });

  it('may be absent where a route needs none', async () => {
    const response = await fetch(`${server.url}/v1/runs`, { method: 'POST', headers: tokenOf('ann') });
    expect(await response.json()).toEqual({ body: null });
  });
});

describe('/metrics on the main listener', () => {
  it('is read by those who may', async () => {
    const statuses = ['ann', 'ops'].map(async (name) => {
      return (await fetch(`${server.url}/metrics`, { headers: tokenOf(name) })).status;
    });
    expect(await Promise.all(statuses)).toEqual([403, 200]);
  });

  it('can count every request by its route, the refused ones, too', async () => {
    counted.length = 0;
    await call();
    await call({ origin: 'https://evil.example' });
    await fetch(`${server.url}/there/is/nothing`);
    await fetch(`${server.url}/v1/facts`, { headers: tokenOf('ann') });
    await fetch(`${server.url}/v1/broken`, { headers: tokenOf('ann') });
    expect(counted).toEqual(['/mcp 200', '/mcp 403', '/* 404', '/v1/facts 200', '/v1/broken 500']);
  });
});

describe('an error that nobody foresaw', () => {
  it('is told by an id under which the log has the whole of it', async () => {
    const response = await fetch(`${server.url}/v1/broken`, { headers: tokenOf('ann') });
    const { error } = (await response.json()) as { error: { code: string; message: string } };
    expect(response.status).toBe(500);
    expect(error.code).toBe('internal');
    expect(error.message).not.toContain('secret');
    const id = /request ([0-9a-f]{8})/.exec(error.message)?.[1];
    expect(server.logged.find((line) => line.includes(`"requestId":"${id}"`))).toContain('ENOENT /secret/path');
  });
});
