import type { Measurement } from './figures.ts';
import { startServer } from './server.ts';

const CHARS_PER_TOKEN = 4;

/** What every conversation pays for before the first question. */
export const tokens: Measurement = {
  name: 'tokens',
  title: 'tools/list as a model reads it, four characters a token',
  async measure() {
    await using server = await startServer(['--spare', 'off']);
    const { tools } = await server.client.listTools();
    const instructions = server.client.getInstructions() ?? '';
    return [
      {
        what: `tools/list, ${tools.length} tools`,
        unit: 'tokens',
        kerntap: [JSON.stringify({ tools }).length / CHARS_PER_TOKEN],
        goal: { of: 'median', is: 'at most', value: 2_000 },
      },
      { what: '  instructions of the server', unit: 'tokens', kerntap: [instructions.length / CHARS_PER_TOKEN] },
    ];
  },
};
