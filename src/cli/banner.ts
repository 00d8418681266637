import type { NodeFacts } from '../compose.ts';
import { CLIENTS, type ClientWay, clientSettings } from './client-settings.ts';
import type { Terminal } from './terminal.ts';

/** What `kerntap serve` prints once it listens: where, and how each client is told. */
export function renderBanner(
  terminal: Terminal,
  urls: { mcp: string; v1: string; health: string },
  way: ClientWay,
): string {
  const bold = (text: string) => terminal.style('bold', text);
  const dim = (text: string) => terminal.style('dim', text);
  const lines = [
    `${bold('kerntap')} is listening`,
    `  MCP     ${terminal.style('cyan', urls.mcp)}`,
    `  HTTP    ${urls.v1}/openapi.json`,
    `  health  ${urls.health}/readyz`,
    '',
  ];
  for (const client of CLIENTS) {
    const { title, text, file } = clientSettings(client, way);
    if (client === 'claude-desktop') continue; // it starts its servers itself: `kerntap setup claude-desktop`
    lines.push(`${bold(title)}${file && !text.startsWith('claude ') ? dim(`  ${file}`) : ''}`, indent(text), '');
  }
  lines.push(dim('More clients, and writing the settings for you: kerntap setup CLIENT [--write]'));
  return lines.join('\n');
}

/** What this node can do, in a few lines. */
export function renderAbilities(
  terminal: Terminal,
  facts: NodeFacts,
  tracefs: 'present' | 'mounted' | 'absent',
): string {
  const yes = facts.probeKinds.filter(({ available }) => available).map(({ kind }) => kind);
  const no = facts.probeKinds.filter(({ available }) => !available).map(({ kind }) => kind);
  const rows = [
    [
      'kernel',
      `${facts.kernel.release} ${facts.kernel.arch}, ${facts.btf ? 'BTF' : 'no BTF: struct fields are unknown'}`,
    ],
    ['bpftrace', `${facts.bpftrace.version}${facts.bpftrace.bundled ? ' (from .cache)' : ''}`],
    ['probes', yes.join(' ')],
    ...(no.length > 0 ? [['not here', no.join(' ')]] : []),
    ['sandbox', [facts.sandbox.state, ...facts.sandbox.missing].join('; ')],
    ...(tracefs === 'mounted' ? [['tracefs', 'was missing and has been mounted']] : []),
    ...(tracefs === 'absent' ? [['tracefs', 'missing: tracepoints cannot be listed or traced']] : []),
  ];
  return rows.map(([name = '', value]) => `  ${terminal.style('dim', name.padEnd(8))}  ${value}`).join('\n');
}

const indent = (text: string): string => text.replace(/^/gm, '  ');
