import { KerntapError } from '../errors.ts';
import { placeOf, readToken, type Token } from './lexer.ts';

/** Functions that do more than observe, each with what it would do. bpftrace refuses some of them itself, less clearly. */
const REFUSED_CALLS: ReadonlyMap<string, string> = new Map([
  ['cat', 'reads files of the server'],
  ['cgroupid', 'reads paths of the server'],
  ['skboutput', 'writes files on the server'],
  ['system', 'runs commands'],
  ['signal', 'sends signals'],
  ['signal_thread', 'sends signals'],
  ['override', 'changes what kernel functions return'],
  ['write_user', 'writes into the memory of traced processes'],
  ['bpf_send_signal_task', 'sends signals'], // a kernel function: newer kernels let programs call it
]);

/** Attach points with a path. In any other, bpftrace versions differ on what a slash begins. */
const WITH_PATH = /^(?:u|ur|U|uprobe|uretprobe|usdt):/;

/** One function a rule: each says why a token is refused, or nothing. */
const RULES: readonly ((token: Token, source: string) => string | undefined)[] = [
  ({ kind }) => (kind === 'directive' ? 'preprocessor lines read files of the server' : undefined),
  // The same character for clang, which reads struct definitions.
  ({ text, end }, source) => (text === '%' && source[end] === ':' ? 'it stands for # in C' : undefined),
  ({ kind, text }) =>
    kind === 'word' && text === 'import' ? 'it runs other files with functions of their own' : undefined,
  ({ kind, text, end }, source) => {
    const what = kind === 'word' ? REFUSED_CALLS.get(text) : undefined;
    return what !== undefined && readToken(source, end).text === '(' ? `it ${what}` : undefined;
  },
  // Many a builtin, such as uid, brings a C file along, and then __signal_process() of that file needs no --unsafe.
  ({ kind, text, end }, source) =>
    kind === 'word' && text.startsWith('__') && text !== '__attribute__' && readToken(source, end).text === '('
      ? "such functions are for bpftrace's own library"
      : undefined,
  ({ kind, text }) =>
    /^[@$]__/.test(text) && (kind === 'map' || kind === 'variable') ? 'such names belong to kerntap' : undefined,
  ({ kind, text }) =>
    kind === 'punctuation' && (text === "'" || text === '\\') ? 'bpftrace has no use for it here' : undefined,
  ({ kind, text }) =>
    kind === 'attach_point' && text.includes('/') && !WITH_PATH.test(text)
      ? 'a comment or predicate needs a blank before it, and only uprobes and usdt have a path'
      : undefined,
  ({ kind, text }) =>
    kind === 'attach_point' && /[#'\\]|%:/.test(text) ? "an attach point holds no #, ', \\ or %:" : undefined,
  ({ kind, text }) =>
    kind === 'attach_point' && /^self:/i.test(text) ? 'the signal probe is how kerntap ends a run' : undefined,
];

/** What a config block may say. The rest are limits, which the environment sets, or would keep maps from being printed. */
const CONFIG_KEYS = ['stack_mode', 'missing_probes', 'str_trunc_trailer'];

/** Refuses every key of a config block but those that change neither limits nor what is printed. */
export function refuseConfig(source: string, start: number, end: number): void {
  for (let at = readToken(source, start).end; at < end; ) {
    const { kind, text, start: from, end: next } = readToken(source, at);
    const isKey = kind === 'word' && readToken(source, next).text === '=';
    if (isKey && !CONFIG_KEYS.includes(text))
      throw refused(text, source, from, `a config block may set ${CONFIG_KEYS.join(', ')}`);
    at = next;
  }
}

/** A declaration beats the limit of the environment, and the kernel reserves all of a map at once, outside of our limits. */
const MAX_DECLARED_KEYS = 10_000;

/** Refuses a map declaration, `let @a = hash(5)`, whose size at `at` is too large or no plain number. */
export function refuseMapSize(source: string, at: number): void {
  const size = readToken(source, at);
  const isPlain = size.kind === 'number' && readToken(source, size.end).text === ')';
  const keys = Number(size.text.replaceAll('_', ''));
  if (!isPlain || !(keys <= MAX_DECLARED_KEYS))
    throw refused(
      size.text,
      source,
      size.start,
      `a map may be declared with at most ${MAX_DECLARED_KEYS} keys, as a plain number`,
    );
}

/** The error for a token that no program may hold; undefined for all others. */
export function refusalOf(token: Token, source: string): KerntapError | undefined {
  for (const rule of RULES) {
    const reason = rule(token, source);
    if (reason !== undefined) return refused(nameOf(token), source, token.start, reason);
  }
  return undefined;
}

/**
 * Refuses a struct, union or enum definition that clang could read in another way than the lexer does. clang gets its text
 * as it is, and with it anything that could become an `#include`: a comment or a literal that only one of the two sees.
 */
export function refuseDefinition(source: string, start: number, end: number): void {
  const text = source.slice(start, end);
  const head = /^\w+[ \t\n\v\f]*\w*[ \t\n\v\f]*(?=\{)/.exec(text);
  if (!head)
    throw refused(text.split(/\W/, 1)[0] ?? '', source, start, 'a definition is written as `struct NAME { … }`');
  const odd = /[#\\"]|%:|\?\?/.exec(text);
  if (odd) throw refused(odd[0], source, start + odd.index, 'it could name a file of the server in a definition');
}

/** Refuses a line end that clang and bpftrace see differently. */
export function refuseLineEnds(source: string): void {
  const lone = /\r(?!\n)/.exec(source);
  if (lone) throw refused('\\r', source, lone.index, 'a carriage return needs a line feed after it');
}

const nameOf = ({ kind, text }: Token): string => (kind === 'directive' ? (/^#\s*\w*/.exec(text)?.[0] ?? '#') : text);

const refused = (construct: string, source: string, offset: number, reason: string): KerntapError =>
  new KerntapError(
    'program.refused',
    `\`${construct.slice(0, 60)}\` at ${placeOf(source, offset)} is refused: ${reason}.`,
  );
