import { HIDDEN_MAP } from '../program/instrument.ts';
import type { OutputCounts, PrintedEvent, Section } from '../trace/ports.ts';
import { isRecord, type Value } from '../trace/value.ts';
import { fieldOf, parseJson } from './json.ts';
import { createLineSplitter } from './lines.ts';
import { type EventType, isLine, type MapType, type Message, messageAt } from './messages.ts';
import type { CallerPlace } from './places.ts';
import { ambiguousKeysOf, eventDataOf, type MapContent, parseMap, sectionOf } from './sections.ts';
import { createTally } from './tally.ts';

/** A map is one line: 60,000 keys are 938 KB of it. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;
const MAX_PREAMBLE_BYTES = 256 * 1024;

const OF_PROGRAM = Buffer.from('"filename": "stdin"');
const ARMED = Buffer.from('__BPFTRACE_NOTIFY_PROBES_ATTACHED');

export interface OutputReader {
  write(chunk: Buffer): void;
  end(): OutputEnd;
}

export interface OutputEnd {
  /** What the maps held at the end, in the order in which bpftrace printed them. */
  readonly maps: readonly Section[];
  readonly counts: Omit<OutputCounts, 'seen'>;
  /** Our own maps, by their names without the prefix. */
  readonly hidden: ReadonlyMap<string, number>;
  readonly endMarker: boolean;
  /** Compiler text before the probes were attached. */
  readonly preamble: string;
}

/** A map as it was printed last. `line` is absent when there was no room for it; `settled` when it is an event, too. */
interface PrintedMap {
  readonly type: MapType;
  readonly bytes: number;
  line?: Buffer;
  settled: boolean;
}

/**
 * Reads what `bpftrace -f json` writes on standard output and accounts for every line: kept, dropped by a limit, counted,
 * or malformed. Never throws. Once the events are over their budget a further one costs no decoding.
 */
