import { expect, test } from 'vitest';
import { parsePod } from '../../src/targets/kubernetes-pod.ts';

const metadata = { namespace: 'shop', name: 'web-5d4f8c7b9-x2x1z', uid: 'u1' };
const minimal = { metadata, spec: { nodeName: 'n1' }, status: {} };

test('a pod with all its parts is read: owner, addresses, and containers of all three lists', () => {
  const facts = parsePod({
    metadata: {
      ...metadata,
      labels: { app: 'web', 'pod-template-hash': '5d4f8c7b9' },
      ownerReferences: [
        { kind: 'ConfigMap', name: 'other' },
        { kind: 'ReplicaSet', name: 'web-5d4f8c7b9', controller: true },
      ],
    },
    spec: {
      nodeName: 'n1',
      hostNetwork: true,
      containers: [
        { name: 'main', resources: { requests: { cpu: '50m' }, limits: { memory: '64Mi' } } },
        { name: 'new', resources: {} },
      ],
      initContainers: [{ name: 'prepare' }],
      ephemeralContainers: [{ name: 'debugger' }],
    },
    status: {
      phase: 'Running',
      podIP: '10.0.0.5',
      podIPs: [{ ip: '10.0.0.5' }, { ip: 'fd00::5' }],
      containerStatuses: [
        {
          name: 'main',
          containerID: 'containerd://c1',
          restartCount: 3,
          state: { waiting: { reason: 'CrashLoopBackOff' } },
          lastState: { terminated: { reason: 'OOMKilled', exitCode: 137 } },
        },
        { name: 'new', containerID: '', restartCount: 0, state: { waiting: {} }, lastState: {} },
      ],
      initContainerStatuses: [
        { name: 'prepare', containerID: 'cri-o://c0', state: { terminated: { reason: 'Completed', exitCode: 0 } } },
      ],
      ephemeralContainerStatuses: [{ name: 'debugger', containerID: 'docker://c2', state: { running: {} } }],
    },
  });
  const none = { requests: {}, limits: {} };
  expect(facts).toEqual({
    ...metadata,
    node: 'n1',
    labels: { app: 'web', 'pod-template-hash': '5d4f8c7b9' },
    owner: { kind: 'Deployment', name: 'web' },
    phase: 'Running',
    hostNetwork: true,
    podIps: ['10.0.0.5', 'fd00::5'],
    containers: [
      {
        name: 'main',
        id: 'c1',
        restarts: 3,
        state: 'CrashLoopBackOff',
        lastState: 'OOMKilled (137)',
        requests: { cpu: '50m' },
        limits: { memory: '64Mi' },
      },
      { name: 'new', restarts: 0, state: 'Waiting', ...none },
      { name: 'prepare', id: 'c0', restarts: 0, state: 'Completed', lastState: 'Completed (0)', ...none },
      { name: 'debugger', id: 'c2', restarts: 0, state: 'Running', ...none },
    ],
  });
});

test.each([
  ['StatefulSet', 'db', { 'pod-template-hash': 'db' }, { kind: 'StatefulSet', name: 'db' }],
  ['ReplicaSet', 'web-abc', { 'pod-template-hash': 'abc' }, { kind: 'Deployment', name: 'web' }],
  ['ReplicaSet', 'web-abc', { 'pod-template-hash': 'xyz' }, { kind: 'ReplicaSet', name: 'web-abc' }],
  ['ReplicaSet', 'web-abc', {}, { kind: 'ReplicaSet', name: 'web-abc' }],
  ['Node', 'n1', {}, { kind: 'Node', name: 'n1' }],
])('a pod of the %s %s with the labels %j is owned by %j', (kind, name, labels, owner) => {
  const own = { ...metadata, labels, ownerReferences: [{ kind, name, controller: true }] };
  expect(parsePod({ ...minimal, metadata: own })?.owner).toEqual(owner);
});

test('what is empty may be absent or null', () => {
  const expected = {
    ...metadata,
    node: 'n1',
    labels: {},
    phase: 'Unknown',
    hostNetwork: false,
    podIps: [],
    containers: [],
  };
  expect(parsePod(minimal)).toEqual(expected);
  const nulls = { phase: null, podIPs: null, containerStatuses: null };
  expect(parsePod({ ...minimal, metadata: { ...metadata, labels: null }, status: nulls })).toEqual(expected);
});

test.each([null, 'pod', {}, { metadata: {} }, { ...minimal, metadata: { ...metadata, name: 5 } }])(
  '%j is no pod',
  (value) => {
    expect(parsePod(value)).toBeUndefined();
  },
);
