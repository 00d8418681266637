import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import * as z from 'zod';
import {
  CheckWire,
  ErrorWire,
  FactsWire,
  ProbesWire,
  ProgressWire,
  RecordWire,
  RunsWire,
  RunWire,
} from '../../src/cluster/wire.ts';
import { createOpenApi } from '../../src/http/openapi.ts';
import { createV1 } from '../../src/http/v1.ts';
import { silentLog } from '../../src/log.ts';
import { createSmallNode, header, type ServedNode, serveSmallNode } from '../cluster/small-node.ts';
import { until } from '../helpers/until.ts';

let served: ServedNode;
beforeAll(async () => {
  served = await serveSmallNode();
});
afterAll(() => served[Symbol.asyncDispose]());

const ask = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  fetch(`${served.url}${path}`, {
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
const lastCall = () => served.node.calls.at(-1);
const run = `/v1/runs/${header.id}`;

describe('/v1', () => {
  it.each([
    ['POST', '/v1/runs', { program: 'x' }, RecordWire],
    ['GET', '/v1/runs', undefined, RunsWire],
    ['GET', run, undefined, RecordWire],
    ['PATCH', run, { action: 'keep' }, RunWire],
    ['DELETE', run, undefined, RunWire],
    ['POST', `${run}/stop`, undefined, RecordWire],
    ['POST', '/v1/check', { program: 'x' }, CheckWire],
    ['GET', '/v1/probes?filter=tcp', undefined, ProbesWire],
    ['GET', '/v1/facts', undefined, FactsWire],
  ])('%s %s answers in the documented form and no other', async (method, path, body, schema) => {
    const response = await ask(method, path, body);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json']);
    const json = await response.json();
    expect(strict(schema).safeParse(json).error).toBeUndefined();
  });

  test('what is left out has a value that is documented', async () => {
    await ask('POST', '/v1/runs', { program: 'x' });
    expect(lastCall()).toEqual(['run', { program: 'x', timeoutMs: 10_000, waitMs: 25_000, rows: 50 }]);
    await ask('GET', run);
    expect(lastCall()).toEqual(['result', header.id, { waitMs: 0, offset: 0, limit: 50 }]);
    await ask('GET', '/v1/runs');
    expect(lastCall()).toEqual(['runs', { limit: 50 }]);
    await ask('GET', '/v1/probes?filter=tcp');
    expect(lastCall()).toEqual(['probes', { filter: 'tcp', fields: false, offset: 0, limit: 20 }]);
    await ask('GET', '/v1/facts');
    expect(lastCall()).toEqual(['describe', false]);
  });

  test('moments are ISO 8601, durations seconds, and an integer that JSON cannot hold is decimal text', async () => {
    const response = await ask('POST', '/v1/runs', { program: 'x', timeout: 1.5 });
    const json = RecordWire.parse(await response.json());
    expect(json).toMatchObject({
      run_id: header.id,
      timeout: 1.5,
      timing: { asked: '2025-11-24T16:00:00.000Z', armed: '2025-11-24T16:00:00.412Z' },
    });
    expect(json.sections[1]?.rows[0]).toEqual(['a', '18446744073709551615']);
    expect(json.sections[0]?.rows[3]).toEqual([{ pid: 1 }]);
  });

  it.each([
    [
      'POST',
      '/v1/runs',
      { program: 'x', duration_s: 5 },
      'unknown key "duration_s"; expected program, target, unscoped, control, timeout, wait, rows',
    ],
    ['POST', '/v1/runs', {}, 'program is missing'],
    ['POST', '/v1/runs', undefined, 'The body is absent'],
    ['POST', '/v1/runs', [], 'The body is []'],
    ['POST', '/v1/runs', { program: 7 }, 'program is 7'],
    ['POST', '/v1/runs', { program: 'x', timeout: 0 }, 'timeout is 0'],
    ['POST', '/v1/runs', { program: 'x', timeout: -1 }, 'timeout is -1'],
    ['POST', '/v1/runs', { program: 'x', timeout: 601 }, 'timeout is 601'],
    ['POST', '/v1/runs', { program: 'x', timeout: 'x' }, 'timeout is "x"'],
    ['POST', '/v1/runs', { program: 'x', wait: 26 }, 'wait is 26'],
    ['POST', '/v1/runs', { program: 'x', rows: 1.5 }, 'rows is 1.5'],
    ['POST', '/v1/runs?timeout=5', { program: 'x' }, 'unknown key "timeout"; expected none'],
    [
      'POST',
      '/v1/check',
      { program: 'x', '\u001b[31m\u202e': 1 },
      'unknown key "\\u001b[31m\\u{202e}"; expected program, target',
    ],
    ['PATCH', run, { action: 'rename' }, 'name is missing'],
    ['PATCH', run, { action: 'keep', name: 'x' }, 'unknown key "name"; expected action, name'],
    ['PATCH', run, { action: 'stop' }, 'action is "stop"'],
    ['GET', `${run}?limit=0`, undefined, 'limit is "0"'],
    ['GET', `${run}?limit=ten`, undefined, 'limit is "ten"'],
    ['GET', `${run}?limit=1&limit=2`, undefined, 'limit is ["1","2"]'],
    ['GET', `${run}?section=a&section=b`, undefined, 'section is ["a","b"]'],
    ['GET', `${run}?page=2`, undefined, 'unknown key "page"; expected wait, section, filter, sort, offset, limit'],
    ['GET', '/v1/runs?state=done', undefined, 'state is "done"'],
    ['GET', '/v1/probes', undefined, 'filter is missing'],
    ['GET', '/v1/probes?filter=x&fields=yes', undefined, 'fields is "yes"'],
  ])('%s %s with %j is refused before the node is asked', async (method, path, body, why) => {
    const before = served.node.calls.length;
    const response = await ask(method, path, body);
    expect(response.status).toBe(400);
    const { error } = ErrorWire.parse(await response.json());
    expect(error.code).toBe('argument.invalid');
    expect(error.message).toContain(why);
    expect(served.node.calls.length).toBe(before);
  });

  test('an error of the node has the status of its code', async () => {
    const full = await ask('POST', '/v1/runs', { program: 'full' });
    expect([full.status, full.headers.get('retry-after')]).toEqual([429, '7']);
    expect((await ask('GET', '/v1/runs/nonsense')).status).toBe(404);
    const broken = await ask('POST', '/v1/runs', { program: 'broken' });
    expect(broken.status).toBe(500);
    expect(await broken.text()).not.toContain('secret');
  });

  test('a run that is asked for as a stream tells its progress, then the result', async () => {
    const events = await eventsOf(await ask('POST', '/v1/runs', { program: 'slow' }, { accept: 'text/event-stream' }));
    expect(events[0]?.[0]).toBe('progress');
    expect(ProgressWire.parse(events[0]?.[1])).toEqual({ message: 'attached', done: 0, total: 1.5 });
    expect(events.at(-1)?.[0]).toBe('result');
    expect(RecordWire.parse(events.at(-1)?.[1]).run_id).toBe(header.id);
  });

  test('what is wrong with the arguments of a stream has an HTTP status; what goes wrong later is its last event', async () => {
    const refused = await ask('POST', '/v1/runs', {}, { accept: 'text/event-stream' });
    expect(refused.status).toBe(400);
    const events = await eventsOf(await ask('POST', '/v1/runs', { program: 'full' }, { accept: 'text/event-stream' }));
    expect(events).toEqual([
      ['error', { error: { code: 'limit.runs', message: 'All 8 slots are taken.', remedy: 'wait 7 s' } }],
    ]);
  });

  it.each([['application/json'], ['text/event-stream']])(
    'a client of %s that vanishes stops its run',
    async (accept) => {
      const before = served.node.gone.length;
      const started = served.node.calls.length;
      const given = new AbortController();
      const waiting = fetch(`${served.url}/v1/runs`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept },
        body: JSON.stringify({ program: 'hang' }),
        signal: given.signal,
      }).then((response) => response.text());
      await until(() => served.node.calls.length > started, 'the run starts');
      given.abort();
      await expect(waiting).rejects.toThrow();
      await until(() => served.node.gone.length > before, 'the run is stopped');
      expect(served.node.gone.at(-1)).toBe('client_gone');
    },
  );
});

