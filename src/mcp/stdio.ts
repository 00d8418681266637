import { serveStdio as serve } from '@modelcontextprotocol/server/stdio';
import type { Log } from '../log.ts';
import type { McpFactory } from './session-leg.ts';

/** Serves one client that started us, over standard input and output, in the era with which it opens. */
export function serveStdio(factory: McpFactory, log: Log): { readonly close: () => Promise<void> } {
  return serve(factory, { onerror: (error) => log.error('mcp.failed', error) });
}
