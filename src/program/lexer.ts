import { KerntapError } from '../errors.ts';

/** A place in the caller's text; line and column count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/**
 * `variable` is `$x`, `map` is `@x`, `positional` is `$1` or `$#`, `directive` a line that begins with `#`, `attach_point`
 * one of a probe's list, such as `uprobe:/bin/bash:readline`. `end` is behind the last character.
 */
export type TokenKind =
  | 'word'
  | 'number'
  | 'string'
  | 'variable'
  | 'map'
  | 'positional'
  | 'punctuation'
  | 'directive'
  | 'attach_point'
  | 'end';

/** A piece of a program; `start` and `end` are offsets into its text. */
export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** The place of an offset, in characters. */
export function positionAt(source: string, offset: number): Position {
  const before = source.slice(0, offset).split('\n');
  return { line: before.length, column: [...(before.at(-1) ?? '')].length + 1 };
}

/** How a place is named in a sentence. */
export function placeOf(source: string, offset: number): string {
  const { line, column } = positionAt(source, offset);
  return `line ${line}, column ${column}`;
}

// Operators are as long as they can be, as in bpftrace's src/parser.cpp.
const TOKEN =
  /[A-Za-z_]\w*|\d\w*|"(?:[^"\\\n]|\\[^\n])*"|\$(?:[A-Za-z_]\w*|\d+|#)|@(?:[A-Za-z_]\w*)?|#[^\n]*|<<=|>>=|\+\+|--|->|\.\.|&&|\|\||<<|>>|[=!<>+\-*/%&|^]=|[\s\S]/uy;

function kindOf(text: string): TokenKind {
  const first = text.charCodeAt(0);
  if ((first >= 97 && first <= 122) || (first >= 65 && first <= 90) || first === 95) return 'word';
  if (first >= 48 && first <= 57) return 'number';
  switch (text[0]) {
    case '"':
      return 'string';
    case '@':
      return 'map';
    case '#':
      return 'directive';
    case '$':
      return text === '$' ? 'punctuation' : /^\$[\d#]/.test(text) ? 'positional' : 'variable';
    default:
      return 'punctuation';
  }
}

/** Reads the token at `offset`, after blanks and comments. Throws `program.unterminated`. */
export function readToken(source: string, offset: number): Token {
  const start = skipLayout(source, offset);
  TOKEN.lastIndex = start;
  const text = TOKEN.exec(source)?.[0];
  if (text === undefined) return { kind: 'end', text: '', start, end: start };
  if (text === '"') throw unterminated('string', source, start);
  return { kind: kindOf(text), text, start, end: start + text.length };
}

// Form feeds are none: bpftrace stops at them.
const BLANKS = /[ \t\n\r]+/y;

function skipLayout(source: string, offset: number): number {
  let at = offset;
  for (;;) {
    BLANKS.lastIndex = at;
    if (BLANKS.test(source)) at = BLANKS.lastIndex;
    else if (source.startsWith('//', at)) at = endOf(source, '\n', at) ?? source.length;
    else if (source.startsWith('/*', at)) {
      const close = endOf(source, '*/', at + 2);
      if (close === undefined) throw unterminated('comment', source, at);
      at = close;
    } else return at;
  }
}

function endOf(source: string, text: string, from: number): number | undefined {
  const at = source.indexOf(text, from);
  return at === -1 ? undefined : at + text.length;
}

/**
 * Reads the attach point at `offset`, after blanks and comments, as far as bpftrace's own parser takes it: to a blank, a
 * comma or a brace; `/` belongs to it once a colon was there, for a path. Its text may be empty.
 */
export function readAttachPoint(source: string, offset: number): Token {
  const start = skipLayout(source, offset);
  let end = start;
  for (let colon = false; ; ) {
    const next = source[end];
    if (next === undefined || /[\s,{]/.test(next)) break;
    if (next === '/' && end > start && !colon && !/[/*]/.test(source[end + 1] ?? '')) break;
    if (next === ':') colon = true;
    end = next === '"' ? readToken(source, end).end : end + 1;
  }
  return { kind: 'attach_point', text: source.slice(start, end), start, end };
}

export const unterminated = (what: string, source: string, offset: number): KerntapError =>
  new KerntapError('program.unterminated', `The ${what} that begins at ${placeOf(source, offset)} is not closed.`);
