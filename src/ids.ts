import { randomUUID } from 'node:crypto';

/** Names one run on one node, `<node>.<uuid>`: a gateway routes by it and keeps no table. */
export type RunId = string & { readonly brand: 'RunId' };

/** Makes a new id for a run on `node`. */
export const newRunId = (node: string): RunId => `${node}.${randomUUID()}` as RunId;

const RUN_ID = /^([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/** Reads an id that a caller sent; undefined when the text cannot be one. */
export function parseRunId(text: string): { id: RunId; node: string } | undefined {
  const match = RUN_ID.exec(text);
  return match?.[1] === undefined ? undefined : { id: text as RunId, node: match[1] };
}

/** Makes a host name fit to stand in a run id: lower case, letters, digits, dots and dashes, at most 253 characters. */
export function nodeNameOf(hostname: string): string {
  const name = hostname
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .slice(0, 253)
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '');
  return name === '' ? 'node' : name;
}
