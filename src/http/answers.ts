import type { Context, ErrorHandler } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { ofError } from '../cluster/wire.ts';
import { ERRORS, KerntapError } from '../errors.ts';
import type { Log } from '../log.ts';
import { PARSE_ERROR, rpcErrorBody, rpcIdOf, SERVER_ERROR } from '../mcp/rpc-error.ts';
import type { AppEnv } from './context.ts';

/** Answers an error in the form of the path that it happened on; one that is not ours only by the request's id. */
export function answerError(log: Log, challenge: (c: Context<AppEnv>) => string): ErrorHandler<AppEnv> {
  return (thrown, c) => {
    const error = thrown instanceof KerntapError ? thrown : unforeseen(c.get('requestId'));
    const { status } = ERRORS[error.code];
    if (status === 500) log.error('http.failed', thrown, { requestId: c.get('requestId') });
    if (error.retryAfterS !== undefined) c.header('Retry-After', String(error.retryAfterS));
    if (status === 401) c.header('WWW-Authenticate', challenge(c));
    return c.json(
      c.req.path === '/mcp' ? rpcOf(error, c.get('body')) : ofError(error),
      status satisfies ContentfulStatusCode,
    );
  };
}

const unforeseen = (requestId: string) =>
  new KerntapError('internal', `Something unforeseen happened in request ${requestId}.`);

const rpcOf = ({ code, remedy, text }: KerntapError, body: unknown) =>
  rpcErrorBody(
    { code: code === 'request.malformed' ? PARSE_ERROR : SERVER_ERROR, message: text, data: { code, remedy } },
    rpcIdOf(body),
  );
