import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findOnPath, run, sentence } from './run.mjs';
import { Problem } from './say.mjs';

const MACHINES = {
  x64: { debian: 'amd64', triplet: 'x86_64-linux-gnu', loader: 'ld-linux-x86-64.so.2' },
  arm64: { debian: 'arm64', triplet: 'aarch64-linux-gnu', loader: 'ld-linux-aarch64.so.1' },
};
/** What Debian calls this machine; undefined for one that it has no packages for. */
export const machine = process.platform === 'linux' ? MACHINES[process.arch] : undefined;

const KEYRINGS = ['gpg', 'pgp'].map((ending) => `/usr/share/keyrings/debian-archive-keyring.${ending}`);
const keyring = () => KEYRINGS.find((file) => existsSync(file));

/** Why packages of Debian cannot be fetched and unpacked on this machine; undefined when they can. */
export function obstacleToDebian() {
  if (machine === undefined) return 'Debian has no package for this machine';
  for (const program of ['apt-get', 'dpkg-deb']) {
    if (findOnPath(program) === undefined) return `there is no ${program} to fetch Debian's`;
  }
  return keyring() === undefined ? "Debian's signing keys are absent (package debian-archive-keyring)" : undefined;
}

/**
 * Makes `folder` from packages of a suite of Debian and all that they depend on, even libc; no maintainer script runs.
 * `finish` gets the folder under another name, may change it, and returns what a person is told: the folder appears whole or
 * not at all. `notes` gets what a person should know besides. Throws a `Problem` that ends in `otherwise`.
 */
export async function unpack(folder, { suite, packages, otherwise }, notes, finish) {
  const fresh = `${folder}.new`;
  const apt = join(folder, '../apt');
  for (const old of [fresh, apt]) rmSync(old, { recursive: true, force: true });
  const files = await download(apt, { suite, packages, otherwise }, notes);
  mkdirSync(fresh, { recursive: true });
  for (const file of files) {
    const { code, stderr } = await run('dpkg-deb', ['-x', file, fresh]);
    if (code !== 0) throw new Problem(`A Debian package could not be unpacked: ${sentence(stderr)} Run this again.`);
  }
  const said = await finish(fresh);
  rmSync(folder, { recursive: true, force: true });
  renameSync(fresh, folder);
  rmSync(apt, { recursive: true, force: true });
  return said;
}

/**
 * Downloads packages by an apt whose every folder is below `folder` and returns the package files. The system's apt, its
 * lists and its data base are not touched. Throws a `Problem` in apt's own words.
 */
export async function download(folder, { suite, packages, otherwise }, notes) {
  // APT_CONFIG is read before the system's apt.conf.d and turns that away. An option on the command line would come too
  // late: the system's hooks would run, among them the one of Debian's container images that empties the system's archives.
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  const proxies = (await run('apt-config', ['dump'], { env })).stdout
    .split('\n')
    .filter((line) => /^Acquire::.*proxy/i.test(line));
  env.APT_CONFIG = join(folder, 'apt.conf');
  const tryMirror = async (mirror, checkValidUntil) => {
    prepare(folder, aptConf(folder, proxies, checkValidUntil), sourceOf(mirror, suite));
    const updated = await run('apt-get', ['-qq', 'update'], { env });
    return updated.code === 0
      ? run('apt-get', ['-qq', 'install', '-y', '--download-only', ...packages], { env })
      : updated;
  };

  const mirrors = process.env.DEBIAN_MIRROR ? [process.env.DEBIAN_MIRROR] : mirrorsIn(sourceFiles());
  if (mirrors.length === 0)
    throw new Problem(
      `No Debian mirror stands in apt's sources of this machine. Set DEBIAN_MIRROR to the address of one${otherwise}.`,
    );
  let last;
  for (const mirror of mirrors) {
    last = await tryMirror(mirror, true);
    if (/is expired/.test(last.stderr)) {
      last = await tryMirror(mirror, false);
      if (last.code === 0)
        notes.push(
          `the package list of ${mirror} is past its date (an old mirror, or this clock); its signature is good`,
        );
    }
    if (last.code === 0) return filesIn(join(folder, 'cache/archives'), '.deb');
  }
  throw new Problem(
    `apt could not fetch ${packages.join(' and ')} from Debian ${suite}: ${sentence(/^[EW]: (.+)/m.exec(last.stderr)?.[1] ?? last.stderr)} ` +
      `Check the network and the proxy (apt-config dump) and run this again${otherwise}.`,
  );
}

