import { createHash } from 'node:crypto';
import { chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { createAccess, LOCAL_CALLER } from '../../src/access/access.ts';
import { createLog, silentLog } from '../../src/log.ts';
import type { Action, Caller } from '../../src/trace/ports.ts';
import { header } from '../cluster/small-node.ts';

const sha256 = (token: string) => createHash('sha256').update(token).digest('hex');
const ci = { name: 'ci', sha256: sha256('s3cret'), namespaces: ['shop'], tiers: ['pod'] };
const ops = { name: 'ops', sha256: sha256('0ps'), namespaces: ['*'], tiers: ['pod', 'node'], payload: true };

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kerntap-access-'));
  file = join(folder, 'tokens');
});
afterEach(() => rm(folder, { recursive: true }));

const put = async (content: unknown, mode = 0o600) => {
  const text = typeof content === 'string' ? content : JSON.stringify(content);
  await writeFile(`${file}.new`, text);
  await chmod(`${file}.new`, mode);
  await rename(`${file}.new`, file);
};
/** Looks at the file at each call, so that no test waits for a second to pass. */
const open = (log = silentLog) => createAccess({ tokenFile: file, log, recheckMs: 0 });

describe('without a token file', () => {
  test('everybody is the local caller with all rights, whatever he sends', async () => {
    const access = await createAccess({ log: silentLog });
    for (const sent of [undefined, '', 'Bearer x', 'Basic eDp5'])
      expect(await access.identify(sent)).toEqual({
        name: 'local',
        source: 'local',
        tiers: ['pod', 'node'],
        namespaces: ['*'],
      });
    for (const act of ['read', 'change'] as const)
      await access.allow(LOCAL_CALLER, { act, run: { ...header, owner: 'ci' } });
    await access.allow(LOCAL_CALLER, { act: 'trace', tier: 'node' });
    await access.allow(LOCAL_CALLER, { act: 'metrics' });
  });
});

describe('with a token file', () => {
  it.each([
    ['a JSON array', [ci, ops]],
    ['one entry a line', `${JSON.stringify(ci)}\n\n${JSON.stringify(ops)}\n`],
  ])('%s is read, and each token has its caller', async (_form, content) => {
    await put(content);
    const access = await open();
    expect(await access.identify('Bearer s3cret')).toEqual({
      name: 'ci',
      source: 'token',
      tiers: ['pod'],
      namespaces: ['shop'],
    });
    expect(await access.identify('bearer  0ps')).toMatchObject({ name: 'ops', tiers: ['pod', 'node'] });
  });

  it.each([
    ['nothing', undefined, 'No token was sent'],
    ['another scheme', 'Basic s3cret', 'not "Bearer"'],
    ['no token', 'Bearer ', 'not "Bearer"'],
    ['two tokens', 'Bearer s3cret 0ps', 'not "Bearer"'],
    ['an unknown token', 'Bearer s3cre', 'not known'],
    ['the digest instead of the token', `Bearer ${ci.sha256}`, 'not known'],
  ])('%s lets nobody in', async (_what, sent, why) => {
    await put([ci, ops]);
    const access = await open();
    await expect(access.identify(sent)).rejects.toMatchObject({
      code: 'access.unauthenticated',
      message: expect.stringContaining(why),
    });
  });

  test('a token is good until its end', async () => {
    await put([
      { ...ci, notAfter: '2020-01-01T00:00:00Z' },
      { ...ops, notAfter: '2999-01-01T00:00:00+02:00' },
    ]);
    const access = await open();
    await expect(access.identify('Bearer s3cret')).rejects.toMatchObject({
      code: 'access.unauthenticated',
      message: 'The token of ci was good until 2020-01-01T00:00:00.000Z.',
    });
    expect(await access.identify('Bearer 0ps')).toMatchObject({ name: 'ops' });
  });

  test('two tokens of one name are one caller, so that a token can be replaced without a gap', async () => {
    await put([ci, { ...ci, sha256: sha256('next') }]);
    const access = await open();
    expect(await access.identify('Bearer next')).toEqual(await access.identify('Bearer s3cret'));
  });

  it.each([
    ['group may write', 0o660],
    ['others may write', 0o602],
    ['others may read', 0o604],
  ])('does not start when %s it', async (_who, mode) => {
    await put([ci], mode);
    await expect(open()).rejects.toMatchObject({
      code: 'start.option',
      message: expect.stringContaining(`mode 0${mode.toString(8)}`),
    });
  });

  it.each([
    ['is absent', undefined, 'ENOENT'],
    ['is empty', '', 'no entry'],
    ['is an empty list', '[]', 'no entry'],
    ['is no JSON', `${JSON.stringify(ci)}\n{"name": "s3cret`, 'line 2 is no JSON'],
    ['is half a list', '[{', 'it is no JSON'],
    ['has an unknown key', [{ ...ci, admin: true }], 'entry 1: Unrecognized key: "admin"'],
    ['lacks a key', [ci, { name: 'x' }], 'entry 2: sha256'],
    ['has a token instead of its digest', [{ ...ci, sha256: 's3cret' }], 'sha256 must be 64 hexadecimal digits'],
    ['names an unknown tier', [{ ...ci, tiers: ['root'] }], 'tiers.0'],
    ['has an end that is no moment', [{ ...ci, notAfter: 'tomorrow' }], 'notAfter'],
    ['calls somebody like the local caller', [{ ...ci, name: 'local' }], 'name is reserved'],
    ['has a name with a line break', [{ ...ci, name: 'a\nb' }], 'name must be'],
  ])('does not start when the file %s', async (_what, content, why) => {
    if (content !== undefined) await put(content);
    const failure = await open().catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'start.option', message: expect.stringContaining(why) });
    expect(String(failure)).not.toContain('s3cret');
  });

  test('a folder is no token file', async () => {
    await expect(createAccess({ tokenFile: folder, log: silentLog })).rejects.toMatchObject({ code: 'start.option' });
  });

  test('a change is seen: new tokens come in, revoked ones are out', async () => {
    await put([ci]);
    const access = await open();
    await access.identify('Bearer s3cret');
    await put([ops]);
    expect(await access.identify('Bearer 0ps')).toMatchObject({ name: 'ops' });
    await expect(access.identify('Bearer s3cret')).rejects.toMatchObject({ code: 'access.unauthenticated' });
  });

  it.each([
    ['is broken', () => put('[{')],
    ['is gone', () => rm(file)],
    ['can be read by others', () => chmod(file, 0o644)],
  ])(
    'a new version that %s lets nobody in, says so once in the log, and is followed when it is mended',
    async (_what, harm) => {
      const logged: string[] = [];
      await put([ci]);
      const access = await open(createLog((line) => logged.push(line)));
      await access.identify('Bearer s3cret');
      await harm();
      for (const _again of [1, 2, 3])
        await expect(access.identify('Bearer s3cret')).rejects.toMatchObject({ code: 'access.unauthenticated' });
      expect(logged.filter((line) => line.includes('"level":"error"'))).toHaveLength(1);
      await put([ci, ops]);
      expect(await access.identify('Bearer s3cret')).toMatchObject({ name: 'ci' });
    },
  );

  test('the file is looked at only once for many calls at a time', async () => {
    await put([ci]);
    const access = await open();
    await put([ops]);
    const callers = await Promise.all(Array.from({ length: 50 }, () => access.identify('Bearer 0ps')));
    expect(new Set(callers.map(({ name }) => name))).toEqual(new Set(['ops']));
  });
});

