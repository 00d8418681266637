import { expect, test } from 'vitest';
import { type Accepted, OPTION_NAMES, parseCommandLine, renderOptions } from '../src/config.ts';
import { KerntapError } from '../src/errors.ts';

const EVERY: Accepted = { options: OPTION_NAMES };
const configOf = (args: string[], env: NodeJS.ProcessEnv) => parseCommandLine(args, env, EVERY).config;

const refusal = (args: string[], env: NodeJS.ProcessEnv = {}, accepted = EVERY): KerntapError => {
  try {
    parseCommandLine(args, env, accepted);
  } catch (error) {
    if (error instanceof KerntapError) return error;
  }
  throw new Error('it was accepted');
};

test('without options the server listens on loopback and takes the name of the machine', () => {
  const config = configOf([], { XDG_STATE_HOME: '/state' });
  expect(config.listen).toEqual({ host: '127.0.0.1', port: 7337 });
  expect(config.tokenFile).toBeUndefined();
  expect(config.tlsTerminatedByProxy).toBe(false);
  expect(config.nodeName).toMatch(/^[a-z0-9]/);
  expect(config.dataDir).toBe(process.getuid?.() === 0 ? '/var/lib/kerntap' : '/state/kerntap');
});

test('the command line wins over the environment, which wins over the preset', () => {
  const env = { KERNTAP_LISTEN: '[::1]:9000', KERNTAP_MAX_TIMEOUT: '30', KERNTAP_ALLOWED_HOSTS: 'a.test, b.test' };
  expect(configOf([], env)).toMatchObject({
    listen: { host: '::1', port: 9000 },
    maxTimeout: 30,
    allowedHosts: ['a.test', 'b.test'],
  });
  expect(configOf(['--max-timeout', '60', '--node-name', 'Node 7!'], env)).toMatchObject({
    maxTimeout: 60,
    nodeName: 'node-7',
  });
});

test.each([
  [['--listen', '9000'], '--listen is "9000": must be HOST:PORT'],
  [['--listen', '127.0.0.1:70000'], '--listen is "127.0.0.1:70000"'],
  [['--max-timeout', '601'], '--max-timeout is "601"'],
  [['--watchdog', 'maybe'], '--watchdog is "maybe"'],
  [['--nonsense'], "Unknown option '--nonsense'"],
  [['--data-dir'], '--data-dir'],
  [['--data-dir', '--spare'], "'--data-dir'"],
  [['stray'], '"stray" belongs to no option'],
])('%j is refused by name and value', (args, message) => {
  const error = refusal(args);
  expect(error.code).toBe('start.option');
  expect(error.message).toContain(message);
  expect(error.message).toMatch(/^[^\n]+[^.]\.$/);
});

test('a wrong value in the environment is refused by its variable', () => {
  expect(refusal([], { KERNTAP_SPARE: 'perhaps' }).message).toContain('KERNTAP_SPARE is "perhaps"');
});

test('an option that npm swallowed is explained', () => {
  const error = refusal(['127.0.0.1:9000'], { npm_lifecycle_event: 'start' });
  expect(error.text).toContain('npm start -- --listen 127.0.0.1:9000');
});

test('a command takes its own flags and the options that it names, and heeds no others', () => {
  const accepted: Accepted = {
    options: ['data-dir'],
    own: { expression: { short: 'e', value: 'PROGRAM', help: 'the program' }, write: { help: 'write it' } },
    positionals: true,
  };
  const line = parseCommandLine(
    ['-e', 'begin { }', 'FILE', '--data-dir', '/d'],
    { KERNTAP_LISTEN: 'nowhere' },
    accepted,
  );
  expect(line.given).toEqual({ expression: 'begin { }', 'data-dir': '/d' });
  expect(line.positionals).toEqual(['FILE']);
  expect(line.config).toMatchObject({ dataDir: '/d', listen: { host: '127.0.0.1', port: 7337 } });
  expect(refusal(['--listen', '127.0.0.1:1'], {}, accepted).message).toContain('--listen');
  expect(renderOptions(accepted)).toMatch(
    /^ {2}-e, --expression PROGRAM {2}the program\n {2}--write +write it\n {2}--data-dir DIR/,
  );
});

test('the help names every option in lines of at most 100 characters', () => {
  const help = renderOptions(EVERY);
  for (const name of OPTION_NAMES) expect(help).toContain(`--${name}`);
  for (const line of help.split('\n')) expect(line.length, line).toBeLessThanOrEqual(100);
});