/** apt.conf of an apt that lives below `folder` alone and believes that no package is installed. */
export const aptConf = (folder, proxies, checkValidUntil) =>
  [
    ...['Etc', 'State', 'Cache', 'Log'].map((name) => `Dir::${name} "${folder}/${name.toLowerCase()}";`),
    `Dir::State::status "${folder}/status";`,
    'APT::Install-Recommends "false";',
    'APT::Sandbox::User "root";', // _apt may not write below this folder
    'APT::Update::Error-Mode "any";', // without it a list that could not be fetched is a warning only
    'Acquire::Languages "none";',
    'Acquire::Retries "2";',
    'Acquire::http::Timeout "20";',
    `Acquire::Check-Valid-Until "${checkValidUntil}";`,
    ...proxies,
    '',
  ].join('\n');

const sourceOf = (mirror, suite) => `deb [arch=${machine.debian} signed-by=${keyring()}] ${mirror} ${suite} main\n`;

function prepare(folder, conf, source) {
  rmSync(folder, { recursive: true, force: true });
  const folders = [
    'etc/apt.conf.d',
    'etc/preferences.d',
    'etc/trusted.gpg.d',
    'state/lists/partial',
    'cache/archives/partial',
    'log',
  ];
  for (const name of folders) mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, 'apt.conf'), conf);
  writeFileSync(join(folder, 'etc/sources.list'), source);
  writeFileSync(join(folder, 'status'), ''); // an absent one is an error; an empty one: nothing is installed, so all is fetched
}

const sourceFiles = () =>
  ['/etc/apt/sources.list', ...filesIn('/etc/apt/sources.list.d', '.list', '.sources')].flatMap((file) => {
    try {
      return [readFileSync(file, 'utf8')];
    } catch {
      return []; // absent, or not ours to read
    }
  });

const filesIn = (folder, ...endings) =>
  existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => endings.some((ending) => name.endsWith(ending)))
        .map((name) => join(folder, name))
        .sort()
    : [];

/**
 * The Debian mirrors that apt's source files name, in their order. Both forms are read, one line and fields (sources.list(5)); `apt-get indextargets` would know, but prints nothing before the first update.
 */
export function mirrorsIn(texts) {
  const named = texts.flatMap((text) =>
    text
      .replace(/^\s*#.*\n?/gm, '')
      .split(/\n\s*\n/)
      .flatMap((part) => (/^Types:/im.test(part) ? fieldsOf(part) : part.split('\n').flatMap(lineOf))),
  );
  return [...new Set(named)];
}

function fieldsOf(stanza) {
  const words = (name) =>
    (new RegExp(`^${name}:((?:.*)(?:\\n[ \\t].*)*)`, 'im').exec(stanza)?.[1] ?? '').trim().split(/\s+/);
  const off = /^(?:no|false|off|0)$/i.test(words('Enabled')[0] ?? '');
  return off || !words('Types').includes('deb')
    ? []
    : words('URIs').flatMap((uri) => debianMirror(uri, words('Components')));
}

function lineOf(line) {
  const [, uri, components] = /^\s*deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+\S+\s+(.*)$/.exec(line) ?? [];
  return uri === undefined ? [] : debianMirror(uri, components.trim().split(/\s+/));
}

// Others than Debian end in /debian, too; their component is another, or apt refuses their signature and we go on.
const debianMirror = (uri, components) =>
  /^https?:\/\/\S+\/debian\/?$/.test(uri) && components.includes('main') ? [uri.replace(/\/$/, '')] : [];
