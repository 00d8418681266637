import * as z from 'zod';
import { KerntapError } from '../../errors.ts';
import { filledSections, OVERVIEW_ROWS, overviewOf, pageOf, programOf } from '../../render/answer.ts';
import { FORMATS, type Format } from '../../render/index.ts';
import { parseStacks } from '../../render/stack.ts';
import type { RunRecord, Section } from '../../trace/ports.ts';
import { defineTool } from '../tool.ts';
import { answerIn, PAGE_CHARS, RowCount, RunIdText } from './run-answer.ts';

const LIMIT = 50;

export const getResult = defineTool({
  name: 'get_result',
  effect: 'reads',
  long: true,
  description:
    'Reads a run, or waits for one that is not over. Without section: a histogram or statistics before counts; the others are named. folded: stacks for a flame graph; raw: what was printed.',
  input: z.strictObject({
    run_id: z.exactOptional(RunIdText),
    execution_id: z.exactOptional(RunIdText.describe('same as run_id')),
    wait: z.number().min(0).max(25).default(0).describe('seconds'),
    section: z.exactOptional(z.string().max(300).describe('@map, events, or program: its text')),
    filter: z.exactOptional(z.string().max(300).describe('part of any cell')),
    sort: z.exactOptional(z.string().max(300).describe('column, or -column')),
    offset: z.int().min(0).max(1_000_000_000).default(0),
    limit: RowCount.default(LIMIT),
    format: z.enum(FORMATS).default('table'),
  }),
  async handle({ run_id, execution_id, wait, section, filter, sort, offset, limit, format }, { node, ...call }) {
    const id = run_id ?? execution_id;
    if (id === undefined) throw new KerntapError('argument.invalid', 'run_id is missing.', { remedy: ID_REMEDY });

    const whole = await node.result(id, { waitMs: Math.round(wait * 1_000), offset: 0, limit: 1 }, call);
    const nowMs = Date.now();
    if (section === 'program') return answerIn(format, programOf(whole, nowMs), PAGE_CHARS);
    const chosen = section ?? preferred(whole, format)?.name;
    if (chosen === undefined) return answerIn(format, overviewOf(whole, { rows: limit, nowMs }), PAGE_CHARS);

    const words = { ...(filter !== undefined && { filter }), ...(sort !== undefined && { sort }) };
    const named = { section: chosen, ...words };
    const again = { ...words, ...(limit !== LIMIT && { limit }), ...(format !== 'table' && { format }) };
    const page = { others: whole.sections, offset, nowMs, again };
    const isHistogram = whole.sections.some(({ name, type }) => name === chosen && type === 'hist');
    if (isHistogram && section === undefined && offset === 0 && sort === undefined && isShown(format)) {
      const record = await node.result(id, { waitMs: 0, offset: 0, limit: OVERVIEW_ROWS, ...named }, call);
      const { sections } = overviewOf(record, { rows: limit, nowMs });
      return answerIn(format, { ...pageOf(record, page), sections }, PAGE_CHARS);
    }
    // What was printed has an order over all sections only as bpftrace wrote it: events, then maps.
    const query = format === 'raw' && section === undefined ? words : named;
    const record = await node.result(id, { waitMs: 0, offset, limit, ...query }, call);
    return answerIn(format, pageOf(record, page), PAGE_CHARS);
  },
});

const ID_REMEDY = 'pass the run_id of an earlier answer; manage_runs(action="list") names your runs';

const isShown = (format: Format) => format === 'table' || format === 'json';

/**
 * The section that a call means which names none. For folded stacks the first with a stack; else what was aggregated
 * before what was counted, that before a map that only remembers (`@start[tid] = nsecs`), what was printed last.
 */
function preferred({ sections, source }: RunRecord, format: Format): Section | undefined {
  const filled = filledSections(sections);
  const stacks = filled.find(({ rows }) => rows[0]?.some((cell) => parseStacks(cell) !== undefined));
  const counting = new Set(Array.from(source.matchAll(COUNTS), ([, name]) => name));
  const rank = ({ name, type }: Section) => (type === 'events' ? 3 : type !== 'map' ? 0 : counting.has(name) ? 1 : 2);
  const ranked = filled.toSorted((a, b) => rank(a) - rank(b) || (a.type === 'map' ? b.total - a.total : 0));
  return (format === 'folded' ? stacks : undefined) ?? ranked[0];
}

const COUNTS = /(@\w*)(?:\[[^;\n]{0,300}?\])?\s{0,9}(?:\+\+|\+=|=\s{0,9}(?:count|sum|min|max)\()/g;
