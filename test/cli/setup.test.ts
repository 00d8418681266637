import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { kerntap, MAIN } from './kerntap.ts';

let home = '';
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'kerntap-home-'));
});
afterEach(() => rm(home, { recursive: true }));

const setup = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  kerntap(['setup', ...args], { cwd: home, env: { HOME: home, ...env } });
const content = (file: string) => readFile(join(home, file), 'utf8');
const modeOf = async (file: string) => ((await stat(join(home, file))).mode & 0o777).toString(8);
const URL_HERE = 'http://127.0.0.1:7337/mcp';

describe('printing', () => {
  test('the settings alone are on standard output, ready for a pipe', async () => {
    const { code, stdout, stderr } = await setup(['cursor']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ mcpServers: { kerntap: { url: URL_HERE } } });
    expect(stdout).toMatch(/[^\n]\n$/);
    expect(stderr).toContain('~/.cursor/mcp.json');
    expect(await readdir(home)).toEqual([]);
  });

  test.each([
    [['--listen', '127.0.0.1:9000'], 'http://127.0.0.1:9000/mcp'],
    [['--listen', '0.0.0.0:9000'], 'http://127.0.0.1:9000/mcp'],
    [['--listen', '[::1]:9000'], 'http://[::1]:9000/mcp'],
  ])('with %j the server is called at %s', async (args, url) => {
    expect((await setup(['cursor', ...args])).stdout).toContain(`"${url}"`);
  });

  test('the way over stdio works from any folder: its paths are absolute, and its programs exist', async () => {
    const { stdout, stderr } = await setup(['vscode', '--stdio', '--data-dir', 'runs', '--node-name', 'n7']);
    const { command, args } = JSON.parse(stdout).servers.kerntap;
    expect(existsSync(command)).toBe(true);
    expect(command).toMatch(/^\/.*\/node$/);
    expect(args).toEqual([MAIN, 'stdio', '--data-dir', join(home, 'runs'), '--node-name', 'n7']);
    expect(stderr).toContain('Tracing needs root');
  });

  test('a token is asked for where the server wants one, and never shown', async () => {
    const { stdout } = await setup(['claude-desktop', '--token-file', '/etc/kerntap/tokens'], {
      KERNTAP_TOKEN: 's3cret',
    });
    expect(stdout).toContain('Bearer TOKEN');
    expect(stdout).not.toContain('s3cret');
  });
});

describe('writing', () => {
  test.each([
    ['claude-code', '.mcp.json', '644'],
    ['claude-desktop', '.config/Claude/claude_desktop_config.json', '600'],
    ['vscode', '.vscode/mcp.json', '644'],
    ['cursor', '.cursor/mcp.json', '600'],
  ])('%s has it in %s, and a second time changes nothing', async (client, file, mode) => {
    const first = await setup([client, '--write']);
    expect(first).toMatchObject({ code: 0, stdout: expect.stringMatching(/: kerntap is in \//) });
    expect(first.stdout).toContain(join(home, file));
    const written = await content(file);
    expect(JSON.stringify(JSON.parse(written))).toContain(URL_HERE);
    expect(await modeOf(file)).toBe(mode);
    expect(await readdir(dirname(join(home, file)))).toHaveLength(1);

    expect((await setup([client, '--write'])).stdout).toContain(`kerntap was in ${join(home, file)} already`);
    expect(await content(file)).toBe(written);
  });

  test('the token goes into the one file that needs it, which nobody else may read', async () => {
    await setup(['claude-desktop', '--write'], { KERNTAP_TOKEN: 's3cret' });
    const file = '.config/Claude/claude_desktop_config.json';
    expect(await content(file)).toContain('Bearer s3cret');
    expect(await modeOf(file)).toBe('600');
  });

  test('through npm, which works in its own folder, the file of a project is where the person is', async () => {
    const env = { npm_lifecycle_event: 'kerntap', INIT_CWD: home, HOME: home };
    const { stdout } = await kerntap(['setup', 'vscode', '--write'], { cwd: tmpdir(), env });
    expect(stdout).toContain(join(home, '.vscode/mcp.json'));
    expect(await content('.vscode/mcp.json')).toContain(URL_HERE);
  });

  test('what a person wrote stays, with comments, mode and link', async () => {
    const real = join(home, 'dotfiles.json');
    await writeFile(real, '{\n  // mine\n  "mcpServers": { "other": { "url": "http://other" } },\n  "theme": 1\n}\n');
    await chmod(real, 0o640);
    await mkdir(join(home, '.cursor'));
    await symlink(real, join(home, '.cursor/mcp.json'));
    expect((await setup(['cursor', '--write'])).code).toBe(0);
    const after = await readFile(real, 'utf8');
    expect(after).toContain('// mine');
    expect(after).toContain('"other": { "url": "http://other" }');
    expect(after).toContain('"theme": 1');
    expect(after).toContain(URL_HERE);
    expect(await modeOf('dotfiles.json')).toBe('640');
  });

  test('a broken file is left as it is', async () => {
    await mkdir(join(home, '.cursor'));
    await writeFile(join(home, '.cursor/mcp.json'), '{ "mcpServers": {');
    const { code, stdout, stderr } = await setup(['cursor', '--write']);
    expect(stderr).toMatch(/^kerntap: \/\S+\/\.cursor\/mcp\.json was not changed: .*no JSON at line 1[^\n]*\n$/);
    expect(stdout).toBe('');
    expect(code).toBe(78);
    expect(await content('.cursor/mcp.json')).toBe('{ "mcpServers": {');
  });

  test('a folder that cannot be made is named', async () => {
    await writeFile(join(home, '.cursor'), '');
    const { code, stderr } = await setup(['cursor', '--write']);
    expect(stderr).toContain(`${join(home, '.cursor/mcp.json')} was not changed: `);
    expect(code).toBe(78);
  });

  test('a client without a settings file is told what to run', async () => {
    const { code, stderr } = await setup(['inspector', '--write']);
    expect(stderr).toBe('kerntap: MCP Inspector keeps no settings file. Run what kerntap setup inspector prints.\n');
    expect(code).toBe(78);
  });
});
