import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createCheckout } from './checkout.ts';

test('without a name they are not brought: kerntap runs without them', async () => {
  using checkout = createCheckout();
  checkout.program('npm', 'mkdir -p node_modules && touch node_modules/.package-lock.json');
  checkout.program('bpftrace', "echo 'bpftrace v0.27.0'");
  expect((await checkout.run()).text).not.toContain('container');
});

test('a machine that cannot have them is told so, and the set-up goes on', async () => {
  using checkout = createCheckout();
  const { code, text } = await checkout.run(['containers']);
  expect(code).toBe(0);
  expect(text).toBe(
    "setup no container runtimes for the tests: there is no apt-get to fetch Debian's. The tests that need containers are skipped.\n",
  );
});

describe.skipIf(!existsSync('/usr/share/keyrings/debian-archive-keyring.gpg'))(
  'from Debian [needs debian-archive-keyring]',
  () => {
    const withApt = (aptGet: string) => {
      const checkout = createCheckout();
      for (const name of ['dpkg-deb', 'apt-config', 'gcc']) checkout.program(name, 'exit 0');
      checkout.program('apt-get', `echo "$*" >>"$ROOT/apt-get.log"\n${aptGet}`);
      return checkout;
    };

    test('they come from the suite whose runtimes work without systemd', async () => {
      using checkout = withApt('exit 100');
      await checkout.run(['containers']);
      const sources = join(checkout.root, '.cache/containers/apt/etc/sources.list');
      expect(readFileSync(sources, 'utf8')).toMatch(/ trixie main\n$/);
    });

    test('what apt complains of is one sentence, and the set-up goes on without them', async () => {
      using checkout = withApt('echo "E: Unable to locate package runc" >&2; [ "$2" = update ] || exit 100');
      const { code, text } = await checkout.run(['containers']);
      expect(code).toBe(0);
      expect(text.split('\n')[1]).toBe(
        'setup apt could not fetch runc and containerd and docker.io and containernetworking-plugins and busybox-static from Debian trixie: Unable to locate package runc. ' +
          'Check the network and the proxy (apt-config dump) and run this again; until then the tests that need containers are skipped.',
      );
      expect(checkout.log('apt-get')).toContain('--download-only runc containerd docker.io');
    });
  },
);
