import { BlockList, isIP } from 'node:net';
import { KerntapError } from '../errors.ts';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** True when only processes of this machine reach `host`: loopback, or the path of a unix socket. */
export function isLoopback(host: string): boolean {
  const family = isIP(host);
  return family === 0 ? host === 'localhost' || host.startsWith('/') : LOOPBACK.check(host, `ipv${family as 4 | 6}`);
}

export interface Exposure {
  readonly listenHost: string;
  readonly tokenFile: string | undefined;
  readonly tlsTerminatedByProxy: boolean;
  readonly inKubernetes: boolean;
}

/** Refuses a listener that strangers would reach without a credential, or whose credentials they could read. Throws `start.exposed`. */
export function checkExposure({ listenHost, tokenFile, tlsTerminatedByProxy, inKubernetes }: Exposure): void {
  const beyond = !isLoopback(listenHost);
  const needsToken = tokenFile === undefined && (beyond || inKubernetes);
  const needsTls = beyond && !tlsTerminatedByProxy;
  if (!needsToken && !needsTls) return;
  const why = beyond
    ? `Beyond this machine, on ${listenHost},`
    : // A forwarded port lands on the pod's loopback, so that loopback does not prove who is calling.
      `In a pod, where forwarded ports end on ${listenHost},`;
  const flags = [...(needsToken ? ['--token-file FILE'] : []), ...(needsTls ? ['--tls-terminated-by-proxy'] : [])];
  const remedy = `start with ${flags.join(' and ')}${beyond ? ', or listen on 127.0.0.1' : ''}`;
  const what = needsToken ? 'everybody could trace without a credential' : 'tokens would be sent in clear text';
  throw new KerntapError('start.exposed', `${why} ${what}.`, { remedy });
}
