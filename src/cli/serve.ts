import { composeServer } from '../compose.ts';
import { OPTION_NAMES } from '../config.ts';
import { renderAbilities, renderBanner } from './banner.ts';
import type { Command } from './commands.ts';
import { logLines } from './log-lines.ts';
import { aborted, listenForStop } from './signals.ts';

export const serve: Command = {
  name: 'serve',
  usage: '[options]',
  summary: 'serve MCP and an HTTP API until Ctrl-C',
  notes: ['Ctrl-C stops the traces that run and keeps what they have.'],
  options: OPTION_NAMES,
  async run({ config }, terminal) {
    using signals = listenForStop();
    const server = await composeServer(config, logLines(terminal));
    terminal.out(renderBanner(terminal, server, config.tokenFile));
    server.abilities().then(
      (facts) => signals.stop.aborted || terminal.out(renderAbilities(terminal, facts, server.tracefs)),
      (error: unknown) => signals.stop.aborted || server.log.error('facts.failed', error),
    );

    await aborted(signals.stop);
    const { running } = server.node;
    const traces = running === 1 ? 'a running trace' : `${running} running traces`;
    if (running > 0) terminal.err(`stopping ${traces} and keeping what there is; Ctrl-C again does not wait for it`);
    await server.close(signals.hurry);
    terminal.err('stopped');
    return 0;
  },
};
