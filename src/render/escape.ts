// Everything that a terminal or a reader cannot see or that moves what is around it: control characters, format
// characters (bidi, zero-width, tags), lone surrogates, line and paragraph separators, ignorable code points.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;
const UNSEEN_BUT_LINES = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

const codePoint = (character: string): string => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;

/** The most characters of traced text in one cell of a table. */
export const CELL_CHARS = 120;

/** Makes traced text safe to show on one line: what cannot be seen becomes `\u{…}`. */
export const escapeText = (text: string): string => text.replace(UNSEEN, codePoint);

/** The same for text of several lines: newlines and tabs stay. */
export const escapeLines = (text: string): string => text.replace(UNSEEN_BUT_LINES, codePoint);

/** Escapes `text` and cuts it in the middle to `maxChars`; a cut is marked by `…`. */
export function shorten(text: string, maxChars = CELL_CHARS): string {
  if (text.length <= maxChars) {
    const whole = escapeText(text);
    if (whole.length <= maxChars) return whole;
  }
  const tailChars = Math.floor((maxChars - 1) / 3);
  const head = take([...text.slice(0, maxChars)], maxChars - 1 - tailChars);
  const tail = take([...text.slice(-maxChars)].reverse(), tailChars).reverse();
  return `${head.join('')}…${tail.join('')}`;
}

/** The first characters, escaped, that fit into `maxChars`. */
function take(characters: readonly string[], maxChars: number): string[] {
  const taken: string[] = [];
  let length = 0;
  for (const character of characters) {
    const shown = escapeText(character);
    length += shown.length;
    if (length > maxChars) break;
    taken.push(shown);
  }
  return taken;
}
