import type { OutputCounts, PrintedEvent, Section } from '../trace/ports.ts';
import { isRecord, type Value } from '../trace/value.ts';
import { fieldOf, parseJson } from './json.ts';
import { createLineSplitter } from './lines.ts';
import { isLine, type MapType, type Message, messageAt } from './messages.ts';
import { ambiguousKeysOf, eventDataOf, type MapContent, parseMap, sectionOf } from './sections.ts';
import { createTally } from './tally.ts';

/** A map is one line: 60,000 keys are 938 KB of it. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;
const MAX_PREAMBLE_BYTES = 256 * 1024;

const ARMED = Buffer.from('__BPFTRACE_NOTIFY_PROBES_ATTACHED');
const END_MARKER = Buffer.from('{"type": "value", "data": ["kt.end",1]}');

export interface OutputReader {
  write(chunk: Buffer): void;
  end(): OutputEnd;
}

export interface OutputEnd {
  /** What the maps held at the end, in the order in which bpftrace printed them. */
  readonly maps: readonly Section[];
  readonly counts: OutputCounts;
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
  /** Lines of the caller's text; positions beyond it are ours. */
  readonly callerLines: number;
  /** The count includes our own probe. */
  readonly onAttached: (count: number) => void;
  readonly onArmed: () => void;
  /** Until then the marker's text is an event: a traced process may have that name. */
  readonly isEndAsked: () => boolean;
  readonly onEndMarker: () => void;
  readonly push: (event: PrintedEvent) => void;
}): OutputReader {
  const preamble: Buffer[] = [];
  let preambleBytes = 0;
  let attached = false;
  let armed = false;
  let endMarker = false;

  let kept = 0;
  let keptBytes = 0;
  let full = false;
  const dropped = { events: 0, bytes: 0 };
  let lostReported = 0;
  let malformed = 0;
  let repairedStrings = 0;
  const helperErrors = createTally(options.callerLines);
  const runtimeErrors = createTally(options.callerLines);

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
        if (message.type === 'value' && options.isEndAsked() && isLine(buffer, start, end, END_MARKER)) {
          if (!endMarker) options.onEndMarker();
          endMarker = true;
        } else if (hasRoom(end - start + 1)) {
          const data = readEvent(message.type, buffer.toString('latin1', start, end));
          if (data !== undefined) keep({ type: message.type, data, bytes: end - start + 1 });
        }
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

  function readEvent(type: PrintedEvent['type'], line: string): Value | undefined {
    const value = read(line, type === 'value');
    if (value === undefined || !isRecord(value)) return undefined;
    const data = fieldOf(value, type === 'errorf' || type === 'warnf' ? 'msg' : 'data');
    if (data === undefined) malformed += 1;
    return data;
  }

  function holdMap(type: MapType, buffer: Buffer, start: number, end: number): void {
    const name = mapNameAt(type, buffer, start, end);
    if (name === undefined) {
      malformed += 1;
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
          droppedMaps,
          lostReported,
          helperErrors: helperErrors.rows(),
          runtimeErrors: runtimeErrors.rows(),
          malformed,
          ambiguousKeys,
          repairedStrings,
        },
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
