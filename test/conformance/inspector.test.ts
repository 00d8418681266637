import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startServer, type TestServer } from '../helpers/http.ts';
import { createInspector, type Inspector } from '../helpers/inspector.ts';
import { createWorkTools } from '../helpers/work-tools.ts';

let server: TestServer;
let inspector: Inspector;
beforeAll(async () => {
  inspector = await createInspector();
  server = await startServer(createWorkTools());
}, 300_000);
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await inspector?.[Symbol.asyncDispose]();
});

describe.each(['modern', 'legacy'] as const)('the MCP Inspector in the %s era', (era) => {
  it('lists the tools', async () => {
    const { exitCode, output } = await inspector.inspect(server.mcp, era, '--method', 'tools/list');
    expect(exitCode).toBe(0);
    expect(output).toMatchObject({ result: { tools: [{ name: 'add' }, { name: 'echo' }, {}, {}, {}] } });
  });

  it('calls a tool', async () => {
    const call = ['--method', 'tools/call', '--tool-name', 'add', '--tool-arg', 'a=1', '--tool-arg', 'b=2'];
    const { exitCode, output } = await inspector.inspect(server.mcp, era, ...call);
    expect(output).toMatchObject({ result: { content: [{ type: 'text', text: '3' }] } });
    expect(exitCode).toBe(0);
  });
});
