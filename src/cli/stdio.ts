import { composeStdio, loadConfig } from '../compose.ts';
import type { Command } from './commands.ts';
import { aborted, listenForStop } from './signals.ts';

export const stdio: Command = {
  name: 'stdio',
  usage: 'stdio [options]',
  summary: 'serve MCP over standard input and output, for a client that starts its servers itself',
  async run(args) {
    using signals = listenForStop();
    const leaving = new Promise<void>((resolve) => {
      process.stdin.once('end', resolve);
      process.stdin.once('close', resolve);
    });
    const server = await composeStdio(loadConfig(args, process.env), (line) => process.stderr.write(line));
    await Promise.race([leaving, aborted(signals.stop)]);
    await server.close(signals.hurry);
    process.stdin.destroy(); // an open pipe would keep the process alive
    return 0;
  },
};
