import { rm } from 'node:fs/promises';
import { Client as ClientV2 } from '@modelcontextprotocol/client';
import { StdioClientTransport as TransportV2 } from '@modelcontextprotocol/client/stdio';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kerntap, MAIN, nothingLeftOf } from '../cli/kerntap.ts';
import { rememberPrograms } from '../helpers/bpf-programs.ts';
import { canTrace } from '../helpers/machine.ts';
import { startServer, temporaryFolder } from '../helpers/server.ts';

let dataDir = '';
beforeAll(async () => {
  dataDir = await temporaryFolder();
});
afterAll(() => rm(dataDir, { recursive: true }));

interface StdioClient {
  readonly pid: number;
  readonly protocol: string | undefined;
  tools(): Promise<readonly string[]>;
  call(name: string, args: Record<string, unknown>): Promise<string>;
  close(): Promise<void>;
}

const info = { name: 'kerntap-test', version: '0' };
const server = () => ({
  command: process.execPath,
  args: [MAIN, 'stdio', '--data-dir', dataDir],
  stderr: 'ignore' as const,
});
const textOf = (result: unknown): string =>
  (result as { content: readonly { text?: string }[] }).content.map(({ text }) => text).join('\n');

async function connectV2(mode: 'auto' | 'legacy'): Promise<StdioClient> {
  const client = new ClientV2(info, { versionNegotiation: { mode } });
  const transport = new TransportV2(server());
  await client.connect(transport);
  return {
    pid: transport.pid ?? Number.NaN,
    protocol: client.getNegotiatedProtocolVersion(),
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args) => textOf(await client.callTool({ name, arguments: args })),
    close: () => client.close(),
  };
}

async function connectV1(): Promise<StdioClient> {
  const client = new ClientV1(info);
  const transport = new TransportV1(server());
  await client.connect(transport as Transport); // its types are older than exactOptionalPropertyTypes
  return {
    pid: transport.pid ?? Number.NaN,
    protocol: '2025-11-25',
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args) => textOf(await client.callTool({ name, arguments: args })),
    close: () => client.close(),
  };
}

describe.skipIf(!canTrace)('kerntap stdio [needs root and BPF]', () => {
  test.each([
    ['SDK v2 client, 2026-07-28', '2026-07-28', () => connectV2('auto')],
    ['SDK v2 client, 2025-11-25', '2025-11-25', () => connectV2('legacy')],
    ['SDK v1 client', '2025-11-25', connectV1],
  ] as const)('serves a %s, ends when its input does, and leaves nothing', async (_name, protocol, connect) => {
    const programs = rememberPrograms();
    const client = await connect();
    expect(client.protocol).toBe(protocol);
    expect(await client.tools()).toContain('exec_program');
    const answer = await client.call('exec_program', { program: 'begin { @x = 42; }' });
    expect(answer).toMatch(/@x: 1 of 1 row\n +value\n +42/);
    await client.close();
    await nothingLeftOf(client.pid);
    expect(await programs.leftOver([client.pid])).toEqual([]);
  });

  test('a run that its client leaves behind is stopped and kept', async () => {
    const client = await connectV2('auto');
    const started = await client.call('exec_program', { program: 'interval:ms:10 { @ticks = count(); }', timeout: 60 });
    const id = /run_id="([^"]+)"/.exec(started)?.[1];
    expect(started).toContain('running');
    await client.close();
    await nothingLeftOf(client.pid);

    await using later = await startServer({ dataDir });
    const run = await (await fetch(`${later.url}/v1/runs/${id}`)).json();
    expect(run).toMatchObject({ state: 'truncated', reason: 'drained', sections: [{ name: '@ticks' }] });
  });

  test('ends with 0 when there is no client at all, and writes nothing of its own to its output', async () => {
    const { code, stdout } = await kerntap(['stdio', '--data-dir', dataDir], { input: '' });
    expect(stdout).toBe('');
    expect(code).toBe(0);
  });

  test('answers a line that is no JSON and goes on', async () => {
    const ping = JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'ping' });
    const hello = JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: info },
    });
    const { code, stdout } = await kerntap(['stdio', '--data-dir', dataDir], { input: `{ no\n${hello}\n${ping}\n` });
    const answers = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { id: unknown });
    expect(answers.map(({ id }) => id)).toEqual(expect.arrayContaining([1, 7]));
    expect(code).toBe(0);
  });
});
