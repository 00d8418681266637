import { VERSION } from '../compose.ts';
import type { Command } from './commands.ts';

export const version: Command = {
  name: 'version',
  usage: 'version',
  summary: 'print the version',
  async run(_args, terminal) {
    terminal.out(VERSION);
    return 0;
  },
};
