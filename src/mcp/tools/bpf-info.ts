import * as z from 'zod';
import { renderFacts } from '../../render/facts.ts';
import { defineTool } from '../tool.ts';

export const bpfInfo = defineTool({
  name: 'bpf_info',
  effect: 'reads',
  description:
    'What this node can trace: kernel, bpftrace, the probe kinds that really attach, limits, free slots. Ask it first, or when a program fails to attach.',
  input: z.strictObject({ refresh: z.boolean().default(false).describe('try each probe kind again, some seconds') }),
  async handle({ refresh }, { node, ...call }) {
    return { text: renderFacts(await node.describe(refresh, call)) };
  },
});
