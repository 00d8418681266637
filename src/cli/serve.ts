import { composeServer, loadConfig } from '../compose.ts';
import { renderAbilities, renderBanner } from './banner.ts';
import type { Command } from './commands.ts';
import { aborted, listenForStop } from './signals.ts';

export const serve: Command = {
  name: 'serve',
  usage: 'serve [options]',
  summary: 'serve MCP and the HTTP API until Ctrl-C, which stops running traces and keeps what they have',
  async run(args, terminal) {
    using signals = listenForStop();
    const config = loadConfig(args, process.env);
    const server = await composeServer(config, (line) => process.stderr.write(line));
    const token = config.tokenFile === undefined ? {} : { token: '' };
    terminal.out(renderBanner(terminal, server.urls, { kind: 'http', url: server.urls.mcp, ...token }));
    server.abilities().then(
      (facts) => terminal.out(renderAbilities(terminal, facts, server.tracefs)),
      (error: unknown) => server.log.error('facts.failed', error),
    );
    await aborted(signals.stop);
    const { running } = server.node;
    terminal.err(
      running > 0 ? `stopping ${running} running trace${running === 1 ? '' : 's'}, what they have is kept` : 'stopping',
    );
    await server.close(signals.hurry);
    return 0;
  },
};
