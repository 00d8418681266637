import * as z from 'zod';
import { OVERVIEW_ROWS, overviewOf } from '../../render/answer.ts';
import { renderCheck } from '../../render/check.ts';
import { defineTool } from '../tool.ts';
import { answerIn, RowCount, RUN_CHARS, TARGET_FORMS, Target } from './run-answer.ts';

/** Clients give up after 60 s, some hosts after 30 s. */
const WAIT_MS = 25_000;

export const execProgram = defineTool({
  name: 'exec_program',
  effect: 'traces',
  long: true,
  description:
    'Runs a bpftrace program for one pod, container or process, every probe scoped to it, and returns what it counted and printed. Aggregate in maps; printf per event loses events. No interval with exit() needed: timeout ends the run. unsafe functions are refused.',
  input: z.strictObject({
    program: z.string().describe('<= 16,384 bytes'),
    target: z.exactOptional(Target.describe(`${TARGET_FORMS}; absent: this node`)),
    timeout: z.number().min(1).max(600).default(10).describe('seconds, from attach'),
    unscoped: z.enum(['refuse', 'allow']).default('refuse').describe('probes that cannot be scoped to the target'),
    control: z.boolean().default(false).describe("count others' events, too"),
    check: z.boolean().default(false).describe('compile only, attach nothing'),
    rows: RowCount.default(10).describe('per map'),
    wait: z.boolean().default(true).describe('false: run_id once attached; so too for timeout > 25'),
    format: z.enum(['table', 'json']).default('table'),
  }),
  async handle({ program, target, unscoped, control, timeout, check, rows, wait, format }, { node, ...call }) {
    const asked = { program, unscoped, ...(target !== undefined && { target }) };
    if (check) {
      const report = await node.check(asked, call);
      const { text, data } = renderCheck(program, report);
      return {
        text: format === 'json' ? JSON.stringify(data) : text,
        failed: !report.ok,
        ...(format === 'json' && { data }),
      };
    }
    const record = await node.run(
      { ...asked, control, timeoutMs: Math.round(timeout * 1_000), waitMs: wait ? WAIT_MS : 0, rows: OVERVIEW_ROWS },
      call,
    );
    return answerIn(format, overviewOf(record, { rows, nowMs: Date.now() }), RUN_CHARS);
  },
});
