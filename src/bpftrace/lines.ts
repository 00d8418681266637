const NEWLINE = 0x0a;

export interface LineSplitter {
  write(chunk: Buffer): void;
  /** Hands over what came after the last newline, if anything did. */
  end(): void;
}

/**
 * Cuts a stream of bytes into lines, without copying those that lie in one chunk and without decoding any. `onLine` gets
 * the place of a line in a buffer that it must not keep. A line of more than `maxBytes` is given up: `onTooLong` instead.
 */
export function createLineSplitter(options: {
  readonly maxBytes: number;
  readonly onLine: (buffer: Buffer, start: number, end: number) => void;
  readonly onTooLong: () => void;
}): LineSplitter {
  let rest = Buffer.alloc(0);
  let restBytes = 0;
  let tooLong = false;

  function keep(chunk: Buffer, start: number): void {
    const bytes = chunk.length - start;
    if (bytes === 0 || tooLong) return;
    if (restBytes + bytes > options.maxBytes) {
      tooLong = true;
      rest = Buffer.alloc(0);
      restBytes = 0;
      return;
    }
    if (restBytes + bytes > rest.length) {
      const larger = Buffer.allocUnsafe(Math.max(4096, 2 * (restBytes + bytes)));
      rest.copy(larger, 0, 0, restBytes);
      rest = larger;
    }
    chunk.copy(rest, restBytes, start);
    restBytes += bytes;
  }

  function finish(): void {
    if (tooLong) options.onTooLong();
    else options.onLine(rest, 0, restBytes);
    tooLong = false;
    restBytes = 0;
    if (rest.length > 64 * 1024) rest = Buffer.alloc(0);
  }

  return {
    write(chunk) {
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
        if (restBytes > 0 || tooLong) {
          keep(chunk.subarray(0, end), 0);
          finish();
        } else if (end - start > options.maxBytes) options.onTooLong();
        else options.onLine(chunk, start, end);
        start = end + 1;
      }
      keep(chunk, start);
    },
    end() {
      if (restBytes > 0 || tooLong) finish();
    },
  };
}