describe('rights', () => {
  const caller = (name: string, ...tiers: Caller['tiers']): Caller => ({
    name,
    source: 'token',
    tiers,
    namespaces: ['shop'],
  });
  const none = caller('none');
  const pod = caller('ci', 'pod');
  const node = caller('ops', 'node');
  const owner = caller('me', 'pod');
  const run = { ...header, owner: 'me' };

  const ok = 'ok';
  it.each<[Action, string, string, string, string, string]>([
    //                              none             pod              node             owner            local
    [{ act: 'trace', tier: 'pod', namespace: 'shop' }, 'access.denied', ok, ok, ok, ok],
    [{ act: 'trace', tier: 'pod', namespace: 'bank' }, 'access.denied', 'access.denied', ok, 'access.denied', ok],
    [{ act: 'trace', tier: 'pod' }, 'access.denied', 'access.denied', ok, 'access.denied', ok],
    [{ act: 'trace', tier: 'node' }, 'access.denied', 'access.denied', ok, 'access.denied', ok],
    [{ act: 'read', run }, 'run.unknown', 'run.unknown', ok, ok, ok],
    [{ act: 'change', run }, 'run.unknown', 'run.unknown', ok, ok, ok],
    [{ act: 'metrics' }, 'access.denied', 'access.denied', ok, 'access.denied', ok],
  ])('$0.act $0.tier $0.namespace is for whom it is for', async (action, ...expected) => {
    const access = await createAccess({ log: silentLog });
    const answers = [none, pod, node, owner, LOCAL_CALLER].map((who) =>
      access.allow(who, action).then(
        () => ok,
        (error: { code: string }) => error.code,
      ),
    );
    expect(await Promise.all(answers)).toEqual(expected);
  });

  test('a refusal names the caller, the tier and how to get it', async () => {
    const access = await createAccess({ log: silentLog });
    await expect(access.allow(pod, { act: 'trace', tier: 'node' })).rejects.toMatchObject({
      message: 'ci has the tier pod and needs the tier node to trace the node.',
      remedy: 'ask the owner of the token file to add "node" to the tiers of ci',
    });
  });

  test('a refusal names the construct that needs the node, or the namespace that is foreign', async () => {
    const access = await createAccess({ log: silentLog });
    const because = { what: '`curtask->` at line 1, column 5', remedy: 'read comm instead' };
    await expect(access.allow(pod, { act: 'trace', tier: 'node', because })).rejects.toMatchObject({
      message: 'ci has the tier pod and needs the tier node for `curtask->` at line 1, column 5.',
      remedy: 'read comm instead, or ask the owner of the token file to add "node" to the tiers of ci',
    });
    await expect(access.allow(pod, { act: 'trace', tier: 'pod', namespace: 'bank' })).rejects.toMatchObject({
      message: 'ci may not trace the namespace bank.',
      remedy: 'ask the owner of the token file to add "bank" to the namespaces of ci',
    });
  });
});
