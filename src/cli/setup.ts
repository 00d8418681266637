import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseCommandLine } from '../compose.ts';
import { KerntapError } from '../errors.ts';
import { CLIENTS, type ClientWay, clientSettings } from './client-settings.ts';
import type { Command } from './commands.ts';

export const setup: Command = {
  name: 'setup',
  usage: 'setup CLIENT [--stdio] [--write] [options]',
  summary: `print, or with --write write, what makes a client use kerntap: ${CLIENTS.join(', ')}`,
  async run(args, terminal) {
    const { config, own, positionals } = parseCommandLine(args, process.env, {
      stdio: { type: 'boolean' },
      write: { type: 'boolean' },
    });
    const [name, stray] = positionals;
    const client = CLIENTS.find((known) => known === name);
    if (client === undefined || stray !== undefined) {
      const wrong =
        name === undefined ? 'No client is named' : `There are no settings for ${JSON.stringify(stray ?? name)}`;
      throw new KerntapError('start.option', `${wrong}.`, { remedy: `name one of: ${CLIENTS.join(', ')}` });
    }
    const { host, port } = config.listen;
    const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}/mcp`;
    const way: ClientWay =
      own.stdio === undefined
        ? { kind: 'http', url, ...(config.tokenFile && { token: '' }) }
        : { kind: 'stdio', command: process.execPath, args: [resolve(process.argv[1] ?? ''), 'stdio'] };
    const settings = clientSettings(client, way, process.platform);
    if (own.write === undefined) {
      terminal.out(settings.text);
      for (const note of [...(settings.file ? [`It stands in ${settings.file}.`] : []), ...settings.notes])
        terminal.err(terminal.styleErr('dim', note));
      return 0;
    }
    const { file, mergeInto } = settings;
    if (!file || !mergeInto)
      throw new KerntapError('start.option', `${settings.title} keeps no settings file.`, {
        remedy: 'run the command that setup prints',
      });
    const path = pathOf(file);
    const before = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw new KerntapError('start.option', `${path} cannot be read: ${error.code}.`, {
        remedy: 'write the settings by hand',
      });
    });
    const after = mergeInto(before);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, after);
    terminal.out(`${before === after ? 'unchanged' : 'written'}: ${path}`);
    for (const note of settings.notes) terminal.err(terminal.styleErr('dim', note));
    return 0;
  },
};

const pathOf = (file: string): string =>
  resolve(
    file.replace(/^~(?=\/)/, homedir()).replace('%APPDATA%', process.env.APPDATA ?? join(homedir(), 'AppData/Roaming')),
  );
