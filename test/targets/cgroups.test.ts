import { statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { cgroupIn, findCgroups, parseMountinfo } from '../../src/targets/cgroups.ts';
import { createCgroupfs, recognise } from '../../src/targets/runtimes/cgroupfs.ts';
import { createFakeHost, idOf, UID, UID_ } from './fake-host.ts';

const ID = idOf('abc123');
const HASH = '0123456789abcdef0123456789abcdef';
const signal = new AbortController().signal;

describe('the name of a cgroup', () => {
  test.each([
    [
      'systemd, burstable',
      `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID_}.slice/cri-containerd-${ID}.scope`,
      'containerd',
      UID,
      'burstable',
    ],
    [
      'systemd, besteffort, CRI-O',
      `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${UID_}.slice/crio-${ID}.scope`,
      'cri-o',
      UID,
      'besteffort',
    ],
    [
      'systemd, guaranteed, Docker',
      `/kubepods.slice/kubepods-pod${UID_}.slice/docker-${ID}.scope`,
      'docker',
      UID,
      'guaranteed',
    ],
    ['cgroupfs, burstable', `/kubepods/burstable/pod${UID}/${ID}`, 'cgroupfs', UID, 'burstable'],
    ['cgroupfs, guaranteed', `/kubepods/pod${UID}/${ID}`, 'cgroupfs', UID, 'guaranteed'],
    ['cgroupfs, CRI-O', `/kubepods/besteffort/pod${UID}/crio-${ID}`, 'cri-o', UID, 'besteffort'],
    [
      'drivers that disagree',
      `/kubepods-burstable-pod${UID_}.slice:cri-containerd:${ID}`,
      'containerd',
      UID,
      'burstable',
    ],
    ['a static pod', `/kubepods/burstable/pod${HASH}/${ID}`, 'cgroupfs', HASH, 'burstable'],
    [
      'a cluster in a container',
      `/docker/${idOf('d')}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${UID_}.slice/cri-containerd-${ID}.scope`,
      'containerd',
      UID,
      'guaranteed',
    ],
  ])('tells the container and its pod: %s', (_case, path, runtime, podUid, qos) => {
    expect(recognise(path)).toEqual({ runtime, id: ID, name: 'abc123000000', podUid, qos });
  });

  test.each([
    [`/docker/${ID}`, 'docker'],
    [`/system.slice/docker-${ID}.scope`, 'docker'],
    [`/libpod_parent/libpod-${ID}`, 'podman'],
    [`/machine.slice/libpod-${ID}.scope`, 'podman'],
    [`/k8s.io/${ID}`, 'containerd'],
    [`/system.slice:docker:${ID}`, 'docker'],
  ])('%s is a container of no pod', (path, runtime) => {
    expect(recognise(path)).toEqual({ runtime, id: ID, name: 'abc123000000' });
  });

  test('tells Kata, whose kernel is another one', () => {
    expect(recognise(`/kubepods/pod${UID}/kata_${ID}`)).toMatchObject({ id: ID, podUid: UID, handler: 'kata' });
  });

  test.each([
    '/system.slice/nginx.service',
    '/user.slice/user-0.slice/session-3.scope',
    '/system.slice/docker-compose.service',
  ])('%s is a unit of systemd', (path) => {
    expect(recognise(path)).toEqual({ runtime: 'systemd', id: path, name: path.split('/').at(-1) });
  });

  test.each([
    '/',
    '/system.slice',
    `/kubepods/burstable/pod${UID}`,
    `/kubepods.slice/kubepods-pod${UID_}.slice`,
    `/kubepods/pod${UID}/crio-conmon-${ID}.`,
    `/machine.slice/libpod-conmon-${ID}`,
    '/docker/buildkit',
    `/constructor/${ID}`,
    '/a b/ü',
  ])('%s is none of these', (path) => {
    expect(recognise(path)).toBeUndefined();
  });
});

describe('mounts', () => {
  test('with spaces, backslashes and optional fields are read', () => {
    const text =
      '31 23 0:28 / /mnt/a\\040b\\134c\\011ü rw shared:7 master:1 - cgroup2 none rw,nsdelegate\nrubbish\n32 1 0:1 /../.. /x rw - cgroup cgroup rw,memory\n';
    expect(parseMountinfo(text)).toEqual([
      { root: '/', point: '/mnt/a b\\c\tü', type: 'cgroup2', options: ['rw', 'nsdelegate'] },
      { root: '/../..', point: '/x', type: 'cgroup', options: ['rw', 'memory'] },
    ]);
  });

  test('the line of a controller is found, also for a cgroup that is being removed', () => {
    const lines = '4:memory:/m\n3:cpu,cpuacct:/c\n0::/a:b c (deleted)\n';
    expect(cgroupIn(lines, '')).toBe('/a:b c');
    expect(cgroupIn(lines, 'cpuacct')).toBe('/c');
    expect(cgroupIn(lines, 'blkio')).toBeUndefined();
  });
});

describe.each(['v2', 'hybrid', 'v1'] as const)('on a host with cgroup %s', (layout) => {
  test('a path is found with its inode, its level and what is nested in it', async () => {
    using host = createFakeHost({ layout, folder: 'a host\\ü' });
    const path = `/kubepods/pod${UID}`;
    host.cgroup(path);
    host.cgroup(`${path}/${ID}`, [{ pid: 41 }, { pid: 42 }]);
    host.cgroup(`${path}/${ID}/deep er ü`, [{ pid: 43 }]);
    const cgroups = await findCgroups({ hostRoot: host.root });

    expect(cgroups?.hierarchy).toBe(layout === 'v1' ? 'v1_memory' : 'v2');
    expect(cgroups?.groupOf(path)).toEqual({ id: statSync(host.folderOf(path), { bigint: true }).ino, level: 2 });
    expect(cgroups?.groupOf(`${path}/gone`)).toBeUndefined();
    expect(cgroups?.processes(path)).toEqual([41, 42, 43]);
    expect([...(cgroups?.paths() ?? [])]).toEqual(['/', '/kubepods', path, `${path}/${ID}`, `${path}/${ID}/deep er ü`]);
    expect(cgroups?.pathOf(43)).toBe(`${path}/${ID}/deep er ü`);
    expect(cgroups?.pathOf(99)).toBeUndefined();
  });
});

test('the io hierarchy is named only for a cgroup that it counts by itself', async () => {
  using host = createFakeHost();
  host.cgroup('/with', [], 'cpu io');
  host.cgroup('/without', [], 'cpu memory');
  const cgroups = await findCgroups({ hostRoot: host.root });
  expect(cgroups?.ioGroupOf('/with')).toEqual(cgroups?.groupOf('/with'));
  expect(cgroups?.ioGroupOf('/without')).toBeUndefined();

  using hybrid = createFakeHost({ layout: 'hybrid' });
  hybrid.cgroup('/a/b', [], '');
  const blkio = statSync(`${hybrid.root}/sys/fs/cgroup/blkio/a/b`, { bigint: true }).ino;
  expect((await findCgroups({ hostRoot: hybrid.root }))?.ioGroupOf('/a/b')).toEqual({ id: blkio, level: 2 });
});

test('a process that our pid namespace does not show counts as one', async () => {
  using host = createFakeHost();
  host.cgroup('/a', [{ pid: 7 }]);
  host.write('sys/fs/cgroup/a/cgroup.procs', '7\n0\n0\n');
  expect((await findCgroups({ hostRoot: host.root }))?.processes('/a')).toEqual([7, 0, 0]);
});

describe('in a cgroup namespace of our own', () => {
  const enter = (host: ReturnType<typeof createFakeHost>, root: string, own: string) => {
    host.write('proc/self/cgroup', `0::${own}\n`);
    host.write('proc/self/mountinfo', `30 23 0:30 ${root} ${host.root}/sys/fs/cgroup rw - cgroup2 cgroup2 rw\n`);
    host.relink('proc/self/ns/cgroup', 'cgroup:[4026532999]');
  };

  test('from which the host is mounted, paths are those of the host', async () => {
    using host = createFakeHost();
    host.cgroup('/kubepods/pod1/us/inner', [{ pid: process.pid }]);
    host.cgroup('/kubepods/pod2/other', [{ pid: 70 }]);
    host.cgroup('/system.slice', [{ pid: 71 }]);
    enter(host, '/../../..', '/inner');
    host.write('proc/70/cgroup', '0::/../../pod2/other\n');
    host.write('proc/71/cgroup', '0::/../../../system.slice\n');
    host.write('proc/72/cgroup', '0::/inner\n');
    const cgroups = await findCgroups({ hostRoot: host.root });
    expect([70, 71, 72].map((pid) => cgroups?.pathOf(pid))).toEqual([
      '/kubepods/pod2/other',
      '/system.slice',
      '/kubepods/pod1/us/inner',
    ]);
    expect(cgroups?.groupOf('/kubepods/pod2/other')?.level).toBe(3);
  });

  test('from which nothing else is mounted, levels start from what the kernel says of ourselves', async () => {
    using host = createFakeHost();
    host.cgroup('/kubepods/pod1/us');
    enter(host, '/', '/inner');
    expect(await findCgroups({ hostRoot: host.root })).toBeUndefined();
    const cgroups = await findCgroups({ hostRoot: host.root, ownLevel: async () => 5 });
    expect(cgroups?.groupOf('/kubepods/pod1/us')?.level).toBe(7);
    host.write('proc/71/cgroup', '0::/../../x\n');
    expect(cgroups?.pathOf(71)).toBeUndefined();
  });
});

test('containers are listed with their first process and its start; what holds the namespaces of a pod is marked', async () => {
  using host = createFakeHost();
  const pod = `/kubepods/burstable/pod${UID}`;
  host.cgroup(`${pod}/${idOf('aa')}`, [{ pid: 10, comm: 'pause' }]);
  host.cgroup(`${pod}/${idOf('bb')}`);
  host.cgroup(`${pod}/${idOf('bb')}/container`, [{ pid: 11, startTicks: 500 }, { pid: 12 }]);
  host.cgroup('/system.slice/nginx.service', [{ pid: 13 }]);
  host.cgroup('/system.slice/over.service');
  const listed = await createCgroupfs({ hostRoot: host.root }).list(signal);

  expect(listed).toEqual([
    expect.objectContaining({
      id: idOf('aa'),
      pid: 10,
      labels: { qos: 'burstable', 'io.cri-containerd.kind': 'sandbox' },
    }),
    {
      runtime: 'cgroupfs',
      id: idOf('bb'),
      name: 'bb0000000000',
      state: 'running',
      pod: { namespace: '', name: '', uid: UID },
      labels: { qos: 'burstable' },
      pid: 11,
      startTicks: 500n,
      startedMs: 1_700_000_005_000,
      cgroup: `${pod}/${idOf('bb')}`,
    },
    expect.objectContaining({ runtime: 'systemd', name: 'nginx.service', pid: 13 }),
  ]);
});

test('a host that shows no cgroups has no containers', async () => {
  using host = createFakeHost();
  host.write('proc/self/mountinfo', '');
  expect(await createCgroupfs({ hostRoot: host.root }).list(signal)).toEqual([]);
});
