import * as z from 'zod';
import { renderTargets } from '../../render/targets.ts';
import { defineTool } from '../tool.ts';
import { PAGE_CHARS } from './run-answer.ts';

export const listTargets = defineTool({
  name: 'list_targets',
  effect: 'reads',
  description:
    'Finds what can be traced on this node: pods, containers, deployments and other workloads, systemd services. A row\'s selector is what other tools take as "target".',
  input: z.strictObject({
    query: z.exactOptional(z.string().max(300).describe('words of a name, image, label (app=web) or address')),
    namespace: z.exactOptional(z.string().max(253)),
    node: z.exactOptional(z.string().max(253)),
    kind: z.exactOptional(z.enum(['pod', 'container', 'workload', 'process', 'cgroup', 'systemd', 'node'])),
    limit: z.int().min(1).max(200).default(20),
  }),
  async handle(filter, { node, ...call }) {
    return { text: renderTargets(await node.targets(filter, call), filter, PAGE_CHARS, Date.now()) };
  },
});
