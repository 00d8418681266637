import * as z from 'zod';
import type { PodFacts } from '../trace/ports.ts';

/** The API server leaves out what is empty, or says null. */
const maybe = <T extends z.ZodType>(schema: T) => schema.nullish().transform((value) => value ?? undefined);
const listOf = <T extends z.ZodType>(schema: T) => maybe(z.array(schema)).transform((list) => list ?? []);
const texts = maybe(z.record(z.string(), z.string())).transform((value) => value ?? {});

const State = maybe(
  z.object({
    waiting: maybe(z.object({ reason: maybe(z.string()) })),
    running: maybe(z.object({})),
    terminated: maybe(z.object({ reason: maybe(z.string()), exitCode: z.number() })),
  }),
);
type State = z.infer<typeof State>;

const Spec = z.object({ name: z.string(), resources: maybe(z.object({ requests: texts, limits: texts })) });
const Status = z.object({
  name: z.string(),
  containerID: maybe(z.string()),
  restartCount: maybe(z.number()),
  state: State,
  lastState: State,
});

/** What kerntap reads of a Pod of the API's v1. */
const Pod = z.object({
  metadata: z.object({
    namespace: z.string(),
    name: z.string(),
    uid: z.string(),
    resourceVersion: maybe(z.string()),
    labels: texts,
    ownerReferences: listOf(z.object({ kind: z.string(), name: z.string(), controller: maybe(z.boolean()) })),
  }),
  spec: z.object({
    nodeName: maybe(z.string()),
    hostNetwork: maybe(z.boolean()),
    containers: listOf(Spec),
    initContainers: listOf(Spec),
    ephemeralContainers: listOf(Spec),
  }),
  status: z.object({
    phase: maybe(z.string()),
    podIP: maybe(z.string()),
    podIPs: listOf(z.object({ ip: z.string() })),
    containerStatuses: listOf(Status),
    initContainerStatuses: listOf(Status),
    ephemeralContainerStatuses: listOf(Status),
  }),
});
type Pod = z.infer<typeof Pod>;

/** Reads a Pod as the API server sends it; undefined for anything else. */
export function parsePod(value: unknown): PodFacts | undefined {
  const { data } = Pod.safeParse(value);
  if (data === undefined) return undefined;
  const { metadata, spec, status } = data;
  const statuses = new Map(
    [status.containerStatuses, status.initContainerStatuses, status.ephemeralContainerStatuses]
      .flat()
      .map((each) => [each.name, each]),
  );
  const owner = ownerOf(metadata);
  const podIps = status.podIPs.map(({ ip }) => ip);
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    uid: metadata.uid,
    node: spec.nodeName ?? '',
    labels: metadata.labels,
    ...(owner && { owner }),
    phase: status.phase ?? 'Unknown',
    hostNetwork: spec.hostNetwork ?? false,
    podIps: podIps.length > 0 ? podIps : [status.podIP ?? []].flat(),
    containers: [spec.containers, spec.initContainers, spec.ephemeralContainers].flat().map(({ name, resources }) => {
      const own = statuses.get(name);
      const id = own?.containerID?.replace(/^[^:]*:\/\//, '');
      const lastState = endOf(own?.lastState) ?? endOf(own?.state);
      return {
        name,
        ...(id && { id }),
        restarts: own?.restartCount ?? 0,
        state: stateOf(own?.state),
        ...(lastState !== undefined && { lastState }),
        requests: resources?.requests ?? {},
        limits: resources?.limits ?? {},
      };
    }),
  };
}

/** The controller. A Deployment names each of its ReplicaSets by its own name and a hash, which its pods have as a label. */
function ownerOf({ ownerReferences, labels }: Pod['metadata']): PodFacts['owner'] {
  const owner = ownerReferences.find(({ controller }) => controller);
  if (owner === undefined) return undefined;
  const suffix = `-${labels['pod-template-hash']}`;
  return owner.kind === 'ReplicaSet' && owner.name.endsWith(suffix)
    ? { kind: 'Deployment', name: owner.name.slice(0, -suffix.length) }
    : { kind: owner.kind, name: owner.name };
}

/** In the words of kubectl. */
const stateOf = (state: State): string =>
  state?.running
    ? 'Running'
    : (state?.terminated?.reason ?? state?.waiting?.reason ?? (state?.terminated ? 'Terminated' : 'Waiting'));

function endOf(state: State): string | undefined {
  const end = state?.terminated;
  return end && `${end.reason ?? 'Terminated'} (${end.exitCode})`;
}
