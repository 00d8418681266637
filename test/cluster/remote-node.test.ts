import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { LOCAL_CALLER } from '../../src/access/access.ts';
import { createRemoteNode } from '../../src/cluster/remote-node.ts';
import { silentLog } from '../../src/log.ts';
import type { CallContext, Progress } from '../../src/trace/ports.ts';
import { until } from '../helpers/until.ts';
import {
  bareRecord,
  checked,
  facts,
  header,
  record,
  type ServedNode,
  serveSmallNode,
  targetPage,
} from './small-node.ts';

const callWith = (part: Partial<CallContext> = {}): CallContext => ({
  caller: LOCAL_CALLER,
  signal: new AbortController().signal,
  log: silentLog,
  progress: () => {},
  ...part,
});
const request = {
  program: 'begin {}',
  unscoped: 'allow',
  control: true,
  timeoutMs: 1500,
  waitMs: 2500,
  rows: 7,
} as const;

let served: ServedNode;
beforeAll(async () => {
  served = await serveSmallNode();
});
afterAll(() => served[Symbol.asyncDispose]());
const remote = () => createRemoteNode({ url: served.url });
const lastCall = () => served.node.calls.at(-1);

describe('a remote node', () => {
  test('gives the record of a run as the node had it, uint64 and nested values included', async () => {
    expect(await remote().run({ ...request, target: 'node' }, callWith())).toEqual(record);
    expect(lastCall()).toEqual(['run', { ...request, target: 'node' }]);
  });

  test('tells the progress of a run while it lasts', async () => {
    const seen: Progress[] = [];
    await remote().run({ ...request, program: 'slow' }, callWith({ progress: (one) => seen.push(one) }));
    expect(seen[0]).toEqual({ message: 'attached', doneMs: 0, totalMs: 1500 });
  });

  test('passes every question on, and every answer back, as they are', async () => {
    const node = remote();
    const query = { waitMs: 1250, section: '@bytes', filter: 'a&b=c', sort: '-value', offset: 50, limit: 10 };
    expect(await node.result(header.id, query, callWith())).toEqual(bareRecord);
    expect(lastCall()).toEqual(['result', header.id, query]);

    expect(await node.result(header.id, { waitMs: 0, offset: 0, limit: 50 }, callWith())).toEqual(bareRecord);
    expect(lastCall()).toEqual(['result', header.id, { waitMs: 0, offset: 0, limit: 50 }]);

    expect(await node.stop(header.id, callWith())).toEqual(record);
    expect(lastCall()).toEqual(['stop', header.id]);

    expect(await node.check({ program: 'x', target: 'node' }, callWith())).toEqual({
      ...checked,
      diagnostics: record.diagnostics,
    });
    expect(lastCall()).toEqual(['check', { program: 'x', target: 'node' }]);

    const runs = await node.runs({ owner: 'ci', state: 'running', limit: 3 }, callWith());
    expect(runs[0]).toEqual(header);
    expect(runs[1]).toMatchObject({ state: 'running', timing: { askedMs: header.timing.askedMs } });
    expect(lastCall()).toEqual(['runs', { owner: 'ci', state: 'running', limit: 3 }]);

    for (const change of [{ action: 'keep' }, { action: 'rename', name: 'x' }, { action: 'delete' }] as const) {
      expect(await node.change(header.id, change, callWith())).toEqual(header);
      expect(lastCall()).toEqual(['change', header.id, change]);
    }

    const targets = { query: 'web', namespace: 'shop', node: 'dev-1', kind: 'pod', limit: 5 } as const;
    expect(await node.targets(targets, callWith())).toEqual(targetPage);
    expect(lastCall()).toEqual(['targets', targets]);

    const probes = {
      filter: 'tracepoint:*',
      target: 'shop/web-0',
      kind: 'tracepoint',
      fields: true,
      limit: 5,
      offset: 10,
    };
    expect(await node.probes(probes, callWith())).toMatchObject({ total: 2305, struct: { name: 'sock' } });
    expect(lastCall()).toEqual(['probes', probes]);

    expect(await node.describe(true, callWith())).toEqual(facts);
    expect(lastCall()).toEqual(['describe', true]);
  });

  test('throws the error of the node with its code, its own remedy and the time to wait', async () => {
    const full = remote().run({ ...request, program: 'full' }, callWith());
    await expect(full).rejects.toMatchObject({
      code: 'limit.runs',
      message: 'All 8 slots are taken.',
      remedy: 'wait 7 s',
    });
    const strange = remote().stop('../facts?x=1', callWith());
    await expect(strange).rejects.toMatchObject({ code: 'run.unknown', message: 'There is no run "../facts?x=1".' });
  });

  test('learns nothing of an error that nobody foresaw but the request under which it is logged', async () => {
    const broken = remote().run({ ...request, program: 'broken' }, callWith());
    await expect(broken).rejects.toMatchObject({ code: 'internal', message: expect.not.stringContaining('secret') });
    expect(served.logged.join('')).toContain('secret path');
  });

  test('stops the run that a given-up call waited for', async () => {
    const before = served.node.gone.length;
    const given = new AbortController();
    const waiting = remote().run({ ...request, program: 'hang' }, callWith({ signal: given.signal }));
    await until(
      () => served.node.calls.some(([, one]) => (one as { program?: string }).program === 'hang'),
      'the run starts',
    );
    given.abort('cancelled');
    await expect(waiting).rejects.toBe('cancelled');
    await until(() => served.node.gone.length > before, 'the run is stopped');
    expect(served.node.gone.at(-1)).toBe('client_gone');
  });

  it.each([
    ['a page', 'text/html', '<html>', 200],
    ['other JSON', 'application/json', '{"ok":true}', 200],
    ['an error that is not ours', 'application/json', '{"detail":"no"}', 502],
  ])('says so when %s answers', async (_what, type, text, status) => {
    const server = createServer((_request, response) => {
      response.writeHead(status, { 'content-type': type }).end(text);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const stranger = createRemoteNode({ url: `http://127.0.0.1:${port}` });
    await expect(stranger.describe(false, callWith())).rejects.toMatchObject({ code: 'remote.unreachable' });
    await expect(stranger.run(request, callWith())).rejects.toMatchObject({ code: 'remote.unreachable' });
    await new Promise((resolve) => server.close(resolve));
    await expect(stranger.describe(false, callWith())).rejects.toMatchObject({
      code: 'remote.unreachable',
      message: `No kerntap answers at http://127.0.0.1:${port}.`,
    });
  });

  test('shows its token, and the run is asked for in the name that the token has', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kerntap-token-'));
    const file = join(folder, 'tokens');
    const sha256 = createHash('sha256').update('s3cret').digest('hex');
    await writeFile(file, JSON.stringify({ name: 'ci', sha256, namespaces: ['*'], tiers: ['node'] }), { mode: 0o600 });
    await using guarded = await serveSmallNode(file);
    await createRemoteNode({ url: guarded.url, token: 's3cret' }).run(request, callWith());
    expect(guarded.node.callers).toEqual(['ci']);
    const wrong = createRemoteNode({ url: guarded.url, token: 'wrong' });
    await expect(wrong.run(request, callWith())).rejects.toMatchObject({ code: 'access.unauthenticated' });
    await rm(folder, { recursive: true });
  });
});
