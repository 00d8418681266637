import { type NodeFacts, type Server, VERSION } from '../compose.ts';
import { CLIENTS, type ClientWay, clientSettings, TOKEN_VARIABLE } from './client-settings.ts';
import type { Terminal } from './terminal.ts';

/** What `kerntap serve` prints once it listens: where, and how each client is told. */
export function renderBanner(
  terminal: Terminal,
  { urls, dataDir }: Pick<Server, 'urls' | 'dataDir'>,
  tokenFile: string | undefined,
): string {
  const bold = (text: string) => terminal.style('bold', text);
  const dim = (text: string) => terminal.style('dim', text);
  const way: ClientWay = { kind: 'http', url: urls.mcp, ...(tokenFile !== undefined && { token: '' }) };
  // Claude Desktop starts its servers itself.
  const clients = CLIENTS.filter((client) => client !== 'claude-desktop').flatMap((client) => {
    const { title, text, file } = clientSettings(client, way);
    const isJson = text.startsWith('{');
    return [`${bold(title)}${isJson ? dim(` ${file}`) : ''}`, indent(isJson ? compact(text) : text), ''];
  });
  return [
    `${bold('kerntap')} ${VERSION} is listening`,
    `  MCP     ${terminal.style('cyan', urls.mcp)}`,
    `  HTTP    ${urls.v1}/openapi.json`,
    `  health  ${urls.health}/readyz`,
    `  data    ${dataDir}`,
    '',
    ...clients,
    ...(tokenFile === undefined ? [] : [`${TOKEN_VARIABLE} has to hold a token of ${tokenFile} where a client runs.`]),
    dim('More clients, and files written for you: kerntap setup CLIENT [--write]. Ctrl-C ends the server.'),
  ].join('\n');
}

/** What this node can do, in a few lines. */
export function renderAbilities(
  terminal: Terminal,
  facts: NodeFacts,
  tracefs: 'present' | 'mounted' | 'absent',
): string {
  const { kernel, btf, bpftrace, sandbox, probeKinds } = facts;
  const kinds = (available: boolean) =>
    probeKinds.filter((kind) => kind.available === available).map(({ kind }) => kind);
  const notHere = kinds(false);
  const rows = [
    ['kernel', `${kernel.release} ${kernel.arch}, ${btf ? 'BTF' : 'no BTF: struct fields are unknown'}`],
    ['bpftrace', `${bpftrace.version}${bpftrace.bundled ? ' (from .cache)' : ''}`],
    ['probes', kinds(true).join(' ') || 'none attach'],
    ...(notHere.length > 0 ? [['not here', `${notHere.join(' ')} (kerntap check tells why)`]] : []),
    ['sandbox', sandbox.state === 'full' ? 'full' : `without ${sandbox.missing.join('; ')}`],
    ...(tracefs === 'mounted' ? [['tracefs', 'was missing and has been mounted']] : []),
    ...(tracefs === 'absent' ? [['tracefs', 'missing: tracepoints cannot be listed or traced']] : []),
  ];
  const lines = rows.map(([name = '', value]) => `  ${terminal.style('dim', name.padEnd(8))}  ${value}`);
  return ['', terminal.style('bold', 'This node'), ...lines].join('\n');
}

const WIDTH = 96;

/** JSON on one line where it fits. */
function compact(json: string): string {
  const line = JSON.stringify(JSON.parse(json), null, 1).replace(/\n\s*/g, ' ');
  return line.length <= WIDTH ? line : json.trimEnd();
}

const indent = (text: string): string => text.replace(/^/gm, '  ');
