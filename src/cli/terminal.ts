import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

/** Where a command writes: answers on standard output, everything else on standard error. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Coloured for standard output or standard error, as far as that is a terminal and NO_COLOR is not set. */
  style(style: Style, text: string): string;
  styleErr(style: Style, text: string): string;
  /** True when a person looks at standard output. */
  readonly live: boolean;
  readonly columns: number;
  /** Shows these lines at the bottom of the terminal in place of the ones before; an empty text takes them away. */
  region(text: string): void;
}

export function createTerminal(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream): Terminal {
  const columns = () => stdout.columns ?? 80;
  let shown = 0;
  return {
    out: (text) => void stdout.write(`${text}\n`),
    err: (text) => void stderr.write(`${text}\n`),
    style: (style, text) => styleText(style, text, { stream: stdout }),
    styleErr: (style, text) => styleText(style, text, { stream: stderr }),
    live: stdout.isTTY === true,
    get columns() {
      return columns();
    },
    region(text) {
      const lines = text === '' ? [] : text.split('\n').map((line) => cut(line, columns() - 1));
      const up = shown > 0 ? `\x1b[${shown}A` : '';
      stdout.write(`${up}\x1b[J${lines.map((line) => `${line}\n`).join('')}`);
      shown = lines.length;
    },
  };
}

// Lines must not wrap, or the region could not be taken away again.
const cut = (line: string, width: number): string =>
  line.length > width ? `${line.slice(0, Math.max(0, width - 1))}…` : line;
