import { KerntapError } from '../errors.ts';
import { placeOf, readAttachPoint, readToken, type Token, unterminated } from './lexer.ts';
import { refusalOf, refuseConfig, refuseDefinition, refuseLineEnds, refuseMapSize } from './refusals.ts';

export const MAX_PROGRAM_BYTES = 16_384;

/** A program that was read and admitted, ready to be sent. */
export interface Program {
  /** What the caller wrote. */
  readonly source: string;
  /** What runs: today the source and our soft stop on a line of its own, later the printed tree. */
  readonly printed: string;
  /** Attach points as the caller wrote them, in order, such as `tracepoint:sched:*`. */
  readonly attachPoints: readonly string[];
  /** True when only `begin` and `end` probes are there, so that the run is over as soon as it is armed. */
  readonly endsAtOnce: boolean;
}

/** Ends a run from outside: what was printed before comes out first, then the marker, then the maps. */
export const SOFT_STOP = 'self:signal:SIGUSR1 { print(("kt.end", 1)); exit(); }';

/**
 * Reads a program of a caller. Throws `program.empty`, `program.too_long`, `program.encoding`, `program.refused`,
 * `program.unterminated`; names and types are left to bpftrace. Never starts anything.
 */
export function parseProgram(text: string | Uint8Array): Program {
  const source = readText(text);
  refuseLineEnds(source);
  const attachPoints = readProbes(source);
  if (attachPoints.length === 0) throw new KerntapError('program.empty', 'The program has no probe.');
  return {
    source,
    // On a line of its own: a comment in the caller's last line would swallow it.
    printed: `${source}\n${SOFT_STOP}\n`,
    attachPoints,
    endsAtOnce: attachPoints.every((name) => /^(?:begin|end)$/i.test(name)),
  };
}

function readText(text: string | Uint8Array): string {
  const bytes = typeof text === 'string' ? Buffer.byteLength(text) : text.byteLength;
  if (bytes > MAX_PROGRAM_BYTES) {
    // Not by toLocaleString: its first call loads tables that keep 6 MB of memory.
    const [has, may] = [bytes, MAX_PROGRAM_BYTES].map((count) => String(count).replace(/\B(?=(?:\d{3})+$)/g, ','));
    throw new KerntapError('program.too_long', `The program has ${has} bytes; at most ${may} are read.`);
  }
  const source = typeof text === 'string' ? text : decode(text);
  if (!source.isWellFormed()) throw new KerntapError('program.encoding', 'The program holds half of a surrogate pair.');
  if (source.startsWith('\ufeff'))
    throw new KerntapError('program.encoding', 'The program begins with a byte order mark.');
  const nul = source.indexOf('\0');
  if (nul !== -1) {
    throw new KerntapError('program.encoding', `The program holds a NUL byte at ${placeOf(source, nul)}.`);
  }
  if (source.trim() === '') throw new KerntapError('program.empty', 'The program is empty.');
  return source;
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new KerntapError('program.encoding', 'The program is no valid UTF-8.');
  }
}

/** Walks through the whole program, meets every token of it once with the refusals, and returns its attach points in order. */
function readProbes(source: string): readonly string[] {
  const attachPoints: string[] = [];
  let at = source.startsWith('#!') ? readToken(source, 0).end : 0;

  function take(): Token {
    const token = readToken(source, at);
    const refusal = refusalOf(token, source);
    if (refusal) throw refusal;
    at = token.end;
    return token;
  }

  const peek = (): string => readToken(source, at).text;

  /** Up to the brace that closes the one at `open`. */
  function takeBlock(open: Token): void {
    for (let depth = 1; depth > 0; ) {
      const { kind, text } = take();
      if (kind === 'end') throw unterminated('block', source, open.start);
      depth += text === '{' ? 1 : text === '}' ? -1 : 0;
    }
  }

  /** Up to the block that follows, and the block. */
  function takeDefinition(): void {
    for (let token = take(); token.kind !== 'end'; token = take()) {
      if (token.text === '{') {
        takeBlock(token);
        return;
      }
    }
  }

  /** bpftrace hands it to clang with the definition before it. */
  function takeAttribute(): void {
    const name = take();
    for (let depth = 0; ; ) {
      const { kind, text } = take();
      if (kind === 'end') throw unterminated('attribute', source, name.start);
      depth += text === '(' ? 1 : text === ')' ? -1 : 0;
      if (depth === 0) return;
    }
  }

  function takeMapDeclaration(): void {
    while (!['{', ''].includes(peek())) {
      const token = take();
      if (token.text === '(') refuseMapSize(source, token.end);
      if ([')', ';'].includes(token.text)) return;
    }
  }

  /** A slash closes a predicate where the probe's block follows; any other divides. */
  function takePredicate(open: Token): void {
    for (let depth = 0; ; ) {
      const { kind, text } = take();
      if (kind === 'end') throw unterminated('predicate', source, open.start);
      depth += /^[({[]$/.test(text) ? 1 : /^[)}\]]$/.test(text) ? -1 : 0;
      if (text === '/' && depth === 0 && peek() === '{') return;
    }
  }

  function takeProbe(): void {
    const { start } = readAttachPoint(source, at);
    for (let more = true; more; ) {
      const point = readAttachPoint(source, at);
      const refusal = refusalOf(point, source);
      if (refusal) throw refusal;
      at = point.end;
      if (point.text !== '') attachPoints.push(point.text);
      more = peek() === ',';
      if (more) take();
      // A comma may stand behind the last one, too.
      if (['/', '{'].includes(peek())) more = false;
    }
    if (peek() === '/') takePredicate(take());
    if (peek() === '{') takeBlock(take());
    // What comes behind the caller's text is our own probe: it would lend this one its block.
    else if (peek() === '') {
      throw new KerntapError('program.unterminated', `The probe at ${placeOf(source, start)} has no block.`, {
        remedy: 'write its statements in braces: tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }',
      });
    }
  }

  for (;;) {
    const token = take();
    switch (token.text) {
      case '':
        return attachPoints;
      case ';':
        break;
      case 'struct':
      case 'union':
      case 'enum':
        takeDefinition();
        while (peek() === '__attribute__') takeAttribute();
        refuseDefinition(source, token.start, at);
        break;
      case 'config':
        takeDefinition();
        refuseConfig(source, token.start, at);
        break;
      case 'macro':
      case 'fn':
        takeDefinition();
        break;
      case 'let':
        takeMapDeclaration();
        break;
      default:
        at = token.start;
        takeProbe();
    }
  }
}
