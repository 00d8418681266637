import { describe, expect, it, test } from 'vitest';
import { CLIENTS, type Client, type ClientWay, clientSettings } from '../../src/cli/client-settings.ts';
import { KerntapError } from '../../src/errors.ts';

const http: ClientWay = { kind: 'http', url: 'http://127.0.0.1:7337/mcp' };
const withToken: ClientWay = { ...http, token: 's3cret' };
const stdio: ClientWay = { kind: 'stdio', command: '/opt/kern tap/kerntap', args: ['stdio', '--data-dir', '/tmp/x'] };

function merged(client: Client, way: ClientWay, existing: string): string {
  const { mergeInto } = clientSettings(client, way);
  if (!mergeInto) throw new Error(`${client} keeps no file`);
  return mergeInto(existing);
}

describe('what a person pastes', () => {
  it.each([
    ['claude-code', http, 'claude mcp add --transport http kerntap http://127.0.0.1:7337/mcp'],
    [
      'claude-code',
      withToken,
      'claude mcp add --transport http kerntap http://127.0.0.1:7337/mcp --header "Authorization: Bearer $KERNTAP_TOKEN"',
    ],
    ['claude-code', stdio, "claude mcp add kerntap -- '/opt/kern tap/kerntap' stdio --data-dir /tmp/x"],
    [
      'inspector',
      http,
      'npx -y @modelcontextprotocol/inspector --transport http --server-url http://127.0.0.1:7337/mcp',
    ],
    ['inspector', stdio, "npx -y @modelcontextprotocol/inspector '/opt/kern tap/kerntap' -- stdio --data-dir /tmp/x"],
  ] as const)('%s gets a command', (client, way, command) => {
    expect(clientSettings(client, way).text).toBe(command);
  });

  it.each([
    ['vscode', http, { servers: { kerntap: { type: 'http', url: http.url } } }],
    [
      'vscode',
      withToken,
      {
        servers: {
          kerntap: { type: 'http', url: http.url, headers: { Authorization: `Bearer \${input:kerntap-token}` } },
        },
        inputs: [{ type: 'promptString', id: 'kerntap-token', description: 'kerntap token', password: true }],
      },
    ],
    ['vscode', stdio, { servers: { kerntap: { type: 'stdio', command: stdio.command, args: stdio.args } } }],
    ['cursor', http, { mcpServers: { kerntap: { url: http.url } } }],
    [
      'cursor',
      withToken,
      { mcpServers: { kerntap: { url: http.url, headers: { Authorization: `Bearer \${env:KERNTAP_TOKEN}` } } } },
    ],
    ['claude-desktop', http, { mcpServers: { kerntap: { command: 'npx', args: ['-y', 'mcp-remote', http.url] } } }],
    [
      'claude-desktop',
      withToken,
      {
        mcpServers: {
          kerntap: {
            command: 'npx',
            args: ['-y', 'mcp-remote', http.url, '--header', `Authorization:\${AUTH_HEADER}`],
            env: { AUTH_HEADER: 'Bearer s3cret' },
          },
        },
      },
    ],
    ['claude-desktop', stdio, { mcpServers: { kerntap: { command: stdio.command, args: stdio.args } } }],
  ] as const)('%s gets JSON for its settings file', (client, way, settings) => {
    expect(JSON.parse(clientSettings(client, way).text)).toEqual(settings);
  });

  test('mcp-remote is told when the server is beyond this machine and speaks http', () => {
    const { text } = clientSettings('claude-desktop', { kind: 'http', url: 'http://node-7:7337/mcp' });
    expect(JSON.parse(text).mcpServers.kerntap.args).toContain('--allow-http');
  });

  test('no token stands in a file or command but in the private one of Claude Desktop, which knows no other way', () => {
    for (const client of CLIENTS) {
      const { text, mergeInto } = clientSettings(client, withToken);
      const leaks = [text, mergeInto?.('{}') ?? ''].some((one) => one.includes('s3cret'));
      expect([client, leaks]).toEqual([client, client === 'claude-desktop']);
    }
  });

  test('a token that is not known here leaves a place for it', () => {
    const { text, notes } = clientSettings('claude-desktop', { ...http, token: '' });
    expect(JSON.parse(text).mcpServers.kerntap.env).toEqual({ AUTH_HEADER: 'Bearer TOKEN' });
    expect(notes).toContain('Put the token where TOKEN stands.');
  });

  test('Claude Desktop has its file where the platform keeps it', () => {
    expect(clientSettings('claude-desktop', stdio, 'linux').file).toBe('~/.config/Claude/claude_desktop_config.json');
    expect(clientSettings('claude-desktop', stdio, 'darwin').file).toMatch(/^~\/Library\//);
    expect(clientSettings('claude-desktop', stdio, 'win32').file).toMatch(/^%APPDATA%\\/);
  });
});

describe('merging into a settings file', () => {
  test('an empty file becomes a complete one, and a second merge changes nothing', () => {
    for (const client of ['claude-code', 'claude-desktop', 'vscode', 'cursor'] as const) {
      const once = merged(client, withToken, '\n');
      expect(JSON.parse(once)).toBeTypeOf('object');
      expect(merged(client, withToken, once)).toBe(once);
    }
  });

  test('comments, layout, other servers and other keys stay', () => {
    const existing = `{
\t// our servers
\t"servers": {
\t\t"other": { "type": "http", "url": "https://example.com/mcp" } // keep me
\t},
\t/* asked once */
\t"inputs": [],
}
`;
    expect(merged('vscode', withToken, existing)).toBe(`{
\t// our servers
\t"servers": {
\t\t"other": { "type": "http", "url": "https://example.com/mcp" }, // keep me
\t\t"kerntap": {
\t\t  "type": "http",
\t\t  "url": "http://127.0.0.1:7337/mcp",
\t\t  "headers": {
\t\t    "Authorization": "Bearer \${input:kerntap-token}"
\t\t  }
\t\t}
\t},
\t/* asked once */
\t"inputs": [
\t  {
\t    "type": "promptString",
\t    "id": "kerntap-token",
\t    "description": "kerntap token",
\t    "password": true
\t  }
\t],
}
`);
  });

  it.each([
    ['{}'],
    ['{"theme":"dark"}'],
    ['{ "mcpServers": {} }'],
    ['{"mcpServers":{"a":{"command":"x"}},"z":[1,2]}'],
    ['{\n  "mcpServers": {\n    "kerntap": { "url": "http://old" },\n    "b": {}\n  }\n}\n'],
  ])('keeps what is in %s', (existing) => {
    const before = JSON.parse(existing);
    const after = JSON.parse(merged('cursor', http, existing));
    const kerntap = { url: http.url };
    expect(after).toEqual({ ...before, mcpServers: { ...before.mcpServers, kerntap } });
  });

  it.each([
    ['{ "mcpServers": { ', 'line 1'],
    ['{\n  "mcpServers": {},\n  oops\n}', 'line 3, column 3'],
    ['{} {}', 'no JSON'],
    ['{"a": "unfinished}', 'no JSON'],
    ['[]', 'is no object'],
    ['{"mcpServers": "no"}', 'mcpServers of the settings file is no object'],
  ])('refuses %j, so that nothing is destroyed', (existing, why) => {
    expect(() => merged('cursor', http, existing)).toThrow(KerntapError);
    expect(() => merged('cursor', http, existing)).toThrow(why);
  });
});
