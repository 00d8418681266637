import type { RunAnswer } from './answer.ts';
import { renderCsv } from './csv.ts';
import { renderFolded } from './folded.ts';
import { renderJson } from './json.ts';
import { renderRaw } from './raw.ts';
import { renderTable } from './table.ts';

/** Every form of an answer; a name here is a value of `format`. */
export const FORMS = {
  table: renderTable,
  json: renderJson,
  csv: renderCsv,
  folded: renderFolded,
  raw: renderRaw,
} as const satisfies Readonly<Record<string, (answer: RunAnswer) => string>>;

export type Format = keyof typeof FORMS;

export const FORMATS = Object.keys(FORMS) as readonly Format[];
