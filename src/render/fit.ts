import type { Value } from '../trace/value.ts';
import { isRecord } from '../trace/value.ts';
import type { RunAnswer } from './answer.ts';

/** What an answer may hold. */
interface Room {
  readonly rows: number;
  readonly sections: number;
  readonly cellChars: number;
}

const ALL: Room = { rows: Infinity, sections: Infinity, cellChars: Infinity };

const NOTHING: Room = { rows: 0, sections: 0, cellChars: 0 };

// Tried in turn when one row a section is still too much.
const TIGHT: readonly Room[] = [
  { rows: 1, sections: 8, cellChars: 1_024 },
  { rows: 1, sections: 4, cellChars: 300 },
  { rows: 1, sections: 1, cellChars: 300 },
  NOTHING,
];

/** Renders as many rows of each section as fit into `maxChars`; `shown` is the answer with those rows alone. */
export function renderWithin(
  answer: RunAnswer,
  render: (answer: RunAnswer) => string,
  maxChars: number,
): { readonly text: string; readonly shown: RunAnswer } {
  const attempt = (room: Room) => {
    const shown = cut(answer, room);
    const text = render(shown);
    return { text, shown, fits: text.length <= maxChars };
  };
  // Rows are added by doubling, because one render of all could be a hundred times what fits.
  const most = Math.max(1, ...answer.sections.map(({ rows }) => rows.length));
  let [fits, tooMany] = [0, 1];
  while (tooMany < most && attempt({ ...ALL, rows: tooMany }).fits) [fits, tooMany] = [tooMany, tooMany * 2];
  if (tooMany >= most) {
    const whole = attempt(ALL);
    if (whole.fits) return whole;
    tooMany = most;
  }
  while (fits + 1 < tooMany) {
    const middle = Math.floor((fits + tooMany) / 2);
    if (attempt({ ...ALL, rows: middle }).fits) fits = middle;
    else tooMany = middle;
  }
  if (fits > 0) return attempt({ ...ALL, rows: fits });

  for (const room of TIGHT) {
    const tried = attempt(room);
    if (tried.fits) return tried;
  }
  const { text, shown } = attempt(NOTHING);
  return { text: text.slice(0, maxChars), shown };
}

function cut(answer: RunAnswer, { rows, sections, cellChars }: Room): RunAnswer {
  return {
    ...answer,
    sections: answer.sections.slice(0, sections).map((section) => ({
      ...section,
      rows: section.rows.slice(0, rows).map((row) => row.map((cell) => cutValue(cell, cellChars))),
    })),
    elsewhere: [...answer.sections.slice(sections), ...answer.elsewhere],
  };
}

function cutValue(value: Value, maxChars: number): Value {
  if (maxChars === Infinity) return value;
  if (typeof value === 'string') return value.length <= maxChars ? value : `${value.slice(0, maxChars - 1)}…`;
  if (typeof value !== 'object' || value === null) return value;
  const most = Math.ceil(maxChars / 40);
  const each = Math.ceil(maxChars / most);
  if (isRecord(value))
    return { record: value.record.slice(0, most).map(([name, item]) => [name, cutValue(item, each)]) };
  return value.slice(0, most).map((item) => cutValue(item, each));
}
