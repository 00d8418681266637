import { escapeText } from '../render/escape.ts';
import type { Terminal } from './terminal.ts';

/** Takes the lines of the log: as they are for programs; for a person at a terminal only what is wrong, in words. */
export function logLines(terminal: Terminal): (line: string) => void {
  if (!terminal.screen) return terminal.err;
  return (line) => {
    const { time: _time, level, event, error, ...fields } = JSON.parse(line) as Record<string, unknown>;
    if (level === 'info') return;
    const details = Object.entries(fields).map(([name, value]) => `${name} ${value}`);
    if (typeof error === 'string') details.unshift(error.split('\n')[0] ?? '');
    const mark = terminal.styleErr(level === 'error' ? 'red' : 'yellow', String(level));
    terminal.err(`${mark} ${escapeText([event, ...details].join(', '))}`);
  };
}
