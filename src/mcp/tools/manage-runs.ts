import * as z from 'zod';
import { KerntapError } from '../../errors.ts';
import { OVERVIEW_ROWS, overviewOf } from '../../render/answer.ts';
import { READ_RUNS, renderChange, renderRuns } from '../../render/runs.ts';
import { defineTool } from '../tool.ts';
import { answerIn, RUN_CHARS, RunIdText } from './run-answer.ts';

export const manageRuns = defineTool({
  name: 'manage_runs',
  effect: 'stops',
  long: true,
  description:
    'Lists your runs, stops one (answers what it collected), keeps it past its expiry, renames or deletes it. Kept runs count in the quota.',
  input: z.strictObject({
    action: z.enum(['list', 'stop', 'keep', 'rename', 'delete']),
    run_id: z.exactOptional(RunIdText),
    name: z.exactOptional(z.string().min(1).max(64).describe('for rename')),
  }),
  async handle({ action, run_id, name }, { node, ...call }) {
    if (action === 'list') return { text: renderRuns(await node.runs({ limit: READ_RUNS }, call), Date.now()) };
    if (run_id === undefined) throw missing(action, 'run_id');
    switch (action) {
      case 'stop': {
        await node.stop(run_id, call);
        const record = await node.result(run_id, { waitMs: 0, offset: 0, limit: OVERVIEW_ROWS }, call);
        return answerIn('table', overviewOf(record, { rows: 10, nowMs: Date.now() }), RUN_CHARS);
      }
      case 'rename':
        if (name === undefined) throw missing(action, 'name');
        return { text: renderChange(await node.change(run_id, { action, name }, call), action) };
      case 'keep':
      case 'delete':
        return { text: renderChange(await node.change(run_id, { action }, call), action) };
    }
  },
});

const missing = (action: string, argument: string) =>
  new KerntapError('argument.invalid', `${argument} is missing: action "${action}" needs it.`, {
    remedy: `call again with ${argument}; manage_runs(action="list") names your runs`,
  });
