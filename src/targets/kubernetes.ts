import { setTimeout as wait } from 'node:timers/promises';
import * as z from 'zod';
import type { Log } from '../log.ts';
import type { PodFacts, PodSource } from '../trace/ports.ts';
import { ApiError, type ApiServer, createApi, type Query } from './kubernetes-api.ts';
import { parsePod } from './kubernetes-pod.ts';

export interface PodSourceOptions {
  readonly server: ApiServer;
  /** Whose pods are kept. */
  readonly node: string;
  readonly log: Log;
}

const LIST_MS = 30_000;
const GET_MS = 3000;
const PAGE = '500';
/** How long the API server keeps a watch open; a little less or more, so that not all nodes come back at once. */
const WATCH_S = 300;
/** A watch that ends sooner without a word is a failure. */
const SHORT_MS = 5000;
const TOO_MANY_REQUESTS = 429;
const [SHORTEST_WAIT_MS, LONGEST_WAIT_MS] = [500, 60_000];
const LONGEST_RETRY_AFTER_MS = 600_000;
/** What the API server allows in names, so that one cannot become another path. */
const NAME = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;

/**
 * Follows the pods of a node: a list, then a watch from where it ended, and the list again when the API server has forgotten
 * that point. While it is away, refuses or cuts the watch, the pods last seen stay and it is tried later and later.
 */
export function createPodSource({ server, node, log }: PodSourceOptions): PodSource {
  const api = createApi(server);
  const closed = new AbortController();
  const here = { fieldSelector: `spec.nodeName=${node}` };
  let pods: Map<string, PodFacts> | undefined;
  let asOfMs = 0;
  let unreadable = 0;

  function put(into: Map<string, PodFacts>, object: unknown): void {
    const pod = parsePod(object);
    if (pod !== undefined) into.set(`${pod.namespace}/${pod.name}`, pod);
    else if (unreadable++ === 0) log.warn('kubernetes.unreadable');
  }

  /** Resolves with the version at which the list was true. */
  async function list(): Promise<string> {
    const listed = new Map<string, PodFacts>();
    // The first time any state that the server has at hand will do; later nothing older than what was seen already.
    let query: Query = pods === undefined ? { resourceVersion: '0' } : {};
    for (;;) {
      const signal = AbortSignal.any([closed.signal, AbortSignal.timeout(LIST_MS)]);
      const page = Page.parse(await api.get('/api/v1/pods', { ...here, limit: PAGE, ...query }, signal));
      for (const item of page.items ?? []) put(listed, item);
      if (!page.metadata.continue) {
        pods = listed;
        asOfMs = Date.now();
        log.info('kubernetes.pods', { pods: pods.size, unreadable });
        return page.metadata.resourceVersion;
      }
      query = { continue: page.metadata.continue };
    }
  }

  /** Follows one watch until the server ends it. `seen` is told the version of everything that came. */
  async function watch(version: string, seen: (version: string) => void): Promise<void> {
    const timeoutSeconds = Math.round(WATCH_S * (1 + Math.random()));
    const signal = AbortSignal.any([closed.signal, AbortSignal.timeout((timeoutSeconds + 30) * 1000)]);
    const query = {
      ...here,
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: version,
      timeoutSeconds: String(timeoutSeconds),
    };
    for await (const line of api.lines('/api/v1/pods', query, signal)) {
      const { type, object } = WatchEvent.parse(line);
      if (type === 'ERROR') throw new ApiError(object.code ?? 500);
      const { namespace, name, resourceVersion } = object.metadata ?? {};
      if (type === 'DELETED') pods?.delete(`${namespace}/${name}`);
      else if (type !== 'BOOKMARK' && pods !== undefined) put(pods, object);
      asOfMs = Date.now();
      if (resourceVersion) seen(resourceVersion);
    }
  }

  async function follow(): Promise<void> {
    let version: string | undefined;
    let failures = 0;
    let logged = '';
    while (!closed.signal.aborted) {
      let pauseMs = 0;
      try {
        version ??= await list();
        const sinceMs = performance.now();
        await watch(version, (latest) => {
          version = latest;
          failures = 0;
          logged = '';
        });
        failures = performance.now() - sinceMs < SHORT_MS ? failures + 1 : 0;
      } catch (error) {
        if (closed.signal.aborted) return;
        if (error instanceof ApiError) pauseMs = Math.min(error.retryAfterMs, LONGEST_RETRY_AFTER_MS);
        if (!leavesVersion(error)) version = undefined;
        failures += 1;
        const why = wordFor(error);
        if (why !== logged) log.warn('kubernetes.away', { why });
        logged = why;
      }
      await wait(Math.max(pauseMs, pauseAfter(failures)), undefined, { signal: closed.signal, ref: false });
    }
  }

  follow().catch((error: unknown) => {
    if (!closed.signal.aborted) log.error('kubernetes.stopped', error);
  });

  return {
    pods: () => pods && { pods: [...pods.values()], asOfMs },
    async nodeOf(namespace, name, signal) {
      if (!NAME.test(namespace) || !NAME.test(name)) return undefined;
      try {
        const limit = AbortSignal.any([signal, closed.signal, AbortSignal.timeout(GET_MS)]);
        return parsePod(await api.get(`/api/v1/namespaces/${namespace}/pods/${name}`, {}, limit))?.node || undefined;
      } catch {
        signal.throwIfAborted();
        return undefined;
      }
    },
    close: () => closed.abort(),
  };
}

const Page = z.object({
  metadata: z.object({ resourceVersion: z.string(), continue: z.string().nullish() }),
  items: z.array(z.unknown()).nullish(),
});

const WatchEvent = z.object({
  type: z.enum(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']),
  object: z.looseObject({
    /** Of a Status, which comes with ERROR. */
    code: z.number().nullish(),
    metadata: z
      .looseObject({
        namespace: z.string().nullish(),
        name: z.string().nullish(),
        resourceVersion: z.string().nullish(),
      })
      .nullish(),
  }),
});

/** Twice as long each time, less up to a half by chance, so that a server that comes back is not asked by all nodes at once. */
function pauseAfter(failures: number): number {
  const longest = Math.min(SHORTEST_WAIT_MS * 2 ** failures, LONGEST_WAIT_MS);
  return longest * (1 - Math.random() / 2);
}

/** Whether a watch can go on from where it was: after a cut. After 410 and what was not understood only a list helps. */
const leavesVersion = (error: unknown): boolean =>
  error instanceof ApiError
    ? error.status === TOO_MANY_REQUESTS
    : error instanceof Error && 'code' in error && typeof error.code === 'string';

/** What stands in the log: never the text of an error that is not ours. */
function wordFor(error: unknown): string {
  if (error instanceof ApiError) return `status ${error.status}`;
  return error instanceof Error ? ('code' in error ? String(error.code) : error.name) : 'unknown';
}
