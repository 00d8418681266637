import { randomBytes } from 'node:crypto';
import { type Context, type Env, Hono, type MiddlewareHandler } from 'hono';
import type { Log } from '../log.ts';
import type { McpEndpoint } from '../mcp/endpoint.ts';
import type { Access } from '../trace/ports.ts';
import { answerError } from './answers.ts';
import { type BudgetOptions, createBudget } from './budget.ts';
import { identifyCaller, limitCalls } from './callers.ts';
import type { AppEnv, Step } from './context.ts';
import { checkBodyHeaders, checkHost, checkOrigin, checkRoute, cutUnreadBody, readBody } from './guards.ts';

export interface AppOptions<V1 extends Env = AppEnv, Health extends Env = AppEnv, Metrics extends Env = AppEnv> {
  readonly endpoint: Pick<McpEndpoint, 'handle'>;
  /** Its routes carry their whole path. */
  readonly v1?: Hono<V1>;
  /** Served as they are; absent where they have a listener of their own. */
  readonly health?: Hono<Health>;
  readonly metrics?: Hono<Metrics>;
  /** Counts what was answered, refusals too. */
  readonly countRequests?: MiddlewareHandler;
  readonly access: Access;
  /** `bearer`: callers need a token, and clients are told so. */
  readonly authentication: 'none' | 'bearer';
  /** Host names beside those of the loopback, and of web pages that may call. */
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
  /** True when callers reach us by https, through a proxy. */
  readonly tlsTerminatedByProxy?: boolean;
  readonly log: Log;
  readonly budgets?: { readonly unknownTokens?: BudgetOptions; readonly calls?: BudgetOptions };
}

const METADATA_PATH = '/.well-known/oauth-protected-resource/mcp';

/** The whole HTTP surface. What is refused is refused in this order, and nothing of a body is read before step 6. */
export function createApp<V1 extends Env, Health extends Env, Metrics extends Env>(
  options: AppOptions<V1, Health, Metrics>,
): Hono<AppEnv> {
  const { endpoint, access, log, budgets } = options;
  const unknownTokens = createBudget(budgets?.unknownTokens ?? { perSecond: 5, burst: 5 });
  const calls = createBudget(budgets?.calls ?? { perSecond: 5, burst: 50 });
  const baseOf = (c: Context<AppEnv>) =>
    `${options.tlsTerminatedByProxy ? 'https' : 'http'}://${c.req.header('host') ?? ''}`;

  const app = new Hono<AppEnv>();
  app.onError(answerError(log, (c) => challengeOf(c, `${baseOf(c)}${METADATA_PATH}`)));

  if (options.countRequests) app.use(options.countRequests);
  app.use(nameRequest);
  app.use(cutUnreadBody);
  app.use(checkHost(options.allowedHosts)); //                 1  403
  app.use(checkOrigin(options.allowedOrigins)); //             2  403
  app.use(checkRoute(app)); //                                 3  404, 405
  app.use(checkBodyHeaders); //                                   415, 413
  if (options.health) app.route('/', options.health);
  if (options.authentication === 'bearer') app.get(METADATA_PATH, (c) => c.json(metadataOf(baseOf(c))));
  app.use(identifyCaller(access, unknownTokens)); //           4  429, 5  401
  app.use(readBody); //                                        6  413, 400
  app.use(limitCalls(calls, callsIn)); //                      7  429
  app.on(['POST', 'GET', 'DELETE'], '/mcp', (c) => endpoint.handle(c.req.raw, c.get('body'), c.get('caller'))); // 8, 9
  if (options.v1) app.route('/', options.v1);
  if (options.metrics) {
    app.use('/metrics', async (c, next) => {
      await access.allow(c.get('caller'), { act: 'metrics' });
      await next();
    });
    app.route('/', options.metrics);
  }
  return app;
}

const nameRequest: Step = (c, next) => {
  c.set('requestId', randomBytes(4).toString('hex'));
  return next();
};

/** How many calls a request is: each request of /v1 is one, an MCP batch as many as it holds. */
function callsIn(path: string, body: unknown): number {
  if (path.startsWith('/v1/')) return 1;
  const messages: readonly unknown[] = Array.isArray(body) ? body : [body];
  return messages.filter(isToolCall).length;
}

const isToolCall = (message: unknown): boolean =>
  typeof message === 'object' && message !== null && 'method' in message && message.method === 'tools/call';

/** RFC 6750: what was wrong with a token is told only to who sent one. RFC 9728: where to read what is wanted. */
function challengeOf(c: Context<AppEnv>, metadata: string): string {
  const wrong =
    c.req.header('authorization') === undefined
      ? ''
      : 'error="invalid_token", error_description="The token is not accepted", ';
  return `Bearer ${wrong}scope="trace", resource_metadata="${metadata}"`;
}

const metadataOf = (base: string) => ({
  resource: `${base}/mcp`,
  resource_name: 'kerntap',
  bearer_methods_supported: ['header'],
  scopes_supported: ['trace'],
});
