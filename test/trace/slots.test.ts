import { expect, test } from 'vitest';
import { KerntapError } from '../../src/errors.ts';
import type { Caller } from '../../src/trace/ports.ts';
import { createSlots, defaultSlots } from '../../src/trace/slots.ts';

const local: Caller = { name: 'local', source: 'local', tiers: ['node'], namespaces: ['*'] };
const agent: Caller = { name: 'agent', source: 'token', tiers: ['node'], namespaces: ['*'] };
const never = new AbortController().signal;

function slotsWith(limits: Partial<typeof defaultSlots>) {
  const clock = { ms: 0 };
  return { slots: createSlots({ ...defaultSlots, ...limits }, () => clock.ms), clock };
}

test('a slot that is given back goes to the call that waited', async () => {
  const { slots } = slotsWith({ total: 1, queueMs: 60_000 });
  const first = await slots.take(local, 5_000, never);
  const second = slots.take(local, 5_000, never);
  expect(slots.taken).toBe(1);
  first[Symbol.dispose]();
  using _second = await second;
  expect(slots.taken).toBe(1);
});

test('a call that would wait too long is refused with the time when a slot is free', async () => {
  const { slots, clock } = slotsWith({ total: 2, queueMs: 10_000 });
  const soon = await slots.take(local, 90_000, never);
  await slots.take(local, 200_000, never);
  soon.until(42_000);
  clock.ms = 2_000;
  const refused = await slots.take(local, 5_000, never).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(KerntapError);
  expect(refused).toMatchObject({ code: 'limit.runs', retryAfterS: 40 });
  expect((refused as KerntapError).text).toContain(
    'All 2 slots of this node are taken; the next is free in 40 s or sooner.',
  );
});

test('a caller with a token has three slots while others still get theirs', async () => {
  const { slots } = slotsWith({ queueMs: 0 });
  for (let i = 0; i < 3; i++) await slots.take(agent, 60_000, never);
  await expect(slots.take(agent, 60_000, never)).rejects.toMatchObject({ code: 'limit.runs' });
  using _other = await slots.take(local, 60_000, never);
  expect(slots.taken).toBe(4);
});

test('the eleventh run of a caller within a minute is refused, and allowed when the first is a minute old', async () => {
  const { slots, clock } = slotsWith({});
  for (let i = 0; i < 10; i++) (await slots.take(agent, 1_000, never))[Symbol.dispose]();
  await expect(slots.take(agent, 1_000, never)).rejects.toMatchObject({ code: 'limit.rate', retryAfterS: 60 });
  clock.ms = 60_000;
  using _slot = await slots.take(agent, 1_000, never);
});

test('a refused call is no start', async () => {
  const { slots, clock } = slotsWith({ perMinute: 3, perCaller: 2, queueMs: 0 });
  const first = await slots.take(agent, 60_000, never);
  await slots.take(agent, 60_000, never);
  await expect(slots.take(agent, 60_000, never)).rejects.toMatchObject({ code: 'limit.runs' });
  first[Symbol.dispose]();
  clock.ms = 1_000;
  using _third = await slots.take(agent, 60_000, never);
});

test('a call that is cancelled while it waits leaves the queue', async () => {
  const { slots } = slotsWith({ total: 1, queueMs: 60_000 });
  const first = await slots.take(local, 1_000, never);
  const gone = new AbortController();
  const waiting = slots.take(local, 1_000, gone.signal);
  gone.abort('cancelled');
  await expect(waiting).rejects.toMatchObject({ code: 'limit.runs', remedy: 'call again' });
  first[Symbol.dispose]();
  expect(slots.taken).toBe(0);
});

test('more calls than the queue holds are refused at once', async () => {
  const { slots } = slotsWith({ total: 1, queue: 1, queueMs: 60_000 });
  const first = await slots.take(local, 1_000, never);
  const waiting = slots.take(local, 1_000, never);
  await expect(slots.take(local, 1_000, never)).rejects.toMatchObject({ code: 'limit.runs' });
  first[Symbol.dispose]();
  (await waiting)[Symbol.dispose]();
});
