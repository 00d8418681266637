import type { HttpBindings } from '@hono/node-server';
import type { MiddlewareHandler } from 'hono';
import type { Caller } from '../trace/ports.ts';

/** What the steps of a request hand on to its route. */
export interface AppEnv {
  Bindings: Partial<HttpBindings>;
  Variables: {
    /** Names the request in the log and in the answer to an error that we did not foresee. */
    requestId: string;
    caller: Caller;
    /** The JSON of a POST, PUT or PATCH; undefined where there is none. */
    body: unknown;
  };
}

export type Step = MiddlewareHandler<AppEnv>;
