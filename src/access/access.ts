import { KerntapError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Access, Action, Caller, Tier, TraceAction } from '../trace/ports.ts';
import { openTokenFile, type TokenEntry } from './token-file.ts';

export interface AccessOptions {
  /** Without it everybody who reaches the loopback listener is `local` and may do everything. */
  readonly tokenFile?: string | undefined;
  readonly log: Log;
  /** How often at most the token file is looked at for a change. */
  readonly recheckMs?: number;
}

/** Whoever is on this machine: he owns it already. */
export const LOCAL_CALLER: Caller = { name: 'local', source: 'local', tiers: ['pod', 'node'], namespaces: ['*'] };

/** Who may come in, and what he may do. Throws `start.option` for a token file that cannot be used. */
export async function createAccess({ tokenFile, log, recheckMs = 1000 }: AccessOptions): Promise<Access> {
  const tokens = tokenFile === undefined ? undefined : await openTokenFile(tokenFile, log, recheckMs);
  return {
    async identify(authorization) {
      if (!tokens) return LOCAL_CALLER;
      return callerOf(await tokens.find(bearerOf(authorization)));
    },
    async allow(caller, action) {
      review(caller, action);
    },
  };
}

function bearerOf(authorization: string | undefined): string {
  if (authorization === undefined) throw new KerntapError('access.unauthenticated', 'No token was sent.');
  const token = /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization)?.[1];
  if (token === undefined)
    throw new KerntapError('access.unauthenticated', 'The Authorization header is not "Bearer" and one token.');
  return token;
}

function callerOf(entry: TokenEntry | undefined): Caller {
  if (!entry) throw new KerntapError('access.unauthenticated', 'The token is not known here.');
  const { name, notAfterMs, tiers, namespaces } = entry;
  if (notAfterMs !== undefined && Date.now() >= notAfterMs) {
    const end = new Date(notAfterMs).toISOString();
    throw new KerntapError('access.unauthenticated', `The token of ${name} was good until ${end}.`);
  }
  return { name, source: 'token', tiers, namespaces };
}

/** Throws unless `caller` may do `action`. A caller of the node tier reads the whole node anyway, so also its runs. */
function review(caller: Caller, action: Action): void {
  switch (action.act) {
    case 'trace':
      reviewTrace(caller, action);
      break;
    case 'metrics':
      if (!caller.tiers.includes('node')) throw lacksTier(caller, 'node', 'to read /metrics');
      break;
    case 'read':
    case 'change': {
      const { owner, id } = action.run;
      // The words of an unknown id: nobody learns that the run of another exists.
      if (owner !== caller.name && !caller.tiers.includes('node'))
        throw new KerntapError('run.unknown', `There is no run ${JSON.stringify(id)}.`);
    }
  }
}

/** Node rights reach everywhere; with pod rights the namespaces of the token decide. */
function reviewTrace(caller: Caller, { tier, namespace, because }: TraceAction): void {
  const { name, tiers, namespaces } = caller;
  if (tiers.includes('node')) return;
  if (tier === 'node') throw lacksTier(caller, tier, because ? `for ${because.what}` : 'to trace the node', because);
  if (!tiers.includes('pod')) throw lacksTier(caller, tier, 'to trace a pod');
  if (namespaces.includes('*') || (namespace !== undefined && namespaces.includes(namespace))) return;
  const what = namespace === undefined ? 'what is in no namespace' : `the namespace ${namespace}`;
  throw new KerntapError('access.denied', `${name} may not trace ${what}.`, {
    remedy: `ask the owner of the token file to add ${JSON.stringify(namespace ?? '*')} to the namespaces of ${name}`,
  });
}

function lacksTier(caller: Caller, tier: Tier, purpose: string, because?: TraceAction['because']): KerntapError {
  const { name, tiers } = caller;
  const has = tiers.length === 0 ? 'no tier' : `the tier ${tiers.join(', ')}`;
  const ask = `ask the owner of the token file to add "${tier}" to the tiers of ${name}`;
  return new KerntapError('access.denied', `${name} has ${has} and needs the tier ${tier} ${purpose}.`, {
    remedy: because ? `${because.remedy}, or ${ask}` : ask,
  });
}
