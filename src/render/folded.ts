import { toText, type Value } from '../trace/value.ts';
import type { RunAnswer } from './answer.ts';
import { escapeText } from './escape.ts';
import { functionOf, type KeyPart, parseStacks } from './stack.ts';

/**
 * The first section as folded stacks, `outermost;…;innermost count` a line, largest first: what flame graph tools read.
 * Offsets are stripped and equal stacks summed. Other parts of a key come before the stack, as frames.
 */
export function renderFolded({ sections: [section] }: RunAnswer): string {
  if (section === undefined) return '';
  const sums = new Map<string, bigint>();
  for (const row of section.rows) {
    const key = row.slice(0, -1);
    const parts = key.flatMap((cell) => parseStacks(cell) ?? [toText(cell)]);
    const frames = [...parts.filter((part) => typeof part === 'string'), ...parts.flatMap(outermostFirst)];
    const stack = frames.map(frameText).join(';') || '-';
    sums.set(stack, (sums.get(stack) ?? 0n) + countOf(row.at(-1)));
  }
  return [...sums]
    .sort(([, a], [, b]) => (a < b ? 1 : a > b ? -1 : 0))
    .map(([stack, count]) => `${stack} ${count}\n`)
    .join('');
}

const outermostFirst = (part: KeyPart): readonly string[] =>
  typeof part === 'string' ? [] : part.map(functionOf).reverse();

// `;` ends a frame and a space would be read as the begin of the count.
const frameText = (text: string): string => escapeText(text).replaceAll(';', ':').replaceAll(' ', '_') || '-';

const countOf = (value: Value | undefined): bigint =>
  typeof value === 'bigint' ? value : typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : 1n;
