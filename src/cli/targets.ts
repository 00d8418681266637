import { localCall } from '../compose.ts';
import { renderTargets } from '../render/targets.ts';
import type { Command } from './commands.ts';
import { NODE_OPTIONS, nodeOf, SERVER_FLAG } from './node.ts';
import { listenForStop } from './signals.ts';

const ROWS = 200;

export const targets: Command = {
  name: 'targets',
  usage: '[WORDS] [options]',
  summary: 'list the pods, containers and services that can be traced',
  notes: ['WORDS narrow the list: parts of a name, an image, a label or an address.'],
  positionals: true,
  own: {
    namespace: { value: 'NAME', help: 'only what is in it' },
    ...SERVER_FLAG,
  },
  options: NODE_OPTIONS,
  async run(line, terminal) {
    using signals = listenForStop();
    await using at = await nodeOf(line, signals.hurry);
    const { namespace } = line.given;
    const query = line.positionals.join(' ');
    const filter = { ...(query !== '' && { query }), ...(namespace !== undefined && { namespace }), limit: ROWS };
    const page = await at.node.targets(filter, localCall(signals.stop));
    terminal.out(renderTargets(page, filter, Infinity, Date.now()));
    return page.targets.length > 0 ? 0 : 1;
  },
};
