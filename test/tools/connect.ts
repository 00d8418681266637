import { Client, InMemoryTransport } from '@modelcontextprotocol/client';
import * as z from 'zod';
import { LOCAL_CALLER } from '../../src/access/access.ts';
import { createLog, type Log } from '../../src/log.ts';
import { createMcpFactory } from '../../src/mcp/server.ts';
import { BUILTINS } from '../../src/program/builtins.ts';
import type { NodeApi } from '../../src/trace/ports.ts';

const Result = z.object({
  content: z.array(z.object({ type: z.literal('text'), text: z.string() })),
  structuredContent: z.record(z.string(), z.unknown()).optional(),
  isError: z.boolean().default(false),
});
export type ToolResult = z.output<typeof Result> & { readonly text: string };

/** The factory of the product on `node`, and what it logs. */
export function createFactory(node: NodeApi) {
  const lines: string[] = [];
  const log: Log = createLog((line) => lines.push(line));
  return {
    factory: createMcpFactory({ node, helpers: BUILTINS, log, version: '0.1.0', localCaller: LOCAL_CALLER }),
    lines,
  };
}

/** A real client of the product's server on `node`, without a socket between them. */
export async function connect(node: NodeApi) {
  const { factory, lines } = createFactory(node);
  const [near, far] = InMemoryTransport.createLinkedPair();
  const server = factory({ era: 'legacy' });
  await server.connect(far);
  const client = new Client({ name: 'test', version: '0' });
  await client.connect(near);
  return {
    client,
    lines,
    async call(name: string, args: Record<string, unknown> = {}, signal?: AbortSignal): Promise<ToolResult> {
      const result = Result.parse(await client.callTool({ name, arguments: args }, signal ? { signal } : {}));
      return { ...result, text: result.content[0]?.text ?? '' };
    },
    async [Symbol.asyncDispose]() {
      await client.close();
    },
  };
}
