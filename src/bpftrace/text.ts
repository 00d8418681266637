/** Keeps the head and the tail of a text that may be endless: the first error is in one, the loss total in the other. */
export function boundedText(maxHead: number, maxTail: number): { write(chunk: Buffer): void; end(): string } {
  let head = '';
  let tail = '';
  let cut = false;
  return {
    write(chunk) {
      const text = chunk.toString('latin1');
      const room = Math.max(0, maxHead - head.length);
      head += text.slice(0, room);
      tail += text.slice(room);
      if (tail.length <= 2 * maxTail) return; // cut seldom, not for each chunk
      tail = tail.slice(-maxTail);
      cut = true;
    },
    end() {
      // A tail that was cut starts within a line.
      const rest = cut ? tail.slice(tail.indexOf('\n')) : tail;
      return Buffer.from(head + rest, 'latin1').toString('utf8');
    },
  };
}
