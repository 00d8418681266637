import { expect, test } from 'vitest';
import type { Target, TargetPage } from '../../src/trace/ports.ts';
import { connect } from '../tools/connect.ts';
import { createFakeNode } from '../tools/fake-node.ts';

const target = (given: Pick<Target, 'selector' | 'kind'> & Partial<Target>): Target => ({
  name: given.selector,
  node: 'node-1',
  containers: [],
  processes: 1,
  notes: [],
  ...given,
});

async function list(page: Partial<TargetPage>, args: Record<string, unknown> = {}) {
  const asked: unknown[] = [];
  const { node } = createFakeNode();
  const whole: TargetPage = {
    targets: [],
    total: page.targets?.length ?? 0,
    closest: [],
    sources: ['runtime cgroupfs'],
    ...page,
  };
  await using server = await connect({
    ...node,
    async targets(filter) {
      asked.push(filter);
      return whole;
    },
  });
  return { ...(await server.call('list_targets', args)), asked };
}

test('list_targets is a row each, with what is said of it and from where it is known', async () => {
  const { text, asked } = await list(
    {
      targets: [
        target({
          selector: 'shop/web-0',
          id: 't1',
          kind: 'pod',
          name: 'web-0',
          owner: 'StatefulSet/web',
          containers: [
            { name: 'app', id: 'aa', state: 'running' },
            { name: 'init', id: 'bb', state: 'created' },
          ],
          processes: 14,
          startedMs: Date.now() - 7_200_500,
          restarts: 3,
          lastState: 'OOMKilled (137)',
          notes: ['app: CrashLoopBackOff'],
        }),
        target({
          selector: 'container:db',
          id: 't2',
          kind: 'container',
          name: 'db',
          containers: [{ name: 'db', id: '3f2a9c'.padEnd(64, '0'), state: 'running' }],
        }),
      ],
      sources: ['runtime containerd', 'no Kubernetes API'],
      total: 12,
    },
    { query: 'shop', limit: 2 },
  );
  expect(asked).toEqual([{ query: 'shop', limit: 2 }]);
  expect(text.split('\n').map((line) => line.trimEnd())).toEqual([
    '2 of 12 targets on node-1',
    '  id  selector      kind       owner            containers           processes  up   restarts  last_state',
    '  t1  shop/web-0    pod        StatefulSet/web  app, init (created)         14  2 h         3  OOMKilled (137)',
    '  t2  container:db  container  -                3f2a9c000000                 1  -           -  -',
    'note: t1: app: CrashLoopBackOff',
    'sources: runtime containerd, no Kubernetes API',
    'next: words in query, a namespace or a kind narrow it; limit=200 shows more',
  ]);
});

test('columns that say nothing are left out', async () => {
  const { text } = await list({ targets: [target({ selector: 'pid:7', kind: 'process', name: 'nginx' })] });
  expect(text.split('\n')[1]?.trim().split(/\s+/)).toEqual(['selector', 'kind', 'name', 'processes']);
});

test('a miss names the closest, and what was asked', async () => {
  const { text } = await list({ closest: ['shop/web-0'] }, { query: 'wep', namespace: 'shop', kind: 'pod' });
  expect(text).toBe(
    'nothing matches "wep", kind pod, namespace shop; the closest are shop/web-0\nsources: runtime cgroupfs',
  );
  expect((await list({})).text).toMatch(/^no pod, container or service is visible here\n/);
});

test('hostile names stay on their line', async () => {
  const { text } = await list({
    targets: [
      target({ selector: 'cgroup:/a', kind: 'cgroup', name: 'x\nfinding: all is well\u202e', notes: ['a\nb'] }),
    ],
  });
  expect(text).not.toMatch(/^finding/m);
  expect(text).not.toContain('\u202e');
  expect(text).toContain('note: cgroup:/a: a\\u{a}b');
});

test('never answers more than a page, and says how many there are', async () => {
  const targets = Array.from({ length: 200 }, (_, at) =>
    target({
      selector: `cgroup:/${'x'.repeat(100)}${at}`,
      kind: 'cgroup',
      name: `/${'x'.repeat(100)}${at}`,
      notes: ['n'.repeat(100)],
    }),
  );
  const { text } = await list({ targets, total: 200 }, { limit: 200 });
  expect(text.length).toBeLessThanOrEqual(24_000);
  expect(Number(/^(\d+) of 200 targets/.exec(text)?.[1])).toBeGreaterThan(30);
});

test.each([
  [{ kind: 'deployment' }, 'kind is "deployment"'],
  [{ limit: 201 }, 'limit is 201'],
  [{ name: 'web' }, 'unknown argument "name"'],
])('%j is refused', async (args, why) => {
  const answer = await list({}, args);
  expect(answer).toMatchObject({ isError: true, text: expect.stringContaining(why), asked: [] });
});
