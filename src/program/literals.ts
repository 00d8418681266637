/**
 * What the escapes of a string stand for (bpftrace src/parser.cpp, `consume_string`). A byte above 0x7f that was escaped
 * becomes half of a surrogate pair, U+DC80 to U+DCFF, which no well-formed text holds, so that `"\xe9"` is not `"é"`.
 */
export function unescapeString(inner: string, refuse: (what: string, offset: number) => Error): string {
  return inner.replace(ESCAPE, (written, octal: string | undefined, hex: string | undefined, offset: number) => {
    const plain = PLAIN.get(written);
    if (plain !== undefined) return plain;
    const byte = octal === undefined ? Number.parseInt(hex ?? '', 16) : Number.parseInt(octal, 8);
    if (!(byte <= 0xff)) throw refuse(written, offset);
    return String.fromCharCode(byte < 0x80 ? byte : ESCAPED_BYTES + byte);
  });
}

const ESCAPE = /\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|[\s\S])/gu;

const PLAIN: ReadonlyMap<string, string> = new Map([
  ['\\n', '\n'],
  ['\\t', '\t'],
  ['\\r', '\r'],
  ['\\"', '"'],
  ['\\\\', '\\'],
]);

const ESCAPED_BYTES = 0xdc00;

/** A string literal that stands for `value`, on one line, with two digits for each byte that is escaped. */
export const escapeString = (value: string): string => {
  return `"${value.replace(/[\x00-\x1f"\\\x7f\udc80-\udcff]/gu, (character) => {
    const named = NAMED.get(character);
    return named ?? `\\x${(character.charCodeAt(0) & 0xff).toString(16).padStart(2, '0')}`;
  })}"`;
};

const NAMED: ReadonlyMap<string, string> = new Map([...PLAIN].map(([written, character]) => [character, written]));

/** What a suffix multiplies with, and the largest number that may stand before it. */
const SUFFIXES: ReadonlyMap<string, { readonly unit: bigint; readonly max: bigint }> = new Map(
  (
    [
      ['', 1n, 64n],
      ['u', 1n, 32n],
      ['l', 1n, 63n],
      ['ul', 1n, 64n],
      ['ll', 1n, 63n],
      ['ull', 1n, 64n],
      ['ns', 1n, 64n],
      ['us', 1_000n, 64n],
      ['ms', 1_000_000n, 64n],
      ['s', 1_000_000_000n, 64n],
      ['m', 60_000_000_000n, 64n],
      ['h', 3_600_000_000_000n, 64n],
      ['d', 86_400_000_000_000n, 64n],
    ] as const
  ).map(([suffix, unit, bits]) => [suffix, { unit, max: (2n ** bits - 1n) / unit }]),
);

const HEX = /^0[xX][\da-fA-F_]*[\da-fA-F]$/;
const DECIMAL = /^(\d(?:[\d_]*\d)?)(?:[eE]_*([1-9](?:[\d_]*\d)?))?([a-z]*)$/;

/**
 * What a number literal stands for, such as `0x1F`, `017`, `1_000`, `1e6`, `5ms`, `1ull`; undefined for what bpftrace 0.27
 * does not read (its src/util/int_parser.cpp).
 */
export function numberOf(text: string): bigint | undefined {
  if (HEX.test(text)) {
    const value = BigInt(text.replaceAll('_', ''));
    return value < 2n ** 64n ? value : undefined;
  }
  const found = DECIMAL.exec(text);
  if (!found) return undefined;
  const [digits = '', exponent = '0', end = ''] = found.slice(1).map((part) => part?.replaceAll('_', ''));
  const suffix = SUFFIXES.get(end);
  if (!suffix || (/^0\d/.test(digits) && !/^[0-7]+$/.test(digits))) return undefined;
  const mantissa = BigInt(digits.replace(/^0(?=\d)/, '0o'));
  const power = Number(exponent);
  if (power > 0 && !(mantissa >= 1n && mantissa <= 9n && power < 20)) return undefined;
  const value = mantissa * 10n ** BigInt(power);
  return value <= suffix.max ? value * suffix.unit : undefined;
}
