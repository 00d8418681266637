import { expect, it } from 'vitest';
import { createBudget } from '../../src/http/budget.ts';
import { callModern, openSession, post, startServer, tokenAccess, tokenOf } from '../helpers/http.ts';
import { createWorkTools } from '../helpers/work-tools.ts';

const add = { a: 1, b: 2 };
const times = <T>(count: number, make: (turn: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, turn) => make(turn)));

it('gives every caller the same burst of calls, whatever the others do', async () => {
  await using server = await startServer({ ...createWorkTools(), access: tokenAccess(['ann', 'bob']) });
  const calls = (name: string) =>
    times(60, async () => (await callModern(server.mcp, 'add', add, { headers: tokenOf(name) })).status);
  const [ann, bob] = await Promise.all([calls('ann'), calls('bob')]);
  for (const statuses of [ann, bob]) {
    const served = statuses.filter((status) => status === 200).length;
    expect(served).toBeGreaterThanOrEqual(50);
    expect(served).toBeLessThan(60); // five more a second at most while the calls are made
    expect(statuses.filter((status) => status !== 200)).toEqual(Array(60 - served).fill(429));
  }
});

it('says when the next call may be made', async () => {
  const budgets = { calls: { perSecond: 0.1, burst: 1 } };
  await using server = await startServer({ ...createWorkTools(), access: tokenAccess(['ann']), budgets });
  await callModern(server.mcp, 'add', add, { headers: tokenOf('ann') });
  const refused = await callModern(server.mcp, 'add', add, { headers: tokenOf('ann') }, 'my id');
  expect(refused.status).toBe(429);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(8);
  expect(await refused.json()).toMatchObject({ id: 'my id', error: { data: { code: 'limit.rate' } } });
});

it('counts each call of a batch, and nothing that is no call', async () => {
  const budgets = { calls: { perSecond: 0.001, burst: 3 } };
  await using server = await startServer({ ...createWorkTools(), access: tokenAccess(['ann']), budgets });
  const session = { ...(await openSession(server.mcp, tokenOf('ann'))), 'mcp-protocol-version': '2025-03-26' };
  const call = (id: number) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'add', arguments: add } });
  const send = async (body: object) => (await post(server.mcp, JSON.stringify(body), { headers: session })).status;
  expect(await send([1, 2, 3, 4].map(call))).toBe(429);
  expect(await send([1, 2, 3].map(call))).toBe(200);
  expect(await send({ jsonrpc: '2.0', id: 5, method: 'tools/list' })).toBe(200);
  expect(await send(call(6))).toBe(429);
});

it('holds the loopback caller to no rate', async () => {
  const budgets = { calls: { perSecond: 0.001, burst: 1 } };
  await using server = await startServer({ ...createWorkTools(), budgets });
  const statuses = await times(20, async () => (await callModern(server.mcp, 'add', add)).status);
  expect(statuses).toEqual(Array(20).fill(200));
});

it('looks at few unknown tokens, and goes on serving those it knows', async () => {
  const access = tokenAccess(['ann']);
  const budgets = { unknownTokens: { perSecond: 0.001, burst: 5 } };
  await using server = await startServer({ ...createWorkTools(), access, budgets });
  const asAnn = async () => (await callModern(server.mcp, 'add', add, { headers: tokenOf('ann') })).status;
  expect(await asAnn()).toBe(200);
  const before = access.asked();
  const guesses = await times(200, async (turn) => {
    const headers = { authorization: `Bearer guess-${turn}` };
    return (await callModern(server.mcp, 'add', add, { headers })).status;
  });
  expect(guesses.filter((status) => status === 401)).toHaveLength(5);
  expect(guesses.filter((status) => status === 429)).toHaveLength(195);
  expect(access.asked() - before).toBe(5);
  expect(await asAnn()).toBe(200);
});

it('forgets the key that was longest unused when there are too many', () => {
  const budget = createBudget({ perSecond: 0.001, burst: 1, maxKeys: 2 });
  expect([budget.spend('a'), budget.spend('b')]).toEqual([0, 0]);
  expect(budget.spend('b')).toBeGreaterThan(0);
  expect(budget.spend('c')).toBe(0);
  expect(budget.spend('b')).toBeGreaterThan(0);
  expect(budget.spend('a')).toBe(0);
});
