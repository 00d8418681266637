import { existsSync, mkdirSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { npm, run, sentence } from './run.mjs';
import { Problem, step } from './say.mjs';

const NEEDED = 24;
const VERSION = '24.21.0';
// As the lock file does for every other package: only these very bytes are run.
const INTEGRITY = {
  x64: 'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  arm64: 'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
};
const NAME = `node-linux-${process.arch}`;

const isNew = Number.parseInt(process.versions.node, 10) >= NEEDED;
const link = (root) => join(root, '.cache/bin/node');
const home = (root) => join(root, `.cache/node-${VERSION}`);
const binary = (folder) => join(folder, `node_modules/${NAME}/bin/node`);

/** `.cache/bin/node` leads to the Node that was brought, or to the running one if that is new enough. */
export function isDone(root) {
  if (!existsSync(link(root))) return false;
  const node = realpathSync(link(root));
  const brought = binary(home(root));
  return (isNew && node === realpathSync(process.execPath)) || (existsSync(brought) && node === realpathSync(brought));
}

export async function bring(root) {
  if (!isNew && !existsSync(binary(home(root)))) {
    await step(`Node ${VERSION}, since this is ${process.version}`, () => download(root));
  }
  const target = isNew ? process.execPath : relative(dirname(link(root)), binary(home(root)));
  mkdirSync(dirname(link(root)), { recursive: true });
  rmSync(link(root), { force: true });
  symlinkSync(target, link(root));
}

async function download(root) {
  const integrity = INTEGRITY[process.arch];
  if (process.platform !== 'linux' || integrity === undefined) {
    throw new Problem(
      `kerntap needs Node ${NEEDED} or newer and this is ${process.version} on ${process.platform} ${process.arch}. ` +
        `Install Node ${NEEDED}, put it first in PATH and run this again.`,
    );
  }
  const folder = `${home(root)}.new`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const needs = { dependencies: { [NAME]: VERSION } };
  writeFileSync(join(folder, 'package.json'), JSON.stringify(needs));
  writeFileSync(
    join(folder, 'package-lock.json'),
    JSON.stringify({
      lockfileVersion: 3,
      packages: { '': needs, [`node_modules/${NAME}`]: { version: VERSION, integrity } },
    }),
  );
  await npm(root, ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier'], folder);
  const { code, stderr } = await run(binary(folder), ['--version']);
  if (code !== 0) {
    throw new Problem(
      `Node ${VERSION} does not start on this machine: ${sentence(stderr)} Install Node ${NEEDED} yourself and put it first in PATH.`,
    );
  }
  rmSync(home(root), { recursive: true, force: true });
  renameSync(folder, home(root));
  return 'ready';
}
