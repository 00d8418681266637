import { McpServer, type ServerNotifier } from '@modelcontextprotocol/server';
import { startServer, type TestServer } from '../helpers/http.ts';
import { addContentTools } from './fixtures/content.ts';
import { addPushTools } from './fixtures/push.ts';
import { addPrompts, addResources } from './fixtures/resources.ts';
import { addRoundTools, verifyState } from './fixtures/rounds.ts';
import { text } from './fixtures/texts.ts';

const NAMES = ['127.0.0.1', 'localhost'];

/**
 * What the public conformance suite calls by name, on the product's own app and endpoint. It differs from the product in
 * one thing: the suite wants the server's own origin to be let in, the product lets no page in.
 */
export async function startConformanceTarget(): Promise<TestServer> {
  let notify: ServerNotifier | undefined;
  const server = await startServer({
    factory: () => createFixtures(() => notify),
    longTools: new Set(['test_tool_with_progress']),
    allowedHosts: NAMES,
    allowedOrigins: NAMES,
  });
  notify = server.endpoint.notify;
  return server;
}

function createFixtures(notify: () => ServerNotifier | undefined): McpServer {
  const server = new McpServer(
    { name: 'kerntap-conformance', version: '0' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        logging: {},
        completions: {},
      },
      requestState: { verify: verifyState },
    },
  );
  addContentTools(server);
  addPushTools(server);
  addRoundTools(server);
  addResources(server);
  addPrompts(server);
  server.registerTool('test_trigger_tool_change', { description: 'Tells that tools changed' }, () => {
    notify()?.toolsChanged();
    return text('Told.');
  });
  server.registerTool('test_trigger_prompt_change', { description: 'Tells that prompts changed' }, () => {
    notify()?.promptsChanged();
    return text('Told.');
  });
  return server;
}

if (import.meta.main) {
  const { mcp } = await startConformanceTarget();
  process.stdout.write(`${mcp}\n`);
}
