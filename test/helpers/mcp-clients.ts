import {
  type Transport as ClientTransport,
  Client as ClientV2,
  StreamableHTTPClientTransport as TransportV2,
} from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import * as z from 'zod';

const Result = z.object({
  content: z.array(z.looseObject({ type: z.string(), text: z.string().optional() })).default([]),
  structuredContent: z.unknown().optional(),
  isError: z.boolean().default(false),
});

/** What a tool answered; `text` is all its text blocks. */
export type ToolAnswer = z.output<typeof Result> & { readonly text: string };

export interface CallOptions {
  readonly onProgress?: (progress: { progress: number; total?: number; message?: string }) => void;
  /** Gives up after so long; 60 s as in the SDKs. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** One way to speak to an MCP server, whatever the client library and the era of the protocol. */
export interface McpClient extends AsyncDisposable {
  readonly era: 'modern' | 'legacy';
  tools(): Promise<readonly { readonly name: string; readonly description?: string | undefined }[]>;
  call(name: string, args?: Record<string, unknown>, options?: CallOptions): Promise<ToolAnswer>;
  close(): Promise<void>;
}

export interface ConnectOptions {
  readonly headers?: Record<string, string>;
}
export interface McpDriver {
  readonly name: string;
  readonly era: McpClient['era'];
  connect(url: string, options?: ConnectOptions): Promise<McpClient>;
}

/** The clients with which every promise to MCP clients is tested. */
export const mcpDrivers: readonly McpDriver[] = [
  { name: 'SDK v2 client, 2026-07-28', era: 'modern', connect: (url, options) => connectV2('auto', url, options) },
  { name: 'SDK v2 client, 2025-11-25', era: 'legacy', connect: (url, options) => connectV2('legacy', url, options) },
  { name: 'SDK v1 client', era: 'legacy', connect: connectV1 },
];
export const legacyDrivers = mcpDrivers.filter(({ era }) => era === 'legacy');
export const modernDrivers = mcpDrivers.filter(({ era }) => era === 'modern');

/** A client of the current era, for tests to which the client does not matter. */
export const connect = (url: string): Promise<McpClient> => connectV2('auto', url);

const info = { name: 'kerntap-test', version: '0' };

const connectV2 = (mode: 'auto' | 'legacy', url: string, { headers = {} }: ConnectOptions = {}): Promise<McpClient> =>
  connectOver(new TransportV2(new URL(url), { requestInit: { headers } }), mode);

/** A client of SDK v2 over any transport. */
export async function connectOver(transport: ClientTransport, mode: 'auto' | 'legacy' = 'auto'): Promise<McpClient> {
  const client = new ClientV2(info, { versionNegotiation: { mode } });
  await client.connect(transport);
  return clientOf({
    era: client.getProtocolEra() === 'modern' ? 'modern' : 'legacy',
    tools: async () => (await client.listTools()).tools,
    call: async (name, args = {}, options = {}) =>
      answerOf(await client.callTool({ name, arguments: args }, requestOptions(options))),
    close: () => client.close(),
  });
}

async function connectV1(url: string, { headers = {} }: ConnectOptions = {}): Promise<McpClient> {
  const client = new ClientV1(info);
  const transport = new TransportV1(new URL(url), { requestInit: { headers } });
  await client.connect(transport as Transport); // its types are older than exactOptionalPropertyTypes
  return clientOf({
    era: 'legacy',
    tools: async () => (await client.listTools()).tools,
    call: async (name, args = {}, options = {}) =>
      answerOf(await client.callTool({ name, arguments: args }, undefined, requestOptions(options))),
    async close() {
      await transport.terminateSession();
      await client.close();
    },
  });
}

const clientOf = (client: Omit<McpClient, typeof Symbol.asyncDispose>) =>
  ({ ...client, [Symbol.asyncDispose]: client.close }) as McpClient;

function answerOf(result: unknown): ToolAnswer {
  const answer = Result.parse(result);
  return { ...answer, text: answer.content.flatMap(({ text }) => text ?? []).join('\n') };
}

const requestOptions = ({ onProgress, timeoutMs, signal }: CallOptions) => ({
  ...(onProgress && { onprogress: onProgress as (progress: object) => void }),
  ...(timeoutMs !== undefined && { timeout: timeoutMs }),
  ...(signal && { signal }),
});
