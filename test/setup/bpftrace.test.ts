import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { projectRoot } from '../helpers/machine.ts';
import { bpftraceOf, createCheckout } from './checkout.ts';

const { mirrorsIn } = (await import(join(projectRoot, 'scripts/setup/debian.mjs'))) as {
  mirrorsIn(texts: readonly string[]): readonly string[];
};

test.each(['v0.24.2', 'v0.24.10', 'v0.27.0-12-g3a7c', 'v1.0.0', '0.25.0'])(
  'bpftrace %s on PATH is taken',
  async (version) => {
    using checkout = createCheckout();
    checkout.program('bpftrace', bpftraceOf(version));
    const { code, text } = await checkout.run(['bpftrace']);
    expect(code).toBe(0);
    expect(text).toBe(
      `setup bpftrace ${/\d+\.\d+\.\d+/.exec(version)} of this machine: ${join(checkout.bin, 'bpftrace')}\n`,
    );
    expect(await checkout.run(['bpftrace'])).toEqual({ code: 0, text: '' });
  },
);

test.each([
  ['v0.24.1', '0.24.1'],
  ['v0.23.9', '0.23.9'],
  ['UNKNOWN', 'of no known version'],
])(
  'bpftrace %s on PATH is too old: without apt the choices are named and the set-up goes on',
  async (version, named) => {
    using checkout = createCheckout();
    checkout.program('bpftrace', bpftraceOf(version));
    const { code, text } = await checkout.run(['bpftrace']);
    expect(code).toBe(0);
    expect(text).toBe(
      `setup no bpftrace 0.24.2 or newer: ${join(checkout.bin, 'bpftrace')} is ${named}, and there is no apt-get to fetch Debian's. ` +
        'Tracing needs one: install it, or name it with --bpftrace PATH, or use the container image, which has it.\n',
    );
  },
);

test('a bpftrace on PATH is asked again when it was replaced', async () => {
  using checkout = createCheckout();
  checkout.program('bpftrace', bpftraceOf('v0.27.0'));
  await checkout.run(['bpftrace']);
  checkout.program('bpftrace', bpftraceOf('v0.20.0'));
  expect((await checkout.run(['bpftrace'])).text).toContain('is 0.20.0');
});

test('KERNTAP_BPFTRACE names one: nothing is looked for', async () => {
  using checkout = createCheckout();
  expect(await checkout.run(['bpftrace'], { KERNTAP_BPFTRACE: '/opt/bpftrace' })).toEqual({ code: 0, text: '' });
});

describe.skipIf(!existsSync('/usr/share/keyrings/debian-archive-keyring.gpg'))(
  'from Debian [needs debian-archive-keyring]',
  () => {
    const withApt = (aptGet: string) => {
      const checkout = createCheckout();
      checkout.program('dpkg-deb', 'exit 1');
      checkout.program(
        'apt-config',
        `printf 'Dir "/";\\nAcquire::http::Proxy "http://127.0.0.1:9";\\nAPT::Update::Post-Invoke:: "rm";\\n'`,
      );
      checkout.program('apt-get', `cat "$APT_CONFIG" >>"$ROOT/conf.log"; echo "$*" >>"$ROOT/apt-get.log"\n${aptGet}`);
      return checkout;
    };

    test('apt works in folders of its own, with the proxies of the system and none of its hooks', async () => {
      using checkout = withApt('exit 100');
      await checkout.run(['bpftrace']);
      const apt = join(checkout.root, '.cache/bpftrace/apt');
      const conf = checkout.log('conf');
      for (const name of ['Etc', 'State', 'Cache', 'Log']) {
        expect(conf).toContain(`Dir::${name} "${join(apt, name.toLowerCase())}";\n`);
      }
      expect(conf).toContain(`Dir::State::status "${apt}/status";\n`);
      expect(conf).toContain('Acquire::http::Proxy "http://127.0.0.1:9";\n');
      expect(conf).not.toContain('Post-Invoke');
      expect(readFileSync(join(apt, 'status'), 'utf8')).toBe('');
      expect(readFileSync(join(apt, 'etc/sources.list'), 'utf8')).toMatch(
        /^deb \[arch=(amd64|arm64) signed-by=\/usr\/share\/keyrings\/debian-archive-keyring\.gpg\] https?:\/\/\S+\/debian forky main\n$/,
      );
    });

    test('what apt complains of is one sentence with the remedies', async () => {
      using checkout = withApt(
        'echo "E: Failed to fetch http://127.0.0.1:9/debian  Temporary failure resolving \'127.0.0.1\'" >&2; exit 100',
      );
      const { code, text } = await checkout.run(['bpftrace']);
      expect(code).toBe(78);
      expect(text.split('\n')[1]).toBe(
        "setup apt could not fetch bpftrace and util-linux from Debian forky: Failed to fetch http://127.0.0.1:9/debian Temporary failure resolving '127.0.0.1'. " +
          'Check the network and the proxy (apt-config dump) and run this again, or install bpftrace 0.24.2 or newer and set KERNTAP_BPFTRACE to its path.',
      );
    });

    test('a list that is past its date is tried once more without the date', async () => {
      using checkout = withApt(
        'grep -q \'Check-Valid-Until "false"\' "$APT_CONFIG" || { echo "E: Release file is expired (invalid since 3d)" >&2; exit 100; }; touch "$ROOT/.cache/bpftrace/apt/cache/archives/x.deb"',
      );
      const { code, text } = await checkout.run(['bpftrace']);
      expect(checkout.log('apt-get').split('\n').slice(0, 3)).toEqual([
        '-qq update',
        '-qq update',
        '-qq install -y --download-only bpftrace util-linux',
      ]);
      expect(code).toBe(78);
      expect(text).toContain('A Debian package could not be unpacked');
      expect(existsSync(join(checkout.root, '.cache/bpftrace/root'))).toBe(false);
    });
  },
);

test.each([
  ['nothing', '', []],
  ['a line', 'deb http://mirror.example/debian bookworm main', ['http://mirror.example/debian']],
  [
    'a line with options and a slash',
    'deb [arch=amd64 signed-by=/x] https://mirror.example/debian/ trixie main contrib # ours',
    ['https://mirror.example/debian'],
  ],
  ['a comment', '# deb http://mirror.example/debian bookworm main', []],
  ['sources of programs', 'deb-src http://mirror.example/debian bookworm main', []],
  [
    'security and others',
    'deb http://mirror.example/debian-security bookworm-security main\ndeb http://docker.example/linux/debian bookworm stable',
    [],
  ],
  [
    'fields',
    'Types: deb deb-src\n# http://snapshot.example/debian\nURIs: http://a.example/debian http://b.example/debian\nSuites: bookworm\nComponents: main\n',
    ['http://a.example/debian', 'http://b.example/debian'],
  ],
  [
    'two parts of fields',
    'Types: deb\nURIs: http://a.example/other\nComponents: main\n\nTypes: deb\nURIs:\n  http://b.example/debian\nComponents: contrib main',
    ['http://b.example/debian'],
  ],
  ['fields that are off', 'Enabled: no\nTypes: deb\nURIs: http://a.example/debian\nComponents: main', []],
  [
    'the same twice',
    'deb http://a.example/debian a main\ndeb http://a.example/debian b main',
    ['http://a.example/debian'],
  ],
])('the mirrors in %s', (_what, text, named) => {
  expect(mirrorsIn([text])).toEqual(named);
});
