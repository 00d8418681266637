import { describe, expect, test } from 'vitest';
import { boundedText } from '../../src/bpftrace/text.ts';
import { type Ending, verdictOf } from '../../src/bpftrace/verdict.ts';
import type { OutputCounts } from '../../src/trace/ports.ts';

const counts: OutputCounts = {
  printed: 0,
  kept: 0,
  dropped: { events: 0, bytes: 0 },
  printedOfSeen: 0,
  droppedMaps: 0,
  lostReported: 0,
  helperErrors: [],
  runtimeErrors: [],
  malformed: 0,
  ambiguousKeys: 0,
  repairedStrings: 0,
};
const inOrder = { exitCode: 0, signal: undefined, started: true };
const killedBy = (signal: NodeJS.Signals) => ({ exitCode: undefined, signal, started: true });
const atDeadline: Ending = {
  armed: true,
  late: false,
  cause: 'deadline',
  mayEnd: false,
  interrupted: false,
  endMarker: true,
  child: inOrder,
  counts,
};
const mapFull = { message: 'Argument list too long', helper: 'map_update_elem', code: -7, count: 3 };

describe('the verdict of a run', () => {
  test.each<[string, Partial<Ending>, string]>([
    ['its time was over', {}, 'complete deadline'],
    ['its program exited by itself', { cause: undefined, mayEnd: true, endMarker: false }, 'complete exit'],
    [
      'its program exited with a code',
      { cause: undefined, mayEnd: true, endMarker: false, child: { ...inOrder, exitCode: 3 } },
      'complete exit',
    ],
    ['its program had nothing more to do', { cause: 'over' }, 'complete exit'],
    ['it was stopped', { cause: 'stopped' }, 'truncated stopped'],
    ['its client went away', { cause: 'client_gone' }, 'truncated client_gone'],
    ['it cost too much', { cause: 'watchdog' }, 'truncated watchdog'],
    ['it printed too much', { counts: { ...counts, dropped: { events: 1, bytes: 9 } } }, 'truncated event_limit'],
    ['a map was too large', { counts: { ...counts, droppedMaps: 1 } }, 'truncated map_limit'],
    ['a map was full', { counts: { ...counts, helperErrors: [mapFull] } }, 'truncated map_full'],
    ['another helper failed', { counts: { ...counts, helperErrors: [{ ...mapFull, code: -2 }] } }, 'complete deadline'],
    ['it had to be interrupted', { interrupted: true, endMarker: false }, 'interrupted flood'],
    ['it was interrupted, but had printed all before', { interrupted: true }, 'complete deadline'],
    ['it ended without the marker that it was asked for', { endMarker: false }, 'interrupted no_end_marker'],
    ['its program exited just before it was asked to', { mayEnd: true, endMarker: false }, 'complete exit'],
    [
      'its program may have exited, or the marker was lost in a full buffer',
      { mayEnd: true, endMarker: false, counts: { ...counts, lostReported: 1 } },
      'interrupted no_end_marker',
    ],
    [
      'the same, but what was lost is counted',
      { mayEnd: true, endMarker: false, counts: { ...counts, lostReported: 1, seen: 1 } },
      'complete exit',
    ],
    ['it ended in order, but not by itself', { cause: undefined, endMarker: false }, 'interrupted killed'],
    ['somebody killed it', { cause: undefined, endMarker: false, child: killedBy('SIGKILL') }, 'interrupted killed'],
    ['it crashed', { cause: undefined, endMarker: false, child: killedBy('SIGSEGV') }, 'failed crashed'],
    ['the program was wrong', { armed: false, child: { ...inOrder, exitCode: 1 } }, 'failed invalid'],
    ['the verifier refused it', { armed: false, child: { ...inOrder, exitCode: 255 } }, 'failed unloadable'],
    ['the compiler crashed', { armed: false, child: killedBy('SIGABRT') }, 'failed crashed'],
    ['it was not attached in time', { armed: false, late: true, child: killedBy('SIGTERM') }, 'failed not_armed'],
  ])('when %s', (_why, ending, verdict) => {
    const { state, reason } = verdictOf({ ...atDeadline, ...ending });
    expect(`${state} ${reason}`).toBe(verdict);
  });
});

describe('what is kept of endless diagnostics', () => {
  test('is all of it as long as it fits', () => {
    const text = boundedText(10, 10);
    for (const chunk of ['0123456789', 'ab\n', 'c']) text.write(Buffer.from(chunk));
    expect(text.end()).toBe('0123456789ab\nc');
  });

  test('is the head, and the tail from the start of a line', () => {
    const text = boundedText(20, 100);
    text.write(Buffer.from('first line\nsecond line\n'));
    for (let i = 0; i < 1_000; i++) text.write(Buffer.from(`line ${i}\n`));
    const lines = text.end().split('\n');
    expect(lines[0]).toBe('first line');
    expect(lines.at(-2)).toBe('line 999');
    expect(text.end().length).toBeLessThan(300);
    expect(lines.slice(2, -1).every((line) => /^line \d+$/.test(line))).toBe(true);
  });
});
