import { addItem, setMember } from './jsonc.ts';

export const CLIENTS = ['claude-code', 'claude-desktop', 'vscode', 'cursor', 'inspector'] as const;
export type Client = (typeof CLIENTS)[number];

/**
 * How a client reaches kerntap: a server that runs already, or one that the client starts. A `token` is there when the
 * server wants one; it is empty when the token itself is not known here.
 */
export type ClientWay =
  | { readonly kind: 'http'; readonly url: string; readonly token?: string }
  | { readonly kind: 'stdio'; readonly command: string; readonly args: readonly string[] };

export interface ClientSettings {
  /** The client's own name. */
  readonly title: string;
  /** What to paste: JSON for `file`, or a shell command. */
  readonly text: string;
  /** The client's settings file, `~` and `%APPDATA%` as they are; absent for a client that keeps none. */
  readonly file?: string;
  /** What a person must know beside it, a sentence each. */
  readonly notes: readonly string[];
  /** The content of `file` with these settings in it; everything else stays as it is. Throws `start.option`. */
  readonly mergeInto?: (existing: string) => string;
}

/** The variable from which clients read the token, so that no token stands in a file that may be shared. */
export const TOKEN_VARIABLE = 'KERNTAP_TOKEN';

const NAME = 'kerntap';
const VSCODE_INPUT = { type: 'promptString', id: 'kerntap-token', description: 'kerntap token', password: true };

/** What makes `client` use kerntap. `platform` decides where Claude Desktop keeps its settings. */
export function clientSettings(client: Client, way: ClientWay, platform: NodeJS.Platform = 'linux'): ClientSettings {
  const needsToken = way.kind === 'http' && way.token !== undefined;
  const exportToken = needsToken ? [`Set ${TOKEN_VARIABLE} to the token before the client starts.`] : [];
  switch (client) {
    case 'claude-code':
      return {
        ...inFile('Claude Code', '.mcp.json', 'mcpServers', serverEntry(way, `Bearer \${${TOKEN_VARIABLE}}`)),
        text: claudeCommand(way),
        notes: ['Run it in the project folder; --scope user makes it known in every project.', ...exportToken],
      };
    case 'claude-desktop':
      return {
        ...inFile('Claude Desktop', desktopFile(platform), 'mcpServers', desktopEntry(way)),
        notes: [
          ...(way.kind === 'http'
            ? [
                'Its settings file knows servers that it starts itself only, so mcp-remote (needs npx) stands between.',
                'A custom connector calls from the internet and cannot reach a server on this machine.',
              ]
            : []),
          ...(needsToken && way.token === '' ? ['Put the token where TOKEN stands.'] : []),
          'Quit and start Claude Desktop again.',
        ],
      };
    case 'vscode': {
      const settings = inFile(
        'VS Code',
        '.vscode/mcp.json',
        'servers',
        serverEntry(way, `Bearer \${input:${VSCODE_INPUT.id}}`),
      );
      if (!needsToken) return settings;
      const mergeInto = (existing: string) => addItem(settings.mergeInto(existing), 'inputs', VSCODE_INPUT);
      return { ...settings, text: mergeInto(''), mergeInto, notes: ['VS Code asks for the token and keeps it.'] };
    }
    case 'cursor':
      return {
        ...inFile('Cursor', '~/.cursor/mcp.json', 'mcpServers', cursorEntry(way)),
        notes: exportToken,
      };
    case 'inspector':
      return { title: 'MCP Inspector', text: inspectorCommand(way), notes: exportToken };
  }
}

function inFile(title: string, file: string, key: string, entry: object) {
  const mergeInto = (existing: string) => setMember(existing.trim() === '' ? '{}\n' : existing, [key, NAME], entry);
  return { title, file, text: mergeInto(''), notes: [] as readonly string[], mergeInto };
}

/** The form of Claude Code and VS Code, which want the type named. */
function serverEntry(way: ClientWay, authorization: string) {
  if (way.kind === 'stdio') return { type: 'stdio', command: way.command, args: way.args };
  return { type: 'http', url: way.url, ...(way.token !== undefined && { headers: { Authorization: authorization } }) };
}

/** Cursor tells the type from the keys. */
function cursorEntry(way: ClientWay) {
  const { type: _type, ...entry } = serverEntry(way, `Bearer \${env:${TOKEN_VARIABLE}}`);
  return entry;
}

/** Claude Desktop's file is its user's own, and mcp-remote reads the header from the environment that stands there. */
function desktopEntry(way: ClientWay) {
  if (way.kind === 'stdio') return { command: way.command, args: way.args };
  const { protocol, hostname } = new URL(way.url);
  const args = ['-y', 'mcp-remote', way.url];
  // mcp-remote refuses http: beyond localhost and 127.0.0.1 without this.
  if (protocol === 'http:' && hostname !== 'localhost' && hostname !== '127.0.0.1') args.push('--allow-http');
  if (way.token === undefined) return { command: 'npx', args };
  // Without a space: some hosts split arguments at spaces when they start npx.
  args.push('--header', `Authorization:\${AUTH_HEADER}`);
  return { command: 'npx', args, env: { AUTH_HEADER: `Bearer ${way.token || 'TOKEN'}` } };
}

function desktopFile(platform: NodeJS.Platform): string {
  const folders: Partial<Record<NodeJS.Platform, string>> = {
    darwin: '~/Library/Application Support/Claude/',
    win32: '%APPDATA%\\Claude\\',
  };
  return `${folders[platform] ?? '~/.config/Claude/'}claude_desktop_config.json`;
}

const headerOption = (way: ClientWay): string =>
  way.kind === 'http' && way.token !== undefined ? ` --header "Authorization: Bearer $${TOKEN_VARIABLE}"` : '';

function claudeCommand(way: ClientWay): string {
  // --header takes all that follows it, so it stands last.
  if (way.kind === 'http') return `claude mcp add --transport http ${NAME} ${shell(way.url)}${headerOption(way)}`;
  return `claude mcp add ${NAME} -- ${[way.command, ...way.args].map(shell).join(' ')}`;
}

function inspectorCommand(way: ClientWay): string {
  const inspector = 'npx -y @modelcontextprotocol/inspector';
  if (way.kind === 'http') return `${inspector} --transport http --server-url ${shell(way.url)}${headerOption(way)}`;
  const [command, ...args] = [way.command, ...way.args].map(shell);
  return [inspector, command, ...(args.length > 0 ? ['--', ...args] : [])].join(' ');
}

/** A word as a POSIX shell must be given it. */
const shell = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
