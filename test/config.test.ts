import { expect, test } from 'vitest';
import { loadConfig, OPTIONS, renderOptions } from '../src/config.ts';
import { KerntapError } from '../src/errors.ts';

const refusal = (args: string[], env: NodeJS.ProcessEnv = {}): KerntapError => {
  try {
    loadConfig(args, env);
  } catch (error) {
    if (error instanceof KerntapError) return error;
  }
  throw new Error('it was accepted');
};

test('without options the server listens on loopback and takes the name of the machine', () => {
  const config = loadConfig([], { XDG_STATE_HOME: '/state' });
  expect(config.listen).toEqual({ host: '127.0.0.1', port: 7337 });
  expect(config.tokenFile).toBeUndefined();
  expect(config.tlsTerminatedByProxy).toBe(false);
  expect(config.nodeName).toMatch(/^[a-z0-9]/);
  expect(config.dataDir).toBe(process.getuid?.() === 0 ? '/var/lib/kerntap' : '/state/kerntap');
});

test('the command line wins over the environment, which wins over the preset', () => {
  const env = { KERNTAP_LISTEN: '[::1]:9000', KERNTAP_MAX_TIMEOUT: '30', KERNTAP_ALLOWED_HOSTS: 'a.test, b.test' };
  expect(loadConfig([], env)).toMatchObject({
    listen: { host: '::1', port: 9000 },
    maxTimeout: 30,
    allowedHosts: ['a.test', 'b.test'],
  });
  expect(loadConfig(['--max-timeout', '60', '--node-name', 'Node 7!'], env)).toMatchObject({
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
])('%j is refused by name and value', (args, message) => {
  const error = refusal(args);
  expect(error.code).toBe('start.option');
  expect(error.message).toContain(message);
  expect(error.message).not.toContain('\n');
});

test('an option that npm swallowed is explained', () => {
  const error = refusal(['127.0.0.1:9000'], { npm_lifecycle_event: 'start' });
  expect(error.text).toContain('npm start -- --listen 127.0.0.1:9000');
});

test('the help names every option', () => {
  for (const flag of Object.keys(OPTIONS)) expect(renderOptions()).toContain(`--${flag}`);
});
