import type { Container } from '../trace/ports.ts';
import { isContainerText } from './selector.ts';
import type { Pod } from './snapshot.ts';

/** `shop/deployment:web`. */
export const workloadName = (namespace: string, { kind, name }: { readonly kind: string; readonly name: string }) =>
  `${namespace}/${kind.toLowerCase()}:${name}`;

/** `shop/web-0`; a pod whose name nobody knows is called by its uid. */
export const podName = ({ namespace, name, uid }: Pick<Pod, 'namespace' | 'name' | 'uid'>): string =>
  name === '' ? `pod ${uid}` : `${namespace}/${name}`;

/** What a caller passes for a pod. One without a known name goes by its uid. */
export const podSelector = (pod: Pod): string => (pod.name === '' ? uidSelector(pod) : podName(pod));

export function containerSelector(container: Container, pod: Pod | undefined): string {
  if (pod !== undefined && pod.name !== '') return `${podName(pod)}/${container.name}`;
  return `container:${pod === undefined && isContainerText(container.name) ? container.name : container.id.slice(0, 16)}`;
}

/** What tells pods of one name apart. */
export const uidSelector = ({ uid }: Pod) => `pod:${uid}`;
