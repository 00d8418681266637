import { nextCalls, type RunAnswer } from './answer.ts';
import { accountLine, lostInShort } from './sentences.ts';
import { extent } from './table.ts';

/** What must be said beside a form that holds nothing but data: how much of it there is, the verdict, the account. */
export function renderNote(answer: RunAnswer): string {
  const parts = answer.sections.map((section) => `${section.name}: ${extent(section)}`).slice(0, 10);
  const next = nextCalls(answer);
  return [
    `run ${answer.run.id}, ${answer.verdict}, ${lostInShort(answer.account)}${parts.length > 0 ? `; ${parts.join(', ')}` : ''}`,
    `account: ${accountLine(answer.account)}`,
    ...(next.length > 0 ? [`next: ${next.join(' | ')}`] : []),
  ].join('\n');
}
