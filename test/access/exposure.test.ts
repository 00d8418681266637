import { expect, it } from 'vitest';
import { checkExposure } from '../../src/access/exposure.ts';

const loopback = [
  '127.0.0.1',
  '127.9.9.9',
  '::1',
  '0:0:0:0:0:0:0:1',
  '::ffff:127.0.0.1',
  'localhost',
  '/run/kerntap.sock',
];
const beyond = ['0.0.0.0', '::', '10.0.0.5', 'fe80::1', '::ffff:10.0.0.5', 'node-7', 'localhost.example.com', ''];

const facts = { listenHost: '127.0.0.1', tokenFile: undefined, tlsTerminatedByProxy: false, inKubernetes: false };
const token = { tokenFile: '/etc/kerntap/tokens' };
const proxy = { tlsTerminatedByProxy: true };
const pod = { inKubernetes: true };

it.each(loopback)('starts on %s, which only this machine reaches', (listenHost) => {
  expect(() => checkExposure({ ...facts, listenHost })).not.toThrow();
});

it.each(beyond)('does not start on %j without a credential and TLS, and names both flags', (listenHost) => {
  expect(() => checkExposure({ ...facts, listenHost })).toThrow(
    expect.objectContaining({
      code: 'start.exposed',
      remedy: 'start with --token-file FILE and --tls-terminated-by-proxy, or listen on 127.0.0.1',
    }),
  );
});

it.each([
  [
    'beyond loopback with a token file but no TLS',
    { listenHost: '0.0.0.0', ...token },
    '--tls-terminated-by-proxy',
    '--token-file',
  ],
  [
    'beyond loopback with TLS but no credential',
    { listenHost: '0.0.0.0', ...proxy },
    '--token-file',
    '--tls-terminated',
  ],
  ['in a pod without a credential, also on loopback', pod, '--token-file', '--tls-terminated'],
])('does not start %s, and names what is missing', (_what, part, missing, present) => {
  const remedy = remedyOf(() => checkExposure({ ...facts, ...part }));
  expect(remedy).toContain(missing);
  expect(remedy).not.toContain(present);
});

it.each([
  ['beyond loopback with both', { listenHost: '0.0.0.0', ...token, ...proxy }],
  ['in a pod on loopback with a token file', { ...pod, ...token }],
  ['in a pod beyond loopback with both', { listenHost: '::', ...pod, ...token, ...proxy }],
])('starts %s', (_what, part) => {
  expect(() => checkExposure({ ...facts, ...part })).not.toThrow();
});

function remedyOf(act: () => void): string {
  try {
    act();
  } catch (error) {
    return (error as { remedy: string }).remedy;
  }
  throw new Error('it started');
}