export function createOutputReader(options: {
  readonly maxEventBytes: number;
  readonly maxMapBytes: number;
  readonly placeOf: CallerPlace;
  /** What the soft stop prints. */
  readonly endMarker: string;
  /** The count includes our own probes. */
  readonly onAttached: (count: number) => void;
  readonly onArmed: () => void;
  readonly onEndMarker: () => void;
  readonly push: (event: PrintedEvent) => void;
}): OutputReader {
  const endLine = Buffer.from(`{"type": "value", "data": ${JSON.stringify(options.endMarker)}}`);
  const preamble: Buffer[] = [];
  let preambleBytes = 0;
  let attached = false;
  let armed = false;
  let endMarker = false;

  const hidden = new Map<string, number>();
  let printedOfSeen = 0;
  let kept = 0;
  let keptBytes = 0;
  let full = false;
  const dropped = { events: 0, bytes: 0 };
  let lostReported = 0;
  let malformed = 0;
  let repairedStrings = 0;
  const helperErrors = createTally(options.placeOf);
  const runtimeErrors = createTally(options.placeOf);

  // bpftrace prints all maps at its exit, which look like those of a print() statement. So the last unbroken row of map
  // messages is taken for the final one, and a map becomes an event as soon as something else follows it.
  const printedMaps = new Map<string, PrintedMap>();
  let mapBytes = 0;
  let unsettled = 0;

  const splitter = createLineSplitter({
    maxBytes: MAX_LINE_BYTES,
    onLine: readLine,
    onTooLong: () => {
      malformed += 1;
    },
  });

  function readLine(buffer: Buffer, start: number, end: number): void {
    const message = messageAt(buffer, start, end);
    if (!attached) readPreamble(message, buffer, start, end);
    else if (message) readMessage(message, buffer, start, end);
    else if (!armed && isLine(buffer, start, end, ARMED)) {
      armed = true;
      options.onArmed();
    } else if (start !== end) malformed += 1;
  }

  /** Warnings of the compiler are plain text on standard output until the probes are attached, whatever they look like. */
  function readPreamble(message: Message | undefined, buffer: Buffer, start: number, end: number): void {
    const count = message?.kind === 'attached_probes' ? countOf(buffer, start, end) : undefined;
    if (count !== undefined) {
      attached = true;
      options.onAttached(count);
    } else if (preambleBytes + end - start < MAX_PREAMBLE_BYTES) {
      preamble.push(Buffer.from(buffer.subarray(start, end)));
      preambleBytes += end - start + 1;
    }
  }

  function readMessage(message: Message, buffer: Buffer, start: number, end: number): void {
    if (message.kind !== 'map' && unsettled > 0) settleMaps();
    switch (message.kind) {
      case 'map':
        holdMap(message.type, buffer, start, end);
        break;
      case 'event':
        if (message.type === 'value' && isLine(buffer, start, end, endLine)) {
          if (!endMarker) options.onEndMarker();
          endMarker = true;
        } else readEvent(message.type, buffer, start, end);
        break;
      case 'lost_events': {
        const count = countOf(buffer, start, end);
        if (count === undefined) malformed += 1;
        else lostReported += count;
        break;
      }
      case 'helper_error':
        if (!attempt(() => helperErrors.add(buffer.toString('latin1', start, end)))) malformed += 1;
        break;
      case 'runtime_error':
        if (!attempt(() => runtimeErrors.add(buffer.toString('latin1', start, end)))) malformed += 1;
        break;
      case 'attached_probes':
        malformed += 1;
    }
  }

  /** The events kept are the first ones without a gap: after one that does not fit, all are dropped. */
  function hasRoom(bytes: number): boolean {
    if (!full && keptBytes + bytes <= options.maxEventBytes) return true;
    full = true;
    drop(bytes);
    return false;
  }

  function drop(bytes: number): void {
    dropped.events += 1;
    dropped.bytes += bytes;
  }

  function keep(event: PrintedEvent): void {
    kept += 1;
    keptBytes += event.bytes;
    options.push(event);
  }

  function readEvent(type: EventType, buffer: Buffer, start: number, end: number): void {
    const bytes = end - start + 1;
    const isMessage = type === 'errorf' || type === 'warnf';
    // What bpftrace's own library says, such as that of assert(), has no count beside it.
    const counted = isMessage && !buffer.subarray(start, end).includes(OF_PROGRAM) ? 0 : 1;
    if (hasRoom(bytes)) {
      const value = read(buffer.toString('latin1', start, end), type === 'value');
      if (value === undefined) return;
      const data = isRecord(value) ? fieldOf(value, isMessage ? 'msg' : 'data') : undefined;
      if (data === undefined) {
        malformed += 1;
        return;
      }
      keep({ type, data, bytes });
    }
    printedOfSeen += counted;
  }

  function holdMap(type: MapType, buffer: Buffer, start: number, end: number): void {
    const name = mapNameAt(type, buffer, start, end);
    if (name === undefined) {
      malformed += 1;
      return;
    }
    if (name.startsWith(HIDDEN_MAP)) {
      readHidden(name.slice(HIDDEN_MAP.length), buffer.toString('latin1', start, end));
      return;
    }
    if (printedMaps.get(name)?.settled === false) settleMaps();
    forget(name);
    const map: PrintedMap = { type, bytes: end - start + 1, settled: false };
    if (mapBytes + map.bytes > options.maxMapBytes) forgetSettled();
    if (mapBytes + map.bytes <= options.maxMapBytes) {
      map.line = Buffer.from(buffer.subarray(start, end));
      mapBytes += map.bytes;
    }
    printedMaps.set(name, map);
    unsettled += 1;
  }

  function readHidden(name: string, line: string): void {
    const count = Number(/^\{"type": "map", "data": \{"@\w+": "?(\d+)"?\}\}$/.exec(line)?.[1]);
    if (Number.isNaN(count)) malformed += 1;
    else hidden.set(name, count);
  }

  function forget(name: string): void {
    const map = printedMaps.get(name);
    if (map?.line) mapBytes -= map.bytes;
    printedMaps.delete(name);
  }

  /** What is printed at the end is worth more than what was printed on the way, which is among the events. */
  function forgetSettled(): void {
    for (const map of printedMaps.values()) {
      if (!map.settled || !map.line) continue;
      mapBytes -= map.bytes;
      delete map.line;
    }
  }

  function settleMaps(): void {
    for (const [name, map] of printedMaps) {
      if (map.settled) continue;
      map.settled = true;
      if (!map.line) drop(map.bytes);
      else if (hasRoom(map.bytes)) {
        const content = readMap(map.type, map.line);
        if (content) keep({ type: map.type, data: eventDataOf(content), bytes: map.bytes });
        else forget(name);
      }
    }
    unsettled = 0;
  }

  function readMap(type: MapType, line: Buffer): MapContent | undefined {
    const value = read(line.toString('latin1'), true);
    if (value === undefined) return undefined;
    const content = isRecord(value) ? parseMap(type, fieldOf(value, 'data')) : undefined;
    if (!content) malformed += 1;
    return content;
  }

  function read(line: string, quotedIntegers: boolean): Value | undefined {
    try {
      const { value, brokenStrings } = parseJson(line, { quotedIntegers });
      repairedStrings += brokenStrings;
      return value;
    } catch {
      malformed += 1;
      return undefined;
    }
  }

  return {
    write: splitter.write,
    end() {
      splitter.end();
      const maps: Section[] = [];
      let droppedMaps = 0;
      let ambiguousKeys = 0;
      // Those of the final row first, then what the program printed on the way and had cleared by the end.
      const final = [...printedMaps.values()].sort((a, b) => Number(a.settled) - Number(b.settled));
      for (const { type, line, settled } of final) {
        const content = line && readMap(type, line);
        if (!line) droppedMaps += 1;
        if (!content) continue;
        maps.push(sectionOf(content, settled));
        ambiguousKeys += ambiguousKeysOf(content);
      }
      return {
        maps,
        counts: {
          printed: kept + dropped.events,
          kept,
          dropped,
          printedOfSeen,
          droppedMaps,
          lostReported,
          helperErrors: helperErrors.rows(),
          runtimeErrors: runtimeErrors.rows(),
          malformed,
          ambiguousKeys,
          repairedStrings,
        },
        hidden,
        endMarker,
        preamble: preamble.map((line) => `${line.toString('utf8')}\n`).join(''),
      };
    },
  };
}

/** The `count` of an attached_probes or lost_events message. */
function countOf(buffer: Buffer, start: number, end: number): number | undefined {
  const match = /^\{"type": "[a-z_]+", "count": (\d+), "data": \{"[a-z]+": \d+\}\}$/.exec(
    buffer.toString('latin1', start, Math.min(end, start + 200)),
  );
  return match ? Number(match[1]) : undefined;
}

/** Reads `@name` of `{"type": "map", "data": {"@name": …` without decoding the rest of the line. */
function mapNameAt(type: MapType, buffer: Buffer, start: number, end: number): string | undefined {
  const opening = start + `{"type": "${type}", "data": {"`.length;
  const closing = buffer.indexOf('"', opening, 'latin1');
  if (closing === -1 || closing >= end || buffer[opening] !== 0x40) return undefined;
  return buffer.toString('latin1', opening, closing);
}

function attempt(act: () => void): boolean {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}
