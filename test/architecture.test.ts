import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from './helpers/machine.ts';

const LEAVES = ['ids', 'errors', 'log', 'process-start'];
const PURE = ['program', 'trace', 'gadgets', 'render'];
const USE_PORT = 'take it as a port of src/trace/ports.ts that src/compose.ts passes in';
const USE_NODE_API = 'call NodeApi of src/trace/ports.ts';

/** "Who may import whom" of docs/architecture.md: a room, what it may import beside the leaves, and what to do instead. */
const ROOMS: Readonly<Record<string, readonly [may: readonly string[], instead: string]>> = {
  ...Object.fromEntries(
    LEAVES.map((leaf) => [leaf, [[], 'a leaf knows nobody: move the code to the room that needs it']]),
  ),
  program: [[], 'give it as an argument, or move the code to src/trace'],
  trace: [['program'], USE_PORT],
  gadgets: [['trace', 'program'], USE_PORT],
  render: [['trace'], 'put what is to be rendered into the record that trace hands over'],
  ...Object.fromEntries(
    ['bpftrace', 'targets', 'results', 'access', 'cluster'].map((adapter) => [
      adapter,
      [['trace', 'program'], USE_PORT],
    ]),
  ),
  mcp: [['trace', 'gadgets', 'render'], USE_NODE_API],
  http: [['mcp', 'trace', 'cluster/wire.ts'], USE_NODE_API],
  config: [[], 'let src/compose.ts do it with the loaded configuration'],
  compose: [['*'], ''],
  cli: [['compose', 'config', 'render'], 'let src/compose.ts make it, or export its type there'],
  main: [['cli'], 'move the code to src/cli'],
};
/** Packages that one room alone may import. */
const PACKAGES: Readonly<Record<string, string>> = {
  execa: 'bpftrace',
  '@modelcontextprotocol/server': 'mcp',
  dockerode: 'targets',
};
const EFFECTS = /\bprocess\.\w|\bDate\.now\b|\bnew Date\(\)|\bperformance\.\w|\bMath\.random\b/;
const IMPORTS = /^(?:import|export)( type)?\b[^'";]*?\bfrom\s*'([^']+)'|\bimport\b\s*\(?\s*'([^']+)'/gm;

const roomOf = (path: string) => path.split('/')[0]?.replace(/\.ts$/, '') ?? '';

/** What is wrong in `file`, a path below src, each with what to do instead. */
function faultsOf(file: string, text: string): string[] {
  const room = roomOf(file);
  const [may, instead] = ROOMS[room] ?? [undefined, ''];
  if (may === undefined)
    return [`src/${file}: no row of ROOMS has "${room}"; use a room of docs/architecture.md or add one there and here`];
  const code = text.replace(/^\s*\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, '');
  const faults: string[] = [];
  for (const match of code.matchAll(IMPORTS)) {
    const [, type = '', from, bare] = match;
    const name = from ?? bare ?? '';
    const fault = (remedy: string) => faults.push(`src/${file} imports ${name}: ${remedy}`);
    if (name.startsWith('.')) {
      const target = join(file, '..', name);
      const allowed = [target, roomOf(target), `${type.trim()} ${roomOf(target)}`];
      if (![room, ...LEAVES, ...may].some((entry) => entry === '*' || allowed.includes(entry))) fault(instead);
    } else {
      const owner = Object.entries(PACKAGES).find(([own]) => name === own || name.startsWith(`${own}/`))?.[1];
      if (owner !== undefined && owner !== room) fault(`only src/${owner} may; ${USE_PORT}`);
      if (PURE.includes(room) && name.startsWith('node:')) fault(`src/${room} is pure; ${USE_PORT}`);
    }
  }
  const effect = PURE.includes(room) ? EFFECTS.exec(code.replace(/'[^'\n]*'/g, ''))?.[0] : undefined;
  if (effect !== undefined)
    faults.push(`src/${file} uses ${effect}: src/${room} is pure; take the value as an argument`);
  return faults;
}

test('every file of src imports only what its room may', () => {
  const files = globSync('**/*.ts', { cwd: join(projectRoot, 'src') });
  expect(files.length).toBeGreaterThan(10);
  expect(files.flatMap((file) => faultsOf(file, readFileSync(join(projectRoot, 'src', file), 'utf8')))).toEqual([]);
});

test.each([
  ['render/table.ts', "import { statSync } from 'node:fs';", 'src/render is pure'],
  ['trace/run.ts', "import {\n  createBpftrace,\n} from '../bpftrace/tracer.ts';", 'take it as a port'],
  ['trace/run.ts', 'const startedMs = Date.now();', 'take the value as an argument'],
  ['bpftrace/launch.ts', "import { createRunStore } from '../results/store.ts';", 'take it as a port'],
  ['mcp/tools/bpf-info.ts', "export { kernel } from '../../bpftrace/kernel.ts';", 'call NodeApi'],
  ['http/app.ts', "import { remoteNode } from '../cluster/remote-node.ts';", 'call NodeApi'],
  ['cli/serve.ts', "const { execa } = await import('execa');", 'only src/bpftrace may'],
  ['http/mcp.ts', "import { McpServer } from '@modelcontextprotocol/server';", 'only src/mcp may'],
  ['ids.ts', "import './config.ts';", 'a leaf knows nobody'],
  ['utils/text.ts', '', 'no row of ROOMS has "utils"'],
])('%s with %j is refused with what to do instead', (file, text, remedy) => {
  expect(faultsOf(file, text)).toEqual([expect.stringContaining(remedy)]);
});

test.each([
  ['bpftrace/kernel.ts', "import { nearest } from '../program/nearest.ts';"],
  ['http/v1.ts', "import { RunWire } from '../cluster/wire.ts';"],
  ['render/table.ts', "// unlike process.stdout\nconst text = 'process.env';"],
  ['compose.ts', "import { createApp } from './http/app.ts';"],
])('%s with %j is fine', (file, text) => {
  expect(faultsOf(file, text)).toEqual([]);
});
