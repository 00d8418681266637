import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KerntapError } from '../../src/errors.ts';
import { canonicalAddress, parseSelector } from '../../src/targets/selector.ts';

describe('a target', () => {
  test.each([
    ['node', { kind: 'node' }],
    ['node:worker-2.eu', { kind: 'node', name: 'worker-2.eu' }],
    ['shop/web-0', { kind: 'pod', namespace: 'shop', pod: 'web-0' }],
    ['shop/web-0/app', { kind: 'pod', namespace: 'shop', pod: 'web-0', container: 'app' }],
    ['shop/app=web', { kind: 'label', namespace: 'shop', key: 'app', value: 'web' }],
    [
      'shop/app.kubernetes.io/name=web',
      { kind: 'label', namespace: 'shop', key: 'app.kubernetes.io/name', value: 'web' },
    ],
    ['shop/spot=', { kind: 'label', namespace: 'shop', key: 'spot', value: '' }],
    ['shop/deployment:web', { kind: 'owner', namespace: 'shop', owner: 'Deployment', name: 'web' }],
    ['shop/DaemonSet:agent', { kind: 'owner', namespace: 'shop', owner: 'DaemonSet', name: 'agent' }],
    ['shop/statefulset:db', { kind: 'owner', namespace: 'shop', owner: 'StatefulSet', name: 'db' }],
    ['shop/job:nightly', { kind: 'owner', namespace: 'shop', owner: 'Job', name: 'nightly' }],
    ['container:3f2a9c', { kind: 'container', text: '3f2a9c' }],
    ['container:my_db.1', { kind: 'container', text: 'my_db.1' }],
    ['container:containerd://3f2a9c', { kind: 'container', text: '3f2a9c' }],
    ['container:/web', { kind: 'container', text: 'web' }],
    ['pid:1', { kind: 'pid', pid: 1 }],
    ['pid:4194304', { kind: 'pid', pid: 4_194_304 }],
    ['cgroup:/', { kind: 'cgroup', path: '/' }],
    ['cgroup:/system.slice/a b ü.scope/', { kind: 'cgroup', path: '/system.slice/a b ü.scope' }],
    ['systemd:nginx', { kind: 'systemd', unit: 'nginx' }],
    ['systemd:getty@tty1.service', { kind: 'systemd', unit: 'getty@tty1.service' }],
    ['ip:10.0.3.7', { kind: 'ip', address: '10.0.3.7' }],
    ['ip:[FD00:0:0::07]', { kind: 'ip', address: 'fd00::7' }],
    ['t12', { kind: 'row', id: 't12' }],
  ])('%s is understood', (text, selector) => {
    expect(parseSelector(text)).toEqual(selector);
  });

  test.each([
    ['', 'a pod is named with its namespace'],
    ['web-0', 'a pod is named with its namespace'],
    ['/web-0', 'its namespace is not one'],
    ['shop/', "its pod's name is not one"],
    ['shop/web 0', "its pod's name is not one"],
    ['shop/web-0/app/x', 'more parts'],
    ['shop/web-0/', "its container's name is not one"],
    ['../etc/passwd', 'its namespace is not one'],
    ['shop/replicaset:web', 'a workload is one of deployment, daemonset, statefulset, job'],
    ['shop/deployment:', 'its name is not one'],
    ['shop/a=b,c=d', 'the value of its label'],
    ['shop/=b', 'the name of its label'],
    ['pid:0', 'a pid is a number from 1 to 4194304'],
    ['pid:-1', 'a pid is a number'],
    ['pid:4194305', 'a pid is a number'],
    ['pid:1e3', 'a pid is a number'],
    ['pid:999999999999999999999', 'a pid is a number'],
    ['cgroup:system.slice', 'as in /proc/PID/cgroup'],
    ['cgroup:/a/../b', 'no empty parts'],
    ['cgroup:/a//b', 'no empty parts'],
    ['cgroup:/a\nb', 'as in /proc/PID/cgroup'],
    ['cgroup:/a\0b', 'as in /proc/PID/cgroup'],
    ['systemd:', 'a unit is named'],
    ['systemd:../x', 'a unit is named'],
    ['ip:10.0.3', 'an address is such as'],
    ['ip:fe80::1%eth0', 'an address is such as'],
    ['container:', 'by its id or its name'],
    ['container:a b', 'by its id or its name'],
    ['node:', 'a node is named'],
    ['uprobe:/bin/sh', '"uprobe:" is no kind of target'],
    ['x'.repeat(1_025), 'has 1025 characters; 1024 are allowed'],
  ])('%j is refused with what is wrong about it and the forms there are', (text, why) => {
    expect(() => parseSelector(text)).toThrow(
      expect.objectContaining({ code: 'target.invalid', message: expect.stringContaining(why) }),
    );
    expect(() => parseSelector(text)).toThrow(
      expect.objectContaining({ remedy: expect.stringContaining('ns/pod/container') }),
    );
  });

  test('of any text is read or refused as invalid, on one line that shows what cannot be seen', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.string().map((text) => `shop/${text}`),
        ),
        (text) => {
          try {
            parseSelector(text);
          } catch (error) {
            expect(error).toBeInstanceOf(KerntapError);
            expect(error).toMatchObject({ code: 'target.invalid' });
            expect(String(error)).not.toMatch(/[\n\u202e\u2028]/);
          }
        },
      ),
    );
  });
});

test.each([
  ['10.0.0.1', '10.0.0.1'],
  ['::ffff:10.0.0.1', '10.0.0.1'],
  ['fd00:0000::00A7', 'fd00::a7'],
  ['010.0.0.1', undefined],
  ['::1::', undefined],
])('the address %s is spelled %s', (text, spelled) => {
  expect(canonicalAddress(text)).toBe(spelled);
});
