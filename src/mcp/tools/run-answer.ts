import * as z from 'zod';
import type { RunAnswer } from '../../render/answer.ts';
import { renderWithin } from '../../render/fit.ts';
import { FORMS, type Format } from '../../render/index.ts';
import { renderNote } from '../../render/note.ts';
import type { Answer } from '../tool.ts';

/** The most that an answer to a run may hold: 2,000 tokens. */
export const RUN_CHARS = 8_000;
/** The most that one page of a result may hold. */
export const PAGE_CHARS = 24_000;

export const Target = z.string().max(1_024);
export const TARGET_FORMS =
  'ns/pod, ns/pod/container, ns/label=value, ns/deployment:name, container:ID, pid:N, cgroup:PATH, systemd:UNIT, ip:ADDRESS, node';
export const RunIdText = z.string().max(300);
export const RowCount = z.int().min(1).max(500);

/** An answer in the form that was asked for, as many rows as fit. */
export function answerIn(format: Format, answer: RunAnswer, maxChars: number): Answer {
  const failed = answer.refusal !== undefined;
  const form = failed && format !== 'json' ? 'table' : format;
  const { text, shown } = renderWithin(answer, FORMS[form], maxChars);
  if (form === 'table') return { text, failed };
  if (form === 'json') return { text, failed, data: JSON.parse(text) };
  return { text, note: renderNote(shown) };
}
