import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

/** Where a command writes: answers on standard output, everything else on standard error. */
export interface Terminal {
  /** Writes a text and ends its last line; an empty text writes nothing. */
  out(text: string): void;
  err(text: string): void;
  /** Coloured for standard output or standard error, as far as that is a terminal and NO_COLOR is not set. */
  style(style: Style, text: string): string;
  styleErr(style: Style, text: string): string;
  /** The size of the terminal in which a person watches standard error; undefined where nobody does. */
  readonly screen: { readonly columns: number; readonly rows: number } | undefined;
  /** Shows these lines on the screen, if there is one, in place of the ones before; an empty text takes them away. */
  region(text: string): void;
}

export function createTerminal(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream): Terminal {
  // A dumb terminal cannot move its cursor.
  const watched = stderr.isTTY && process.env.TERM !== 'dumb';
  let shown = 0;
  return {
    out: (text) => void stdout.write(withEnd(text)),
    err: (text) => void stderr.write(withEnd(text)),
    style: (style, text) => styleText(style, text, { stream: stdout }),
    styleErr: (style, text) => styleText(style, text, { stream: stderr }),
    get screen() {
      return watched ? { columns: stderr.columns || 80, rows: stderr.rows || 24 } : undefined;
    },
    region(text) {
      if (!watched || (text === '' && shown === 0)) return;
      const lines = text === '' ? [] : text.split('\n').map((line) => cut(line.trimEnd(), (stderr.columns || 80) - 1));
      const up = shown > 0 ? `\x1b[${shown}A` : '';
      // A line that wraps would be two to take away: none may, however wide its characters are.
      stderr.write(`${up}\r\x1b[J\x1b[?7l${lines.map((line) => `${line}\n`).join('')}\x1b[?7h`);
      shown = lines.length;
    },
  };
}

const withEnd = (text: string): string => (text === '' || text.endsWith('\n') ? text : `${text}\n`);

function cut(line: string, columns: number): string {
  const characters = [...line];
  return characters.length > columns ? `${characters.slice(0, columns - 1).join('')}…` : line;
}
