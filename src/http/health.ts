import { type Env, Hono } from 'hono';
import { ofError } from '../cluster/wire.ts';
import { ERRORS, KerntapError } from '../errors.ts';
import type { SandboxFacts, StoreUsage } from '../trace/ports.ts';

/** What decides whether new runs can be taken. Every part is held in memory: a probe of the kubelet starts nothing. */
export interface Readiness {
  readonly draining: boolean;
  readonly store: StoreUsage;
  readonly sandbox: SandboxFacts;
}

/**
 * `/livez` (also `/healthz`) says that the process answers, `/readyz` whether it takes new runs: 200, or 503 while it
 * drains and when the store is full. A degraded sandbox is told and does not make it unready. No data of any run.
 */
export function createHealth(readiness: () => Readiness): Hono {
  return new Hono()
    .get('/livez', (c) => c.json({ live: true }))
    .get('/healthz', (c) => c.json({ live: true }))
    .get('/readyz', (c) => {
      const { draining, store, sandbox } = readiness();
      const storeFull = store.bytes >= store.maxBytes;
      const ready = !draining && !storeFull;
      return c.json({ ready, draining, store: storeFull ? 'full' : 'ok', sandbox }, ready ? 200 : 503);
    });
}

/** The whole app of `--health-listen`: GET of these paths and nothing else, for whoever reaches the address. */
export function createHealthListener<Health extends Env, Metrics extends Env>(
  health: Hono<Health>,
  metrics: Hono<Metrics>,
): Hono {
  const app = new Hono();
  app.use(async (c, next) => {
    if (c.req.method !== 'GET') throw new KerntapError('request.method', 'Only GET is served here.');
    await next();
  });
  app.route('/', health);
  app.route('/', metrics);
  app.notFound(() => {
    const remedy = 'the paths are /livez, /healthz, /readyz and /metrics';
    throw new KerntapError('request.not_found', 'There is nothing at this path.', { remedy });
  });
  app.onError((thrown, c) => {
    const error =
      thrown instanceof KerntapError ? thrown : new KerntapError('internal', 'Something unforeseen happened.');
    if (error.code === 'request.method') c.header('Allow', 'GET');
    return c.json(ofError(error), ERRORS[error.code].status);
  });
  return app;
}