describe('the OpenAPI document', () => {
  const document = JSON.parse(JSON.stringify(createOpenApi('0.1.0')));
  const operations = Object.entries<Record<string, Operation>>(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  );

  test('is served, and is the one that is generated', async () => {
    const response = await ask('GET', '/v1/openapi.json');
    expect(await response.json()).toEqual(document);
    expect(document.openapi).toMatch(/^3\.1\./);
  });

  test('names every route of the app, and no other', () => {
    const { routes } = createV1({ node: createSmallNode(), log: silentLog, version: '0.1.0' });
    const served = routes.map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`);
    const documented = operations.map(({ method, path }) => `${method.toUpperCase()} ${path}`);
    expect(documented.sort()).toEqual(served.sort());
  });

  test('has for each operation a name of its own, a sentence, both answers and all of its parameters', () => {
    expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(operations.length);
    for (const { path, operation } of operations) {
      expect(operation.summary).toMatch(/^[A-Z].{5,}/);
      expect(Object.keys(operation.responses)).toEqual(['200', 'default']);
      const inPath = (operation.parameters ?? []).filter((one) => one.in === 'path');
      expect(inPath.map((one) => one.name)).toEqual([...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]));
      for (const one of operation.parameters ?? []) expect(one.schema).toBeTypeOf('object');
    }
  });

  test('points only at schemas that it holds', () => {
    const pointers = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map(
      (one) => one[1],
    );
    expect(pointers.length).toBeGreaterThan(10);
    expect(Object.keys(document.components.schemas)).toEqual(expect.arrayContaining([...new Set(pointers)]));
  });
});

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly responses: Record<string, unknown>;
  readonly parameters?: readonly { in: string; name: string; schema: unknown }[];
}

/** The schema as the document has it: an object has the documented members and no more. */
function strict(schema: z.ZodType): z.ZodType {
  return z.fromJSONSchema(z.toJSONSchema(schema, { io: 'output' }) as Parameters<typeof z.fromJSONSchema>[0]);
}

async function eventsOf(response: Response): Promise<[string, unknown][]> {
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  const blocks = (await response.text()).split('\n\n').filter((block) => block !== '');
  return blocks.map((block) => {
    const [event = '', data = ''] = block.split('\n');
    return [event.replace('event: ', ''), JSON.parse(data.replace('data: ', ''))];
  });
}
