import { VERSION } from '../compose.ts';
import type { Command } from './commands.ts';

export const version: Command = {
  name: 'version',
  usage: '',
  summary: 'print the version',
  options: [],
  async run(_line, terminal) {
    terminal.out(VERSION);
    return 0;
  },
};
