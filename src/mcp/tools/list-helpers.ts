import * as z from 'zod';
import { renderHelpers } from '../../render/helpers.ts';
import { defineTool } from '../tool.ts';

export const listHelpers = defineTool({
  name: 'list_helpers',
  effect: 'reads',
  description:
    'bpftrace functions and builtins that work here, a line each; with an exact name as filter: signature, example, traps.',
  input: z.strictObject({ filter: z.string().max(100).default('') }),
  async handle({ filter }, { node, helpers, ...call }) {
    return { text: renderHelpers(helpers, filter, await node.describe(false, call)) };
  },
});
