/** One part of a mangled name: `3foo`, `St`, or a constructor or destructor at the end (Itanium C++ ABI, 5.1). */
const PART = /(\d{1,4})|(St)|([CD])[0-5](?=E)/y;

/** What legacy Rust names write for what an assembler's name cannot hold. */
const RUST: Readonly<Record<string, string>> = {
  LT: '<',
  GT: '>',
  LP: '(',
  RP: ')',
  RF: '&',
  BP: '*',
  SP: '@',
  C: ',',
};

/**
 * The name of a C++ or Rust function with its scopes, without what it takes, as its author wrote it. Undefined for what is
 * not mangled, and for what has templates or operators in it.
 */
export function demangle(symbol: string): string | undefined {
  const start = /^_Z(N[rVK]*)?/.exec(symbol);
  if (start === null) return undefined;
  const names: string[] = [];
  let at = start[0].length;
  do {
    PART.lastIndex = at;
    const [text = '', length, std, special] = PART.exec(symbol) ?? [];
    at += text.length;
    if (length !== undefined) {
      names.push(symbol.slice(at, at + Number(length)));
      at += Number(length);
    } else if (std !== undefined) names.push('std');
    else if (special !== undefined) names.push(`${special === 'D' ? '~' : ''}${names.at(-1)}`);
    else return undefined;
  } while (start[1] !== undefined && at < symbol.length && symbol[at] !== 'E');
  if (at > symbol.length || (start[1] === undefined && symbol[at] === 'I')) return undefined;
  return unescaped(names);
}

/** Without the hash at the end of a Rust name, and with its own characters. */
function unescaped(names: readonly string[]): string {
  const isRust = /^h[0-9a-f]{16}$/.test(names.at(-1) ?? '');
  if (!isRust) return names.join('::');
  return names
    .slice(0, -1)
    .map((name) =>
      name
        .replace(/^_(?=\$)/, '')
        .replace(/\$(?:u([0-9a-f]{2})|([A-Z]{1,2}))\$/g, (_, hex?: string, word?: string) =>
          hex === undefined ? (RUST[word ?? ''] ?? '') : String.fromCharCode(Number.parseInt(hex, 16)),
        )
        .replaceAll('..', '::'),
    )
    .join('::');
}
