import type { Account, CountedMessage, NodeCost, Position, Reason, RunHeader } from '../trace/ports.ts';
import { shorten } from './escape.ts';

/** Why a run is in its state, as the end of the sentence "the run is … because …". */
export const REASONS: Readonly<Record<Reason, string>> = {
  running: 'it is not over',
  deadline: 'its time was over',
  exit: 'the program ended by itself',
  stopped: 'it was stopped on request',
  cancelled: 'the call was cancelled',
  client_gone: 'the client went away while it waited',
  drained: 'the server was stopped',
  revoked: 'the right to trace was taken away',
  event_limit: 'more was printed than is kept',
  map_limit: 'a map was larger than what is kept',
  map_full: 'a map had no room for more keys',
  watchdog: 'its probes cost the node too much CPU time',
  store_full: 'the disk had no room for more',
  flood: 'it printed so fast that its end was cut off',
  no_end_marker: 'bpftrace ended without its end mark, so that events may be missing',
  killed: 'bpftrace was killed from outside',
  server_died: 'the server died while it ran',
  invalid: 'bpftrace refused the program',
  unloadable: 'the kernel refused the program',
  not_armed: 'its probes were not attached in time',
  crashed: 'bpftrace crashed or could not be started',
};

/** 1234567.89 as `1,234,567.9`, for sentences; cells of tables have plain digits. */
// Not by toLocaleString: its first call loads tables that keep 6 MB of memory.
export const grouped = (value: number): string =>
  String(Math.round(value * 10) / 10).replace(/\B(?=(?:\d{3})+(?!\d))/g, ',');

/** `1 probe`, `3 probes`. */
export const counted = (count: number, noun: string, plural = `${noun}s`): string =>
  `${grouped(count)} ${count === 1 ? noun : plural}`;

/** `2026-11-22T14:02:31Z`. */
export const instant = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');

/** `12.5 KiB`, `3.0 MiB`. */
export function byteCount(bytes: number): string {
  if (bytes < 1_024) return `${bytes} B`;
  const [amount, unit] = bytes < 1_048_576 ? [bytes / 1_024, 'KiB'] : [bytes / 1_048_576, 'MiB'];
  return `${amount.toFixed(1)} ${unit}`;
}

/** `1:20`, or `the program's end` for what has no place. */
export const place = (at: Position | undefined): string => (at ? `${at.line}:${at.column}` : "the program's end");

/** What a run's state is in words: `complete`, `truncated (a map had no room for more keys)`, `running, 18 s left`. */
export function verdict(run: RunHeader, nowMs: number): string {
  const { state, reason, timing, timeoutMs } = run;
  if (state === 'running') {
    if (timing.armedMs === undefined) return 'running, not attached yet';
    const leftS = Math.ceil((timing.armedMs + timeoutMs - nowMs) / 1000);
    return leftS > 0 ? `running, ${leftS} s left` : 'running, time is over, collecting';
  }
  return state === 'complete' && reason === 'deadline' ? 'complete' : `${state} (${REASONS[reason]})`;
}

/** The losses in a few words, for the first line of an answer. */
export function lostInShort({ lost, lostIsLowerBound }: Account): string {
  if (lost === 'unknown') return 'losses unknown';
  if (!lostIsLowerBound) return `${grouped(lost)} lost`;
  return lost === 0 ? '0 reported lost' : `at least ${grouped(lost)} lost`;
}

/** `probes cost 0.4 % of one CPU, 1,203 runs`. */
const costInShort = (cost: NodeCost | undefined): string => {
  if (cost === undefined) return 'cost of the probes not measured';
  const percent = cost.cpuShare * 100;
  const share = percent > 0 && percent < 0.1 ? 'less than 0.1' : percent.toFixed(1);
  return `probes cost ${share} % of one CPU, ${counted(cost.runs, 'run')}`;
};

const PLACES = 3;

/** The account in one line, beside `lostInShort`: what is kept, each other loss that happened, what it cost. */
export function accountLine(account: Account): string {
  const { droppedByLimit: dropped, missed } = account;
  const redacted = Object.values(account.redactions).reduce((sum, count) => sum + count, 0);
  return [
    `${counted(account.events, 'event')} kept`,
    dropped.events > 0 &&
      `${counted(dropped.events, 'event')} (${byteCount(dropped.bytes)}) dropped beyond what is kept`,
    account.droppedMaps > 0 && `${counted(account.droppedMaps, 'map')} absent because of the size`,
    ...someOf(account.mapFull, fullMap),
    ...someOf(account.runtimeErrors, runtimeError),
    missed === 'unknown' ? 'missed probe runs unknown' : missed > 0 && `${counted(missed, 'probe run')} missed`,
    account.ambiguousKeys > 0 && `${counted(account.ambiguousKeys, 'key')} that cannot be told from others`,
    account.malformed > 0 && `${counted(account.malformed, 'line')} of output not understood`,
    account.repairedStrings > 0 && `${counted(account.repairedStrings, 'string')} with bytes that are no UTF-8`,
    redacted > 0 && `${counted(redacted, 'secret')} redacted`,
    costInShort(account.nodeCost),
  ]
    .filter((part) => part !== false)
    .join('; ');
}

const someOf = (messages: readonly CountedMessage[], sentence: (message: CountedMessage) => string): string[] => {
  const shown = messages.slice(0, PLACES).map(sentence);
  const rest = messages.slice(PLACES).reduce((sum, { count }) => sum + count, 0);
  return rest > 0 ? [...shown, `${grouped(rest)} more of that kind elsewhere`] : shown;
};

// -7 is E2BIG: the map has its max_entries (kernel/bpf/hashtab.c).
const fullMap = ({ at, count, code, helper, message }: CountedMessage): string =>
  code === -7
    ? `map full at ${place(at)}, ${counted(count, 'update')} not counted`
    : `${shorten(helper ?? 'a helper', 40)} failed at ${place(at)}, ${counted(count, 'time')} (${shorten(message, 60)})`;

const runtimeError = ({ at, count, message }: CountedMessage): string =>
  `runtime error at ${place(at)}, ${counted(count, 'time')} (${shorten(message, 80)})`;
