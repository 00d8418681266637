import { composeNode, createRemoteNode, type NodeApi } from '../compose.ts';
import type { CommandLine, OptionName, OwnFlag } from '../config.ts';
import { KerntapError } from '../errors.ts';

/** What a command takes that asks a node: the options of this machine's own, and the address of another. */
export const NODE_OPTIONS: readonly OptionName[] = [
  'data-dir',
  'node-name',
  'host-root',
  'cri-sockets',
  'docker-socket',
  'bpftrace',
  'watchdog',
];
export const SERVER_FLAG: Readonly<Record<string, OwnFlag>> = {
  server: { value: 'URL', help: 'ask the node of that kerntap; KERNTAP_TOKEN holds the token' },
};

/** The node of `--server`, else this machine. */
export async function nodeOf(
  { given, config }: CommandLine,
  hurry: AbortSignal,
): Promise<{ node: NodeApi } & AsyncDisposable> {
  if (given.server !== undefined) {
    const token = process.env.KERNTAP_TOKEN;
    const node = createRemoteNode({ url: serverOf(given.server), ...(token !== undefined && { token }) });
    return { node, [Symbol.asyncDispose]: async () => {} };
  }
  const local = await composeNode({ ...config, spare: 'off' }, () => {});
  return { node: local.node, [Symbol.asyncDispose]: () => local.close(hurry) };
}

function serverOf(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return text.replace(/\/(?:mcp|v1)\/?$/, '');
  throw new KerntapError(
    'start.option',
    `--server is ${JSON.stringify(text)}: must be a URL, such as http://127.0.0.1:7337.`,
  );
}
