import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { npmTool } from './npm-tool.ts';

const VERSION = '2.12.0';

export interface Inspection {
  /** 0, or 5 for an error of the tool. */
  readonly exitCode: number;
  /** What the Inspector printed as JSON. */
  readonly output: unknown;
}

export interface Inspector extends AsyncDisposable {
  /** One run of the CLI against `url`, such as `inspect(url, 'modern', '--method', 'tools/list')`. */
  inspect(url: string, era: 'modern' | 'legacy', ...args: readonly string[]): Promise<Inspection>;
}

/** The MCP Inspector's command line, a client of both eras that is not the SDK's. Brings it the first time. */
export async function createInspector(): Promise<Inspector> {
  const program = await npmTool('@modelcontextprotocol/inspector', VERSION, 'mcp-inspector');
  const home = await mkdtemp(join(tmpdir(), 'kerntap-inspector-'));
  const config = join(home, 'servers.json');

  return {
    async inspect(url, protocolEra, ...args) {
      await writeFile(
        config,
        JSON.stringify({ mcpServers: { kerntap: { type: 'streamable-http', url, protocolEra } } }),
      );
      const command = [program, '--cli', '--config', config, '--server', 'kerntap', '--format', 'json', ...args];
      const child = spawn(process.execPath, command, {
        env: { PATH: process.env.PATH, HOME: home, MCP_INSPECTOR_SECRET_STORE: 'memory' },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const exited = once(child, 'exit') as Promise<[number]>;
      const [printed, complaint, [exitCode]] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
      if (printed === '') throw new Error(`the Inspector ended with ${exitCode}: ${complaint}`);
      return { exitCode, output: JSON.parse(printed) };
    },
    [Symbol.asyncDispose]: () => rm(home, { recursive: true }),
  };
}
