import { existsSync } from 'node:fs';
import { chown, mkdir, readFile, realpath, rename, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import type { CommandLine } from '../config.ts';
import { KerntapError } from '../errors.ts';
import { callerFolder } from './caller-folder.ts';
import { CLIENTS, type ClientWay, clientSettings, TOKEN_VARIABLE } from './client-settings.ts';
import type { Command } from './commands.ts';
import { stdio } from './stdio.ts';

export const setup: Command = {
  name: 'setup',
  usage: 'CLIENT [options]',
  summary: 'print or write the settings with which an MCP client uses kerntap',
  notes: [`CLIENT is one of ${CLIENTS.join(', ')}.`],
  positionals: true,
  own: {
    write: { help: 'write them into the settings file of the client, next to what is there' },
    stdio: { help: 'the client starts kerntap itself, with the options that are given here' },
  },
  options: ['listen', 'token-file', ...stdio.options],
  async run(line, terminal) {
    const [name, stray] = line.positionals;
    const client = CLIENTS.find((known) => known === name);
    if (client === undefined || stray !== undefined) {
      const wrong = name === undefined ? 'No client is named' : `There is no client ${JSON.stringify(stray ?? name)}`;
      throw new KerntapError('start.option', `${wrong}.`, { remedy: `name one of: ${CLIENTS.join(', ')}` });
    }
    const { title, text, file, notes, mergeInto } = clientSettings(client, wayOf(line), process.platform);
    const tell = (note: string) => terminal.err(terminal.styleErr('dim', note));
    if (line.given.write === undefined) {
      terminal.out(text);
      if (file !== undefined && text.startsWith('{')) tell(`It belongs into ${file}; --write puts it there.`);
    } else if (file === undefined || mergeInto === undefined) {
      const remedy = `run what kerntap setup ${client} prints`;
      throw new KerntapError('start.option', `${title} keeps no settings file.`, { remedy });
    } else {
      const path = pathOf(file);
      const changed = await merge(path, mergeInto, isPrivate(file));
      terminal.out(changed ? `${title}: kerntap is in ${path}` : `${title}: kerntap was in ${path} already`);
    }
    notes.forEach(tell);
    if (line.given.stdio !== undefined) tell('Tracing needs root: the client has to run as root, too.');
    return 0;
  },
};

/** How the client reaches kerntap: where it listens by these options, or the command that starts it from anywhere. */
function wayOf({ given, config }: CommandLine): ClientWay {
  if (given.stdio !== undefined) return { kind: 'stdio', ...commandLine(['stdio', ...stdioOptions(given)]) };
  const { host, port } = config.listen;
  // What listens everywhere is called on this machine.
  const name = { '0.0.0.0': '127.0.0.1', '::': '[::1]' }[host] ?? (host.includes(':') ? `[${host}]` : host);
  const token = process.env[TOKEN_VARIABLE];
  const needsToken = token !== undefined || config.tokenFile !== undefined;
  // It may stand in a file that is written, never on the screen.
  const shown = (given.write !== undefined && token) || '';
  return { kind: 'http', url: `http://${name}:${port}/mcp`, ...(needsToken && { token: shown }) };
}

const stdioOptions = (given: CommandLine['given']): string[] =>
  stdio.options.flatMap((option) => {
    const value = given[option];
    if (value === undefined) return [];
    const isPath = option === 'data-dir' || option === 'bpftrace';
    return [`--${option}`, isPath ? resolve(callerFolder(), value) : value];
  });

function commandLine(args: readonly string[]): { command: string; args: readonly string[] } {
  // In a checkout this link stays when the Node behind it is replaced.
  const link = join(import.meta.dirname, '../../.cache/bin/node');
  return { command: existsSync(link) ? link : process.execPath, args: [resolve(process.argv[1] ?? ''), ...args] };
}

const isPrivate = (file: string): boolean => /^[~%]/.test(file);

const pathOf = (file: string): string =>
  resolve(
    callerFolder(),
    file.replace(/^~(?=\/)/, homedir()).replace('%APPDATA%', process.env.APPDATA ?? join(homedir(), 'AppData/Roaming')),
  );

/**
 * Puts kerntap into a settings file, all of it or nothing; false when it is there already. A new file that is a person's
 * own is for that person alone, since a token may stand in it. Throws `start.option`.
 */
async function merge(file: string, mergeInto: (existing: string) => string, isPrivate: boolean): Promise<boolean> {
  try {
    const path = await realpath(file).catch(() => file); // a link to the real one stays a link
    const found = await stat(path).catch(() => undefined);
    const before = found === undefined ? '' : await readFile(path, 'utf8');
    const after = mergeInto(before);
    if (after === before) return false;
    await mkdir(dirname(path), { recursive: true });
    const next = `${path}.${process.pid}.new`;
    await writeFile(next, after, { mode: found === undefined ? (isPrivate ? 0o600 : 0o644) : found.mode & 0o777 });
    if (found !== undefined && process.getuid?.() === 0) await chown(next, found.uid, found.gid);
    await rename(next, path);
    return true;
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === undefined && !(error instanceof KerntapError)) throw error;
    const why = errno === undefined ? (error as Error).message : `${getSystemErrorMessage(errno)}.`;
    throw new KerntapError('start.option', `${file} was not changed: ${why}`, { remedy: 'paste the settings by hand' });
  }
}
