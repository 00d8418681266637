import { statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { RuntimeError } from '../../src/targets/runtimes/runtime-error.ts';
import type { Container, TargetFilter, TargetResolver } from '../../src/trace/ports.ts';
import { api, container, createFakeHost, type FakeHost, facts, idOf, knows, UID, UID_ } from './fake-host.ts';

const { signal } = new AbortController();
const OTHER = '11111111-2222-4333-8444-555555555555';

const idAt = (host: FakeHost, path: string) => statSync(host.folderOf(path), { bigint: true }).ino;
const list = (targets: TargetResolver, filter: Partial<TargetFilter> = {}) =>
  targets.list({ limit: 20, ...filter }, signal);

/** A pod `shop/web-0` with the containers `app` and `proxy` and what holds its namespaces, at `path(ID)`. */
function pod(
  host: FakeHost,
  path: (id: string) => string,
  { uid = UID, netns = 4026532100, name = 'web-0', first = 100 } = {},
) {
  const ids = { app: idOf(`a${first}`), proxy: idOf(`b${first}`), pause: idOf(`f${first}`) };
  host.cgroup(path(ids.pause), [{ pid: first, comm: 'pause', netns }]);
  host.cgroup(path(ids.app), [
    { pid: first + 1, netns },
    { pid: first + 2, netns },
  ]);
  host.cgroup(path(ids.proxy), [{ pid: first + 3, netns }]);
  const known = (['app', 'proxy'] as const).map((each, index) =>
    container({ id: ids[each], name: each, pod: { namespace: 'shop', name, uid }, pid: first + 1 + 2 * index }),
  );
  return { ids, known };
}
const LAYOUT_1 = (id: string) =>
  `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID_}.slice/cri-containerd-${id}.scope`;
const LAYOUT_2 = (id: string) => `/kubepods/burstable/pod${UID}/${id}`;
const LAYOUT_3 = (id: string) => `/kubepods-burstable-pod${UID_}.slice:cri-containerd:${id}`;

describe('a pod', () => {
  test.each([
    ['systemd', 'v2', LAYOUT_1, 3],
    ['cgroupfs', 'v2', LAYOUT_2, 3],
    ['systemd', 'hybrid', LAYOUT_1, 3],
    ['cgroupfs', 'v1', LAYOUT_2, 3],
  ] as const)(
    'by the driver %s on cgroup %s is its own cgroup, with its network namespace',
    async (_d, layout, path, level) => {
      using host = createFakeHost({ layout });
      const { ids, known } = pod(host, path);
      const targets = host.targets({ runtimes: [knows('containerd', () => known)] });
      const own = path(ids.app).replace(/\/[^/]*$/, '');
      const found = await targets.resolve('shop/web-0', signal);

      expect(found).toMatchObject({ kind: 'pod', name: 'shop/web-0', tier: 'pod', namespace: 'shop', follows: true });
      expect(found.scope?.groups).toEqual([{ id: idAt(host, own), level }]);
      expect(found.scope?.netns).toBe(4026532100n);
      expect(found.scope?.nested?.toSorted()).toEqual(
        Object.values(ids)
          .map((id) => idAt(host, path(id)))
          .toSorted(),
      );
      expect(found.cgroups).toEqual([host.folderOf(own)]);
      expect(found.containers.map(({ name }) => name)).toEqual(['app', 'proxy']);
      expect(found.notes).toEqual(layout === 'v1' ? [expect.stringContaining('cgroup v1 only')] : []);
    },
  );

  test('of drivers that disagree is told by how the names of its cgroups begin', async () => {
    using host = createFakeHost();
    const { ids, known } = pod(host, LAYOUT_3);
    const targets = host.targets({ runtimes: [knows('containerd', () => known)] });
    const found = await targets.resolve('shop/web-0', signal);
    expect(found.scope).toMatchObject({
      groups: [],
      namePrefix: `kubepods-burstable-pod${UID_}.slice:cri-containerd:`,
    });
    expect(found.follows).toBe(true);
    expect(found.cgroups).toEqual([ids.app, ids.proxy, ids.pause].map((id) => host.folderOf(LAYOUT_3(id))));

    host.cgroup(LAYOUT_3(idOf('c9')), [{ pid: 190 }]);
    expect((await targets.look(found)).processes).toBe(5);
    const app = await targets.resolve('shop/web-0/app', signal);
    expect(app.scope?.groups).toEqual([{ id: idAt(host, LAYOUT_3(ids.app)), level: 1 }]);
  });

  test('without a cgroup of its own is its containers as they are now, and says so', async () => {
    using host = createFakeHost();
    const { ids, known } = pod(host, (id) => `/k8s.io/${id}`);
    host.cgroup(`/k8s.io/${idOf('e')}`, [{ pid: 900 }]);
    const found = await host.targets({ runtimes: [knows('containerd', () => known)] }).resolve('shop/web-0', signal);
    expect(found.scope?.groups.map(({ id }) => id)).toEqual(
      [ids.app, ids.proxy].map((id) => idAt(host, `/k8s.io/${id}`)),
    );
    expect(found).toMatchObject({ follows: false, notes: [expect.stringContaining('restarts is not covered')] });
  });

  test('in the network of the node has no network namespace of its own', async () => {
    using host = createFakeHost();
    const { known } = pod(host, LAYOUT_2, { netns: 4026531840 });
    const found = await host.targets({ runtimes: [knows('containerd', () => known)] }).resolve('shop/web-0', signal);
    expect(found.scope).not.toHaveProperty('netns');
  });

  test('whose container is started again is still found while nothing of it runs but what holds its namespaces', async () => {
    using host = createFakeHost();
    const { ids, known } = pod(host, LAYOUT_2);
    const states = { app: 'exited', proxy: 'exited' } as Record<string, Container['state']>;
    const containers = () => known.map((each) => ({ ...each, state: states[each.name] ?? 'running' }));
    const targets = host.targets({ runtimes: [knows('containerd', containers)] });
    host.remove(LAYOUT_2(ids.app));
    host.remove(LAYOUT_2(ids.proxy));
    const found = await targets.resolve('shop/web-0', signal);
    expect(found).toMatchObject({ containers: [], follows: true, scope: { netns: 4026532100n } });
    expect(found.scope?.groups).toEqual([{ id: idAt(host, `/kubepods/burstable/pod${UID}`), level: 3 }]);

    host.remove(`/kubepods/burstable/pod${UID}`);
    await expect(targets.resolve('shop/web-0', signal)).rejects.toMatchObject({
      code: 'target.gone',
      message: 'All containers of the pod shop/web-0 have finished.',
    });
  });

  test('that is static has another uid in the API and is told by its containers', async () => {
    using host = createFakeHost();
    const hash = '0123456789abcdef0123456789abcdef';
    const id = idOf('5a');
    host.cgroup(`/kubepods/burstable/pod${hash}/${id}`, [{ pid: 20 }]);
    const known = facts({
      namespace: 'kube-system',
      name: 'etcd-n1',
      uid: OTHER,
      containers: [
        { name: 'etcd', id, restarts: 2, state: 'Running', lastState: 'Error (1)', requests: {}, limits: {} },
      ],
    });
    const targets = host.targets({ pods: api([known]) });
    expect((await targets.resolve('kube-system/etcd-n1/etcd', signal)).containers[0]).toMatchObject({
      id,
      name: 'etcd',
    });
    const { targets: rows } = await list(targets);
    expect(rows).toEqual([
      expect.objectContaining({ selector: 'kube-system/etcd-n1', restarts: 2, lastState: 'Error (1)', processes: 1 }),
    ]);
  });

  test('whose name nobody knows goes by its cgroup', async () => {
    using host = createFakeHost();
    pod(host, LAYOUT_1);
    const targets = host.targets();
    const [row] = (await list(targets)).targets;
    expect(row).toMatchObject({ kind: 'pod', name: `pod ${UID}`, processes: 4 });
    expect(row?.containers).toHaveLength(2);
    expect(await targets.resolve(row?.selector, signal)).toMatchObject({ kind: 'pod', follows: true });
  });

  test('that has not started says so', async () => {
    using host = createFakeHost();
    const pending = facts({ namespace: 'shop', name: 'new', uid: OTHER, phase: 'Pending' });
    await expect(host.targets({ pods: api([pending]) }).resolve('shop/new', signal)).rejects.toMatchObject({
      code: 'target.gone',
      message: expect.stringContaining('has not started'),
    });
  });

  test('that was made anew under its name is the one that runs', async () => {
    using host = createFakeHost();
    const { known } = pod(host, LAYOUT_2);
    const before = container({
      id: idOf('99'),
      state: 'exited',
      pod: { namespace: 'shop', name: 'web-0', uid: OTHER },
    });
    const targets = host.targets({ runtimes: [knows('containerd', () => [before, ...known])] });
    expect((await targets.resolve('shop/web-0', signal)).containers).toHaveLength(2);
  });
});

describe('a container', () => {
  function shop(host: FakeHost) {
    const one = pod(host, LAYOUT_2);
    const two = pod(host, (id) => `/kubepods/pod${OTHER}/${id}`, {
      uid: OTHER,
      name: 'web-1',
      first: 200,
      netns: 4026532200,
    });
    host.cgroup(`/docker/${idOf('dd1')}`, [{ pid: 30, netns: 4026532300 }]);
    const docker = container({ runtime: 'docker', id: idOf('dd1'), name: 'db', image: 'postgres:17', pid: 30 });
    const targets = host.targets({
      runtimes: [knows('containerd', () => [...one.known, ...two.known]), knows('docker', () => [docker])],
    });
    return { one, two, targets };
  }

  test('is found by name, by id and by the beginning of its id', async () => {
    using host = createFakeHost();
    const { targets } = shop(host);
    for (const selector of ['container:db', `container:${idOf('dd1')}`, 'container:dd10', 'container:docker://dd10']) {
      expect(await targets.resolve(selector, signal)).toMatchObject({
        kind: 'container',
        name: 'container:db',
        scope: { groups: [{ id: idAt(host, `/docker/${idOf('dd1')}`), level: 2 }], netns: 4026532300n },
        follows: false,
      });
    }
    const found = await targets.resolve('container:db', signal);
    expect(found).not.toHaveProperty('namespace');
  });

  test('of a pod is its own cgroup, and says that it shares its network', async () => {
    using host = createFakeHost();
    const { targets, one } = shop(host);
    expect(await targets.resolve('shop/web-0/app', signal)).toMatchObject({
      name: 'shop/web-0/app',
      namespace: 'shop',
      scope: { groups: [{ id: idAt(host, LAYOUT_2(one.ids.app)), level: 4 }] },
      notes: [expect.stringContaining('whole pod')],
    });
  });

  test('whose name several have is answered with all of them', async () => {
    using host = createFakeHost();
    const { targets } = shop(host);
    await expect(targets.resolve('container:app', signal)).rejects.toMatchObject({
      code: 'target.ambiguous',
      message: '"container:app" may mean shop/web-0/app, shop/web-1/app.',
    });
  });

  test('that is not there is answered with what the pod has', async () => {
    using host = createFakeHost();
    const { targets } = shop(host);
    await expect(targets.resolve('shop/web-0/nginx', signal)).rejects.toMatchObject({
      code: 'target.not_found',
      message: 'The pod shop/web-0 has no container "nginx"; it has app, proxy.',
    });
  });

  test('that has finished is gone, whatever the runtime still says of its process', async () => {
    using host = createFakeHost();
    const { known } = pod(host, LAYOUT_2);
    const targets = host.targets({
      runtimes: [knows('containerd', () => known.map((each) => ({ ...each, state: 'exited' as const })))],
    });
    await expect(targets.resolve('shop/web-0/app', signal)).rejects.toMatchObject({
      code: 'target.gone',
      message: 'The container "app" of the pod shop/web-0 has finished.',
    });
  });

  test('whose pid is that of another process by now is not looked for there', async () => {
    using host = createFakeHost();
    host.cgroup('/system.slice/sshd.service', [{ pid: 30, startTicks: 9_000 }]);
    const stale = container({ id: idOf('dd'), name: 'db', pid: 30, startTicks: 5_000n });
    const targets = host.targets({ runtimes: [knows('docker', () => [stale])] });
    await expect(targets.resolve('container:db', signal)).rejects.toMatchObject({ code: 'target.gone' });
  });

  test('that a runtime names and the file system shows has the pid and start of one process', async () => {
    using host = createFakeHost();
    host.cgroup(`/docker/${idOf('dd')}`, [{ pid: 31 }, { pid: 30 }]);
    const named = container({ runtime: 'docker', id: idOf('dd'), name: 'db', pid: 30 });
    const targets = host.targets({ runtimes: [knows('docker', () => [named])] });
    const [found] = (await targets.resolve('container:db', signal)).containers;
    expect(found).toMatchObject({ runtime: 'docker', pid: 30, startTicks: 1_030n, cgroup: `/docker/${idOf('dd')}` });
  });

  test('that is in no cgroup of its own, or in that of v1 alone, is never taken for the root', async () => {
    using host = createFakeHost({ layout: 'hybrid' });
    host.cgroup('', [{ pid: 30 }]);
    const named = container({
      runtime: 'docker',
      id: idOf('dd'),
      name: 'db',
      pid: 30,
      cgroup: `/docker/${idOf('dd')}`,
    });
    const targets = host.targets({ runtimes: [knows('docker', () => [named])] });
    await expect(targets.resolve('container:db', signal)).rejects.toMatchObject({
      code: 'target.unsupported',
      message: 'The container "db" has no cgroup of its own in the hierarchy of cgroup v2.',
    });
  });

  test('that goes between two looks is gone', async () => {
    using host = createFakeHost();
    const { targets, one } = shop(host);
    await targets.resolve('shop/web-0/app', signal);
    host.end(101);
    host.end(102);
    host.remove(LAYOUT_2(one.ids.app));
    await expect(targets.resolve('shop/web-0/app', signal)).rejects.toMatchObject({ code: 'target.gone' });
  });

  test.each(['runsc', 'kata-qemu'])('under %s says what this node can see of it', async (handler) => {
    using host = createFakeHost();
    const { known } = pod(host, LAYOUT_2);
    const targets = host.targets({
      runtimes: [knows('containerd', () => known.map((each) => ({ ...each, handler })))],
    });
    const note = expect.stringContaining('cgroup counters, its network device and its block requests only');
    expect((await targets.resolve('shop/web-0', signal)).notes).toEqual([note]);
    expect((await list(targets)).targets[0]?.notes).toEqual([note]);
  });
});

describe('a workload', () => {
  const labelled = { 'pod-template-hash': '5d4f8c', app: 'web' };
  function deployment(host: FakeHost) {
    const names = ['web-5d4f8c-aaaaa', 'web-5d4f8c-bbbbb'];
    const pods = [
      pod(host, LAYOUT_2, { name: names[0] }),
      pod(host, (id) => `/kubepods/pod${OTHER}/${id}`, { uid: OTHER, name: names[1], first: 200, netns: 4026532200 }),
    ];
    const known = pods.flatMap((each) => each.known);
    const all = names.map((name, index) =>
      facts({
        namespace: 'shop',
        name,
        uid: [UID, OTHER][index] ?? '',
        labels: labelled,
        owner: { kind: 'Deployment', name: 'web' },
      }),
    );
    return { known, all };
  }

  test.each(['shop/deployment:web', 'shop/app=web'])(
    '%s is all its pods of this node, each at its own level',
    async (selector) => {
      using host = createFakeHost();
      const { known, all } = deployment(host);
      const targets = host.targets({ runtimes: [knows('containerd', () => known)], pods: api(all) });
      const found = await targets.resolve(selector, signal);
      expect(found).toMatchObject({ kind: 'workload', name: selector, namespace: 'shop', follows: true });
      expect(found.scope?.groups).toEqual([
        { id: idAt(host, `/kubepods/burstable/pod${UID}`), level: 3 },
        { id: idAt(host, `/kubepods/pod${OTHER}`), level: 2 },
      ]);
      expect(found.scope).not.toHaveProperty('netns');
      expect(found.notes).toEqual([
        `Covered are the 2 pods of ${selector} that this node runs now; pods that start later are not.`,
      ]);
      expect((await targets.look(found)).containers.map(({ name }) => name)).toContain('web-5d4f8c-bbbbb/proxy');
    },
  );

  test('with a pod that has no cgroup of its own is its containers as they are now, and says so', async () => {
    using host = createFakeHost();
    const owner = { 'pod-template-hash': '5d4f8c' };
    const one = pod(host, LAYOUT_3, { name: 'web-5d4f8c-aaaaa' });
    const two = pod(host, (id) => `/kubepods/pod${OTHER}/${id}`, { uid: OTHER, name: 'web-5d4f8c-bbbbb', first: 200 });
    const known = [...one.known, ...two.known].map((each) => ({ ...each, labels: owner }));
    const targets = host.targets({ runtimes: [knows('containerd', () => known)] });
    const found = await targets.resolve('shop/deployment:web', signal);
    expect(found.scope).not.toHaveProperty('namePrefix');
    expect(found.scope?.groups).toEqual([
      { id: idAt(host, LAYOUT_3(one.ids.app)), level: 1 },
      { id: idAt(host, LAYOUT_3(one.ids.proxy)), level: 1 },
      { id: idAt(host, `/kubepods/pod${OTHER}`), level: 2 },
    ]);
    expect(found.follows).toBe(false);
    expect(found.notes.at(-1)).toBe('A container of them that restarts is not covered either.');
  });

  test('is known without the API where its labels are', async () => {
    using host = createFakeHost();
    const { known } = deployment(host);
    const targets = host.targets({
      runtimes: [knows('containerd', () => known.map((each) => ({ ...each, labels: labelled })))],
    });
    expect((await targets.resolve('shop/deployment:web', signal)).scope?.groups).toHaveLength(2);
    const { targets: rows } = await list(targets, { kind: 'workload' });
    expect(rows).toMatchObject([{ selector: 'shop/deployment:web', owner: 'Deployment/web', processes: 8 }]);
  });

  test('that has no pod here is answered with the closest', async () => {
    using host = createFakeHost();
    const { known, all } = deployment(host);
    const targets = host.targets({ runtimes: [knows('containerd', () => known)], pods: api(all) });
    await expect(targets.resolve('shop/deployment:wep', signal)).rejects.toMatchObject({
      code: 'target.not_found',
      message: expect.stringContaining('the closest names are shop/deployment:web'),
    });
  });
});

describe('a process', () => {
  test('is its cgroup and its pid, with the rights of the pod that it is in', async () => {
    using host = createFakeHost();
    const { ids, known } = pod(host, LAYOUT_2);
    const targets = host.targets({ runtimes: [knows('containerd', () => known)] });
    expect(await targets.resolve('pid:102', signal)).toMatchObject({
      kind: 'process',
      name: 'pid:102',
      namespace: 'shop',
      scope: { groups: [{ id: idAt(host, LAYOUT_2(ids.app)), level: 4 }], pids: [102], netns: 4026532100n },
      containers: [{ pid: 102, startTicks: 1_102n }],
      notes: [expect.stringContaining('the kernel keeps no process for them')],
    });
  });

  test('in the root cgroup needs the rights of the node', async () => {
    using host = createFakeHost();
    host.cgroup('', [{ pid: 5 }]);
    expect(await host.targets().resolve('pid:5', signal)).toMatchObject({ tier: 'node' });
  });

  test('is not one of its threads', async () => {
    using host = createFakeHost();
    host.cgroup('/a', [{ pid: 5 }, { pid: 6 }]);
    host.write('proc/6/status', 'Name:\tx\nTgid:\t5\nPid:\t6\n');
    await expect(host.targets().resolve('pid:6', signal)).rejects.toMatchObject({
      code: 'target.invalid',
      message: '6 is a thread of the process 5.',
    });
  });

  test('where pid numbers are not the kernel’s is its whole cgroup, and says so', async () => {
    using host = createFakeHost();
    host.cgroup('/a', [{ pid: 5 }]);
    host.relink('proc/1/ns/pid', 'pid:[4026532500]');
    const found = await host.targets().resolve('pid:5', signal);
    expect(found.scope).not.toHaveProperty('pids');
    expect(found.notes).toEqual([expect.stringContaining('whole cgroup')]);
  });

  test('that another caller listed is not named to who may not see it', async () => {
    using host = createFakeHost();
    host.cgroup('/secret', [{ pid: 5, comm: 'one', startTicks: 10 }]);
    const targets = host.targets();
    expect((await list(targets, { kind: 'cgroup' })).targets).toMatchObject([{ id: 't1', selector: 'cgroup:/secret' }]);
    await expect(targets.resolve('t1', signal, (namespace) => namespace === 'shop')).rejects.toThrow(
      'The row "t1" of list_targets is not known, has expired, or stands for what is gone.',
    );
  });

  test('whose pid was given again is not taken for the one that was listed', async () => {
    using host = createFakeHost();
    host.cgroup('/a', [{ pid: 5, comm: 'one', startTicks: 10 }]);
    const targets = host.targets();
    const [row] = (await list(targets, { kind: 'process', query: 'one' })).targets;
    expect(row).toMatchObject({ id: 't1', selector: 'pid:5', name: 'one' });
    const found = await targets.resolve('t1', signal);
    expect((await targets.look(found)).processes).toBe(1);

    host.cgroup('/a', [{ pid: 5, comm: 'two', startTicks: 20 }]);
    await expect(targets.resolve('t1', signal)).rejects.toMatchObject({ code: 'target.gone' });
    expect((await targets.look(found)).processes).toBe(0);
    expect((await list(targets, { kind: 'process', query: 'two' })).targets[0]?.id).toBe('t2');
  });
});

describe('a cgroup', () => {
  test('with spaces and unicode is all that is below it', async () => {
    using host = createFakeHost({ folder: 'the host\\ö' });
    host.cgroup('/my group ü/in ner', [{ pid: 5 }, { pid: 6 }]);
    const targets = host.targets();
    const found = await targets.resolve('cgroup:/my group ü', signal);
    expect(found).toMatchObject({ kind: 'cgroup', name: 'cgroup:/my group ü', tier: 'node', follows: true });
    expect(found.scope?.groups).toEqual([{ id: idAt(host, '/my group ü'), level: 1 }]);
    expect((await targets.look(found)).processes).toBe(2);
    expect((await list(targets, { kind: 'cgroup', query: 'my ü' })).targets.map(({ selector }) => selector)).toEqual([
      'cgroup:/my group ü',
      'cgroup:/my group ü/in ner',
    ]);
  });

  test('of a pod or a container is that', async () => {
    using host = createFakeHost();
    const { ids, known } = pod(host, LAYOUT_2);
    const targets = host.targets({ runtimes: [knows('containerd', () => known)] });
    expect(await targets.resolve(`cgroup:/kubepods/burstable/pod${UID}`, signal)).toMatchObject({ name: 'shop/web-0' });
    expect(await targets.resolve(`cgroup:${LAYOUT_2(ids.app)}`, signal)).toMatchObject({ name: 'shop/web-0/app' });
    expect(await targets.resolve('cgroup:/kubepods', signal)).not.toHaveProperty('namespace');
    expect(await targets.resolve('cgroup:/', signal)).toMatchObject({ tier: 'node' });
  });

  test('that is not there is answered with the closest', async () => {
    using host = createFakeHost();
    host.cgroup('/system.slice/nginx.service', [{ pid: 5 }]);
    await expect(host.targets().resolve('cgroup:/system.slice/nginx', signal)).rejects.toMatchObject({
      code: 'target.not_found',
      message: expect.stringContaining('the closest names are /system.slice/nginx.service'),
    });
  });
});

describe('a unit of systemd', () => {
  test.each(['nginx', 'nginx.service'])(
    '%s is its cgroup, and not that of a container with a systemd of its own',
    async (unit) => {
      using host = createFakeHost();
      host.cgroup(`/docker/${idOf('d')}/system.slice/nginx.service`, [{ pid: 6 }]);
      host.cgroup('/system.slice/nginx.service', [{ pid: 5 }]);
      expect(await host.targets().resolve(`systemd:${unit}`, signal)).toMatchObject({
        kind: 'systemd',
        name: 'systemd:nginx.service',
        scope: { groups: [{ id: idAt(host, '/system.slice/nginx.service'), level: 2 }] },
      });
    },
  );

  test('may be a slice, and a miss names the closest', async () => {
    using host = createFakeHost();
    host.cgroup('/system.slice/nginx.service', [{ pid: 5 }]);
    expect(await host.targets().resolve('systemd:system.slice', signal)).toMatchObject({
      name: 'systemd:system.slice',
    });
    await expect(host.targets().resolve('systemd:ngnix', signal)).rejects.toMatchObject({
      message: 'No unit "ngnix" runs on the node node-1; the closest names are nginx.',
    });
  });
});

describe('an address', () => {
  const trie =
    'Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.3.7\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n';

  test('is that of a pod by the API', async () => {
    using host = createFakeHost();
    const { known } = pod(host, LAYOUT_2);
    const own = facts({ namespace: 'shop', name: 'web-0', uid: UID, podIps: ['10.0.3.7', 'fd00::7'] });
    const targets = host.targets({ runtimes: [knows('containerd', () => known)], pods: api([own]) });
    expect(await targets.resolve('ip:fd00:0::7', signal)).toMatchObject({ name: 'shop/web-0' });
  });

  test('is that of a network namespace without it', async () => {
    using host = createFakeHost();
    const { known } = pod(host, LAYOUT_2);
    host.cgroup(`/docker/${idOf('d')}`, [{ pid: 30, netns: 4026532300 }]);
    host.write('proc/101/net/fib_trie', trie);
    host.write('proc/30/net/if_inet6', 'fd000000000000000000000000000008 02 40 00 80     eth0\n');
    const targets = host.targets({ runtimes: [knows('containerd', () => known)] });
    expect(await targets.resolve('ip:10.0.3.7', signal)).toMatchObject({ name: 'shop/web-0' });
    expect(await targets.resolve('ip:fd00::8', signal)).toMatchObject({ kind: 'container' });
    await expect(targets.resolve('ip:127.0.0.1', signal)).rejects.toMatchObject({ code: 'target.not_found' });
  });

  test('that pods in the network of the node share names them', async () => {
    using host = createFakeHost();
    const shared = ['a', 'b'].map((name) =>
      facts({ namespace: 'kube-system', name, uid: name, hostNetwork: true, podIps: ['192.0.2.1'] }),
    );
    await expect(host.targets({ pods: api(shared) }).resolve('ip:192.0.2.1', signal)).rejects.toMatchObject({
      code: 'target.ambiguous',
      message: expect.stringContaining('kube-system/a, kube-system/b'),
    });
  });
});

describe('a miss', () => {
  test('of a pod names the closest, or the node where it runs', async () => {
    using host = createFakeHost();
    const { known } = pod(host, LAYOUT_2);
    const targets = host.targets({
      runtimes: [knows('containerd', () => known)],
      pods: api([], { 'shop/web-1': 'node-2' }),
    });
    await expect(targets.resolve('shop/web-O', signal)).rejects.toMatchObject({
      code: 'target.not_found',
      message: 'There is no pod shop/web-O on the node node-1; the closest names are shop/web-0.',
    });
    await expect(targets.resolve('shop/web-1', signal)).rejects.toMatchObject({
      code: 'target.elsewhere',
      message: 'The pod shop/web-1 runs on the node node-2, this is node-1.',
      remedy: 'ask the kerntap of the node node-2',
    });
    await expect(targets.resolve('node:node-2', signal)).rejects.toMatchObject({ code: 'target.elsewhere' });
    await expect(targets.resolve('t7', signal)).rejects.toMatchObject({ code: 'target.not_found' });
  });

  test('on a host that shows no cgroups says what to do', async () => {
    using host = createFakeHost();
    host.write('proc/self/mountinfo', '');
    await expect(host.targets().resolve('shop/web-0', signal)).rejects.toMatchObject({
      code: 'target.unsupported',
      remedy: expect.stringContaining('--host-root'),
    });
  });
});

test('the node is itself, by its name and without one', async () => {
  using host = createFakeHost();
  for (const selector of [undefined, 'node', 'node:node-1']) {
    const found = await host.targets().resolve(selector, signal);
    expect(found).toMatchObject({ kind: 'node', name: 'node', tier: 'node' });
    expect(found).not.toHaveProperty('scope');
  }
});

describe('what a caller may not know of', () => {
  const visible = (namespace: string | undefined) => namespace === 'shop';

  test('is as if it were not there', async () => {
    using host = createFakeHost();
    const { ids, known } = pod(host, LAYOUT_2);
    host.cgroup('/system.slice/nginx.service', [{ pid: 5 }]);
    host.cgroup(`/docker/${idOf('d')}`, [{ pid: 6 }]);
    const hidden = known.map((each) => ({ ...each, pod: { namespace: 'bank', name: 'web-0', uid: UID } }));
    const targets = host.targets({
      runtimes: [knows('containerd', () => hidden)],
      pods: api([], { 'bank/web-9': 'node-2' }),
    });
    for (const selector of [
      'bank/web-0',
      'bank/web-9',
      'container:app',
      `container:${idOf('d')}`,
      'pid:101',
      'pid:5',
      `cgroup:${LAYOUT_2(ids.app)}`,
      'cgroup:/kubepods',
      'systemd:nginx',
      'systemd:system.slice',
    ]) {
      const refusal = targets.resolve(selector, signal, visible);
      await expect(refusal, selector).rejects.toMatchObject({ code: 'target.not_found' });
      await expect(refusal, selector).rejects.not.toThrow(/bank\/web-0.*closest|closest.*bank/);
    }
    for (const kind of [undefined, 'pod', 'container', 'process', 'cgroup', 'systemd'] as const) {
      expect((await targets.list({ limit: 20, ...(kind && { kind }) }, signal, visible)).targets, kind).toEqual([]);
    }
  });

  test('does not hide what he may', async () => {
    using host = createFakeHost();
    const { known } = pod(host, LAYOUT_2);
    const targets = host.targets({ runtimes: [knows('containerd', () => known)] });
    expect(await targets.resolve('pid:101', signal, visible)).toMatchObject({ namespace: 'shop' });
    expect((await targets.list({ limit: 20, kind: 'process' }, signal, visible)).total).toBe(4);
  });
});

describe('a runtime', () => {
  test('that fails or hangs is named, and the rest goes on', async () => {
    using host = createFakeHost();
    pod(host, LAYOUT_2);
    const broken = knows('docker', () => Promise.reject(new Error('closed in the middle of an answer')));
    const faulty = knows('podman', () => Promise.reject(new RuntimeError('podman at /x answered with rubbish.')));
    const hanging = knows('cri', () => new Promise(() => {}));
    const targets = host.targets({ runtimes: [broken, faulty, hanging], runtimeMs: 100 });
    for (const _again of [1, 2]) {
      const page = await list(targets);
      expect(page.sources).toEqual([
        'runtime docker did not answer',
        'podman at /x answered with rubbish',
        'runtime cri did not answer within 0.1 s',
        'runtime cgroupfs',
        'no Kubernetes API',
      ]);
      expect(page.total).toBe(1);
    }
    await expect(targets.resolve('shop/web-0', signal)).rejects.toThrow(
      /docker did not answer, podman at .*, runtime cri did not answer/,
    );
  });

  test('that was asked in vain answers when the caller has gone', async () => {
    using host = createFakeHost();
    const targets = host.targets({ runtimes: [knows('cri', () => new Promise(() => {}))] });
    const call = new AbortController();
    const answer = targets.list({ limit: 1 }, call.signal);
    call.abort(new Error('the caller has gone'));
    await expect(answer).rejects.toThrow('the caller has gone');
  });
});

describe('list_targets', () => {
  function node(host: FakeHost) {
    const { known } = pod(host, LAYOUT_2);
    host.cgroup('/system.slice/nginx.service', [{ pid: 13, startTicks: 300 }]);
    host.cgroup(`/docker/${idOf('dd')}`, [{ pid: 30 }]);
    const docker = container({ runtime: 'docker', id: idOf('dd'), name: 'db', image: 'postgres:17', pid: 30 });
    return host.targets({
      runtimes: [knows('containerd', () => known), knows('docker', () => [docker])],
      pods: api([
        facts({
          namespace: 'shop',
          name: 'web-0',
          uid: UID,
          labels: { app: 'web' },
          podIps: ['10.0.3.7'],
          owner: { kind: 'StatefulSet', name: 'web' },
          containers: known.map(({ name, id }) => ({
            name,
            id,
            restarts: 1,
            state: 'Running',
            requests: {},
            limits: {},
          })),
        }),
        facts({
          namespace: 'shop',
          name: 'late',
          uid: OTHER,
          phase: 'Pending',
          owner: { kind: 'ReplicaSet', name: 'late' },
        }),
      ]),
    });
  }

  test('has pods, then containers outside of pods, then units, each with what resolves it', async () => {
    using host = createFakeHost();
    const targets = node(host);
    const page = await list(targets);
    expect(page.targets.map(({ id, selector, kind, processes }) => [id, selector, kind, processes])).toEqual([
      ['t1', 'shop/late', 'pod', 0],
      ['t2', 'shop/web-0', 'pod', 4],
      ['t3', 'container:db', 'container', 1],
      ['t4', 'systemd:nginx.service', 'systemd', 1],
    ]);
    expect(page.targets[0]?.notes).toEqual(['phase Pending']);
    expect(page.targets[1]).toMatchObject({ owner: 'StatefulSet/web', restarts: 2, startedMs: 1_700_000_011_010 });
    expect(page.sources).toEqual([
      'runtime containerd',
      'runtime docker',
      'runtime cgroupfs',
      'Kubernetes API, up to date',
    ]);
    for (const id of ['t2', 't3', 't4']) {
      const { name } = await targets.resolve(id, signal);
      expect(page.targets.find((row) => row.id === id)?.selector).toBe(name);
    }
    expect((await list(targets)).targets.map(({ id }) => id)).toEqual(['t1', 't2', 't3', 't4']);
  });

  test.each([
    [{ query: 'app=web' }, ['shop/web-0']],
    [{ query: '10.0.3.7' }, ['shop/web-0']],
    [{ query: 'POSTGRES' }, ['container:db']],
    [{ query: 'shop stateful' }, ['shop/web-0']],
    [{ query: 'shop nginx' }, []],
    [{ namespace: 'shop' }, ['shop/late', 'shop/web-0']],
    [{ kind: 'container' as const }, ['shop/web-0/app', 'shop/web-0/proxy', 'container:db']],
    [{ kind: 'systemd' as const }, ['systemd:nginx.service']],
    [{ kind: 'workload' as const }, ['shop/statefulset:web']],
    [{ kind: 'node' as const }, ['node']],
    [{ kind: 'process' as const, query: '13' }, ['pid:13']],
    [{ node: 'node-2' }, []],
  ])('%j gives %j', async (filter, selectors) => {
    using host = createFakeHost();
    const page = await list(node(host), filter);
    expect(page.targets.map(({ selector }) => selector)).toEqual(selectors);
    expect(page.total).toBe(selectors.length);
  });

  test('shows no more than asked and how many there are; a miss names the closest', async () => {
    using host = createFakeHost();
    const targets = node(host);
    expect(await list(targets, { limit: 1 })).toMatchObject({ total: 4, targets: [{ selector: 'shop/late' }] });
    expect((await list(targets, { query: 'web-1' })).closest).toEqual(['shop/web-0']);
    expect((await list(targets, { namespace: 'shopp' })).closest).toEqual(['shop']);
    expect((await list(targets, { node: 'node-2' })).closest).toEqual(['node:node-1']);
  });
});

test('a look tells containers by their names, those that came later too, and leaves out those that went', async () => {
  using host = createFakeHost();
  const { ids, known } = pod(host, LAYOUT_2);
  const late = container({ id: idOf('cc'), name: 'late', pod: { namespace: 'shop', name: 'web-0', uid: UID } });
  const targets = host.targets({ runtimes: [knows('containerd', () => [...known, late])] });
  const found = await targets.resolve('shop/web-0', signal);
  host.write('proc/101/task/101/status', 'voluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t2\n');
  host.write('proc/101/task/105/status', 'voluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t0\n');
  host.relink('proc/101/fd/3', 'socket:[77]');
  host.relink('proc/101/fd/4', '/dev/null');
  host.relink('proc/102/fd/3', 'socket:[77]');
  host.relink('proc/103/fd/9', 'socket:[78]');
  expect(await targets.look(found)).toMatchObject({
    containers: [
      { name: 'app', id: ids.app },
      { name: 'proxy', id: ids.proxy },
    ],
    processes: 4,
    contextSwitches: 10,
    sockets: 2,
  });

  host.end(103);
  host.remove(LAYOUT_2(ids.proxy));
  host.cgroup(LAYOUT_2(late.id), [{ pid: 150 }]);
  expect((await targets.look(found)).containers).toEqual([
    { name: 'app', id: ids.app },
    { name: 'late', id: late.id },
  ]);
  host.remove(`/kubepods/burstable/pod${UID}`);
  expect(await targets.look(found)).toMatchObject({ containers: [], processes: 0 });
});

test('300 containers on a node are all listed and each is found', async () => {
  using host = createFakeHost();
  const uid = (index: number) => `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`;
  const known = Array.from({ length: 300 }, (_, index) => {
    const id = idOf(`${index}f`.padStart(6, 'e'));
    host.cgroup(`/kubepods/burstable/pod${uid(index)}/${id}`, [{ pid: 10_000 + index }]);
    return container({ id, name: 'app', pod: { namespace: 'shop', name: `web-${index}`, uid: uid(index) } });
  });
  const targets = host.targets({ runtimes: [knows('containerd', () => known)] });
  expect(await list(targets, { limit: 200 })).toMatchObject({ total: 300, targets: { length: 200 } });
  const found = await targets.resolve('shop/web-299', signal);
  expect(found.scope?.groups).toEqual([{ id: idAt(host, `/kubepods/burstable/pod${uid(299)}`), level: 3 }]);
});
