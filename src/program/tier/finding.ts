import { KerntapError } from '../../errors.ts';
import { placeOf } from '../lexer.ts';
import type { Span, Tree } from '../tree.ts';

/** What the tiers look at: what the caller wrote, and how it was understood. */
export interface Checked {
  readonly source: string;
  readonly tree: Tree;
}

/** What to write instead: an imperative, and a whole program that shows it and that the same tier takes. */
export interface Remedy {
  readonly say: string;
  readonly example: string;
}

/** A place of the program that a tier does not take. */
export interface Finding {
  /** Absent for what belongs to the whole program. */
  readonly span?: Span;
  readonly construct: string;
  /** Completes "`construct` is refused: …". */
  readonly reason: string;
  readonly remedy: Remedy;
}

/** A rule of a tier is one function: it gives what it does not take. */
export type Rule = (program: Checked) => Iterable<Finding>;

export const renderRemedy = ({ say, example }: Remedy): string => `${say}: ${example}`;

/** A construct in the caller's own words, on one line. A node begins inside of the parentheses around its first part. */
export function wordsOf(source: string, span: Span | undefined, otherwise: string): string {
  if (!span) return shortened(otherwise);
  const words = source.slice(span.start, span.end);
  const { length: opened } = words.match(/\(/g) ?? [];
  const { length: closed } = words.match(/\)/g) ?? [];
  const missing = '('.repeat(Math.max(closed - opened, 0));
  return shortened(missing + words.replace(/\s+/g, ' ').trim());
}

const shortened = (words: string): string => (words.length > 60 ? `${words.slice(0, 59)}…` : words);

/** The error for what no tier takes. */
export function refusal({ source }: Checked, { span, construct, reason, remedy }: Finding): KerntapError {
  const place = span ? ` at ${placeOf(source, span.start)}` : '';
  return new KerntapError('program.refused', `\`${construct}\`${place} is refused: ${reason}.`, {
    remedy: renderRemedy(remedy),
  });
}
