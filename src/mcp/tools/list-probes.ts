import * as z from 'zod';
import { renderProbes } from '../../render/probes.ts';
import { defineTool } from '../tool.ts';
import { PAGE_CHARS, Target } from './run-answer.ts';

export const listProbes = defineTool({
  name: 'list_probes',
  effect: 'reads',
  description:
    'Finds probes on this node and, with fields=true, their arguments (read them as args.NAME); also fields of kernel structs. Tracepoints come first.',
  input: z.strictObject({
    filter: z.string().min(1).max(300).describe("words, a glob ('tracepoint:syscalls:*open*') or 'struct sock skc_'"),
    target: z.exactOptional(Target.describe('uprobes and USDT of its binaries and libraries')),
    kind: z.exactOptional(z.string().max(40).describe('tracepoint, rawtracepoint, kprobe, …')),
    fields: z.boolean().default(false),
    limit: z.int().min(1).max(100).default(20),
    offset: z.int().min(0).max(1_000_000).default(0),
  }),
  async handle(query, { node, ...call }) {
    return { text: renderProbes(await node.probes(query, call), query, PAGE_CHARS) };
  },
});
