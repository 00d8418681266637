import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createMcpHandler } from '@modelcontextprotocol/server';
import { expect, test } from 'vitest';
import { HINTS } from '../../src/mcp/tool.ts';
import { LONG_TOOLS, TOOLS } from '../../src/mcp/tools/index.ts';
import { connect, createFactory } from './connect.ts';
import { createFakeNode } from './fake-node.ts';

const FILE = join(import.meta.dirname, '../fixtures/surface.json');

async function surface() {
  await using server = await connect(createFakeNode().node);
  const { tools } = await server.client.listTools();
  return { instructions: server.client.getInstructions() ?? '', tools };
}

/** `tools/list` as the newest protocol answers it, in its very bytes. */
async function modernList(): Promise<string> {
  const handler = createMcpHandler(createFactory(createFakeNode().node).factory);
  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const request = new Request('http://localhost/mcp', {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/list',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta: meta } }),
  });
  return (await handler.fetch(request)).text();
}

test('names, descriptions and arguments are as committed; UPDATE_SURFACE=1 writes them anew', async () => {
  const now = await surface();
  if (process.env.UPDATE_SURFACE === '1') writeFileSync(FILE, `${JSON.stringify(now, null, 2)}\n`);
  expect(now).toEqual(JSON.parse(readFileSync(FILE, 'utf8')));
});

test('tools/list costs at most 2,000 tokens in both eras, and is the same bytes each time', async () => {
  const { tools, instructions } = await surface();
  expect(JSON.stringify({ tools }).length / 4).toBeLessThanOrEqual(2_000);
  const modern = await modernList();
  expect(modern).toContain('"list_probes"');
  expect(modern.length / 4).toBeLessThanOrEqual(2_000);
  expect(await modernList()).toBe(modern);
  expect(instructions.length).toBeLessThan(2_048);
  for (const { description = '' } of tools) expect(description.length).toBeLessThan(2_048);
});

test('every tool says its effect as hints, and nothing acts on the world outside', async () => {
  const { tools } = await surface();
  expect(tools.map(({ name, annotations }) => [name, annotations])).toEqual(
    TOOLS.map(({ name, effect }) => [name, HINTS[effect]]),
  );
  expect(tools.filter(({ annotations }) => annotations?.destructiveHint).map(({ name }) => name)).toEqual([
    'manage_runs',
  ]);
  expect(tools.every(({ annotations }) => annotations?.openWorldHint === false)).toBe(true);
});

test('the tools that wait for a run stream their answers', () => {
  expect([...LONG_TOOLS]).toEqual(['exec_program', 'get_result', 'manage_runs']);
});
