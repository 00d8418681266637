import type { Context, Hono } from 'hono';
import { TrieRouter } from 'hono/router/trie-router';
import { KerntapError } from '../errors.ts';
import type { AppEnv, Step } from './context.ts';

const MAX_BODY_BYTES = 256 * 1024;
const MAX_JSON_DEPTH = 32;

const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]'];
const HOST = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?$/i;

/** Lets requests through that call the server by a known name, with any port: no other site's name can stand for it. */
export function checkHost(allowedHosts: readonly string[]): Step {
  const allowed = new Set([...LOOPBACK_NAMES, ...allowedHosts.map((name) => name.toLowerCase())]);
  return (c, next) => {
    const host = c.req.header('host') ?? '';
    const name = HOST.exec(host)?.[1]?.toLowerCase();
    if (name === undefined || !allowed.has(name))
      throw new KerntapError('access.host', `The host ${quote(host)} is not ours.`);
    return next();
  };
}

/** Lets requests through that come from no web page, or from a page of a host that is named. `null` is a page, too. */
export function checkOrigin(allowedOrigins: readonly string[]): Step {
  const allowed = new Set(allowedOrigins.map((name) => name.toLowerCase()));
  return (c, next) => {
    const origin = c.req.header('origin');
    if (origin === undefined || allowed.has(webHostOf(origin) ?? '')) return next();
    throw new KerntapError('access.origin', `The origin ${quote(origin)} may not call this server.`);
  };
}

function webHostOf(origin: string): string | undefined {
  const url = URL.parse(origin);
  return url?.protocol === 'http:' || url?.protocol === 'https:' ? url.hostname : undefined;
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** Lets requests through for which `app` has a route; asked for at the first request, when all routes are there. */
export function checkRoute(app: Hono<AppEnv>): Step {
  let router: TrieRouter<true> | undefined;
  const routes = () => {
    if (router !== undefined) return router;
    router = new TrieRouter<true>();
    for (const { method, path } of app.routes) if (METHODS.includes(method)) router.add(method, path, true);
    return router;
  };
  return (c, next) => {
    const { path, method } = c.req;
    const known = METHODS.filter((it) => routes().match(it, path)[0].length > 0);
    // GET and DELETE of /mcp belong to a session of the 2025 era; whoever has none is told what every client understands.
    const isSessionless = path === '/mcp' && c.req.header('mcp-session-id') === undefined;
    const allowed = isSessionless ? ['POST'] : known;
    if (known.length === 0) throw new KerntapError('request.not_found', `There is nothing at ${quote(path)}.`);
    if (allowed.includes(method === 'HEAD' ? 'GET' : method)) return next();
    c.header('Allow', allowed.join(', '));
    throw new KerntapError('request.method', `${quote(path)} does not take ${quote(method)}.`);
  };
}

const takesBody = (method: string) => method === 'POST' || method === 'PUT' || method === 'PATCH';

/** Lets bodies through that say they are JSON, plain and not too long: what any web page can send, no page may. */
export const checkBodyHeaders: Step = (c, next) => {
  const type = c.req.header('content-type') ?? '';
  const isBare = type === '' && c.req.header('transfer-encoding') === undefined && declaredBytes(c) === 0;
  if (!takesBody(c.req.method) || isBare) return next();
  if (type.split(';')[0]?.trim().toLowerCase() !== 'application/json') {
    throw new KerntapError('request.media_type', `The content type ${quote(type)} is not application/json.`);
  }
  const encoding = c.req.header('content-encoding');
  if (encoding !== undefined) {
    throw new KerntapError('request.media_type', `The content encoding ${quote(encoding)} is not taken.`);
  }
  if (declaredBytes(c) > MAX_BODY_BYTES) throw tooLong(`${declaredBytes(c)} bytes`);
  return next();
};

const declaredBytes = (c: Context<AppEnv>) => Number(c.req.header('content-length') ?? 0);

/** Reads the body, bounded while it comes in and in its depth; one that is empty stays undefined. */
export const readBody: Step = async (c, next) => {
  if (takesBody(c.req.method)) c.set('body', parseJson(await readText(c.req.raw)));
  await next();
};

async function readText(request: Request): Promise<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const reader = request.body?.getReader();
  if (reader === undefined) return '';
  let text = '';
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text + decoder.decode();
      bytes += value.byteLength;
      if (bytes > MAX_BODY_BYTES) throw tooLong(`more than ${MAX_BODY_BYTES} bytes`);
      text += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    if (error instanceof KerntapError) throw error;
    throw malformed(error instanceof TypeError ? 'is not valid UTF-8' : 'did not arrive', error);
  } finally {
    reader.releaseLock();
  }
}

function parseJson(text: string): unknown {
  if (text === '') return undefined;
  if (depthOf(text) > MAX_JSON_DEPTH) throw malformed(`is nested deeper than ${MAX_JSON_DEPTH} levels`);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw malformed('is not JSON', error);
  }
}

/**
 * Takes a little of what still comes in of a body that nobody wanted, since cutting its sender at once could cut the
 * answer, too. Left alone, Node would read all of it, as fast as it comes.
 */
export const cutUnreadBody: Step = async (c, next) => {
  await next();
  const incoming = c.env?.incoming;
  if (incoming?.complete !== false) return;
  let bytes = 0;
  incoming.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) incoming.socket.destroySoon();
  });
};

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** The deepest nesting of arrays and objects in JSON text, found without building any of them. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (inString && char === BACKSLASH) at++;
    else if (char === QUOTE) inString = !inString;
    else if (inString) continue;
    else if (char === 0x7b || char === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (char === 0x7d || char === 0x5d) depth--;
  }
  return deepest;
}

const malformed = (what: string, cause?: unknown) =>
  new KerntapError('request.malformed', `The body of the request ${what}.`, { cause });
const tooLong = (size: string) => new KerntapError('limit.body', `The body of the request is ${size} long.`);

/** Shows what a stranger sent: short, in quotes, without control characters. */
const quote = (text: string) => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
