import { KerntapError } from '../errors.ts';
import { nearest } from '../program/nearest.ts';
import { podName, workloadName } from './names.ts';
import { isOwnerKind, quoted } from './selector.ts';
import { isOver, type Pod, type Snapshot } from './snapshot.ts';

/** Above this many, candidates are counted and not named. */
const NAMED_CANDIDATES = 8;

export const listed = (names: readonly string[]): string => {
  const some = names.slice(0, NAMED_CANDIDATES).map((name) => (PLAIN.test(name) ? name : quoted(name)));
  return names.length > some.length ? `${some.join(', ')} and ${names.length - some.length} more` : some.join(', ');
};
const PLAIN = /^[\w./:=@-]{1,200}$/;

export function notFound(what: string, wanted: string, names: readonly string[], { silent }: Snapshot): KerntapError {
  const closest = nearest(wanted, new Set(names));
  const but = silent.length > 0 ? ` (${silent.join(', ')})` : '';
  return new KerntapError(
    'target.not_found',
    closest.length > 0 ? `${what}${but}; the closest names are ${listed(closest)}.` : `${what}${but}.`,
  );
}

export function noWorkload(
  named: string,
  of: string,
  namespace: string,
  { snapshot, nodeName }: { readonly snapshot: Snapshot; readonly nodeName: string },
): KerntapError {
  const known = snapshot.pods
    .filter((pod) => pod.name !== '')
    .flatMap((pod) => (pod.owner && isOwnerKind(pod.owner.kind) ? [workloadName(pod.namespace, pod.owner)] : []));
  const blind =
    snapshot.pods.some(({ owner }) => owner === undefined) && snapshot.sources.includes('no Kubernetes API');
  const why = blind ? ' that is known here; without the Kubernetes API few owners and labels are' : '';
  return notFound(`No pod ${of} in ${quoted(namespace)} runs on the node ${nodeName}${why}`, named, known, snapshot);
}

export const ambiguous = (named: string, candidates: readonly string[]) =>
  new KerntapError('target.ambiguous', `${quoted(named)} may mean ${listed(candidates)}.`);

export const onlyInV1 = (what: string) =>
  new KerntapError('target.unsupported', `${what} has no cgroup of its own in the hierarchy of cgroup v2.`, {
    remedy: 'let its runtime use cgroup v2, as runc does from 1.0 also on hybrid hosts; pid:N finds one process of it',
  });

export const gone = (sentence: string) => new KerntapError('target.gone', sentence);

export function goneOf(pod: Pod): KerntapError {
  const name = podName(pod);
  const { facts } = pod;
  if (facts?.phase === 'Pending') {
    return new KerntapError('target.gone', `The pod ${name} has not started: none of its containers runs yet.`, {
      remedy: 'call again when it runs; list_targets shows its state',
    });
  }
  return gone(
    pod.containers.length > 0 && pod.containers.every(isOver)
      ? `All containers of the pod ${name} have finished.`
      : `The pod ${name} has no container that runs on this node.`,
  );
}
