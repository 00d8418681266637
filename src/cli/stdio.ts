import { composeStdio } from '../compose.ts';
import type { Command } from './commands.ts';
import { logLines } from './log-lines.ts';
import { NODE_OPTIONS } from './node.ts';
import { aborted, listenForStop } from './signals.ts';

export const stdio: Command = {
  name: 'stdio',
  usage: '[options]',
  summary: 'serve MCP over standard input and output, for a client that starts its servers itself',
  notes: ['It ends when standard input does. kerntap setup CLIENT --stdio makes a client start it.'],
  options: [...NODE_OPTIONS, 'max-timeout', 'spare'],
  async run({ config }, terminal) {
    using signals = listenForStop();
    const leaving = new Promise<void>((resolve) => {
      process.stdin.once('end', resolve);
      process.stdin.once('close', resolve);
    });
    const server = await composeStdio(config, logLines(terminal));
    if (process.stdin.isTTY) terminal.err('waiting for an MCP client on standard input; Ctrl-C ends it');
    await Promise.race([leaving, aborted(signals.stop)]);
    await server.close(signals.hurry);
    process.stdin.destroy(); // an open pipe would keep the process alive
    return 0;
  },
};
