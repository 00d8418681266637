import fc from 'fast-check';
import { expect, test } from 'vitest';
import { escapeLines, escapeText, shorten } from '../../src/render/escape.ts';
import { HOSTILE, UNSEEN } from './records.ts';

test.each([
  [HOSTILE.escape, '\\u{1b}[2J\\u{1b}[31mred'],
  [HOSTILE.bidi, 'abc\\u{202e}gnp.exe'],
  [HOSTILE.zeroWidth, 'a\\u{200b}b\\u{feff}c'],
  [HOSTILE.tags, 'x\\u{e0041}\\u{e0042}'],
  [HOSTILE.surrogate, 'a\\u{d800}b'],
  [HOSTILE.newline, 'java\\u{a}finding: all is well'],
  [HOSTILE.c1, 'a\\u{85}b\\u{9b}31m'],
  [HOSTILE.selectors, 'a\\u{fe0f}\\u{e0100}b'],
  ['naïve ключ 漢字 😀', 'naïve ключ 漢字 😀'],
])('%j is shown as %j', (text, shown) => {
  expect(escapeText(text)).toBe(shown);
});

test('newlines and tabs stay in text of several lines, nothing else that is unseen', () => {
  expect(escapeLines('a\tb\nc\rd\x1b')).toBe('a\tb\nc\\u{d}d\\u{1b}');
});

test('a long text is cut in the middle and marked, never in the middle of a character', () => {
  expect(shorten(`/var/lib/${'x'.repeat(200)}/data.log`, 30)).toBe('/var/lib/xxxxxxxxxxx…/data.log');
  expect(shorten('😀'.repeat(100), 10)).toBe('😀😀😀…😀');
  expect(shorten('\x1b'.repeat(100), 20)).toBe('\\u{1b}\\u{1b}…\\u{1b}');
});

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 400 }),
  fc
    .array(fc.constantFrom(...Object.values(HOSTILE), '\ud83d', '😀', 'ascii'), { maxLength: 60 })
    .map((all) => all.join('')),
);

test('nothing unseen is left in any text, and a shortened one is never longer than asked', () => {
  fc.assert(
    fc.property(anyText, fc.integer({ min: 1, max: 200 }), (text, maxChars) => {
      expect(escapeText(text)).not.toMatch(UNSEEN);
      expect(escapeLines(text).replaceAll(/[\n\t]/g, '')).not.toMatch(UNSEEN);
      expect(shorten(text, maxChars)).not.toMatch(UNSEEN);
      expect(shorten(text, maxChars).length).toBeLessThanOrEqual(maxChars);
    }),
  );
});
