import type { PrintedType } from '../trace/ports.ts';

export type MapType = 'map' | 'hist' | 'stats' | 'tseries';
export type EventType = Exclude<PrintedType, MapType>;

/** The kinds of line that bpftrace writes with `-f json`. `event` is what a printing statement made. */
export type Message =
  | { readonly kind: 'event'; readonly type: EventType }
  | { readonly kind: 'map'; readonly type: MapType }
  | { readonly kind: 'attached_probes' | 'lost_events' | 'helper_error' | 'runtime_error' };

// `syscall`, `test_result` and `benchmark_result` come only with options that are never given: no message of a run.
const MESSAGES: readonly Message[] = [
  ...(['printf', 'value', 'time', 'cat', 'join', 'errorf', 'warnf'] as const).map(
    (type) => ({ kind: 'event', type }) as const,
  ),
  ...(['map', 'hist', 'stats', 'tseries'] as const).map((type) => ({ kind: 'map', type }) as const),
  ...(['attached_probes', 'lost_events', 'helper_error', 'runtime_error'] as const).map((kind) => ({ kind }) as const),
];

const OPENING = '{"type": "';

interface Candidate {
  readonly prefix: Buffer;
  readonly message: Message;
}

/** By the first letter of the type. */
const CANDIDATES: (readonly Candidate[] | undefined)[] = [];
for (const message of MESSAGES) {
  const type = 'type' in message ? message.type : message.kind;
  const letter = type.charCodeAt(0);
  const candidate = { prefix: Buffer.from(`${OPENING}${type}", "`), message };
  CANDIDATES[letter] = [...(CANDIDATES[letter] ?? []), candidate];
}

/** Tells what kind of message a line is by its first bytes, which costs some nanoseconds; undefined when it is none. */
export function messageAt(buffer: Buffer, start: number, end: number): Message | undefined {
  const letter = buffer[start + OPENING.length];
  if (letter === undefined) return undefined;
  return CANDIDATES[letter]?.find(({ prefix }) => beginsWith(buffer, start, end, prefix))?.message;
}

/** True when the line is exactly these bytes. */
export const isLine = (buffer: Buffer, start: number, end: number, line: Buffer): boolean =>
  end - start === line.length && beginsWith(buffer, start, end, line);

function beginsWith(buffer: Buffer, start: number, end: number, prefix: Buffer): boolean {
  if (end - start < prefix.length) return false;
  for (let at = 0; at < prefix.length; at += 1) if (buffer[start + at] !== prefix[at]) return false;
  return true;
}
