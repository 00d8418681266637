const FUNCTION = 0x12; // STB_GLOBAL, STT_FUNC
const OBJECT = 0x11;

interface Content {
  readonly functions?: readonly string[];
  readonly objects?: readonly string[];
  readonly usdt?: readonly (readonly [provider: string, name: string])[];
}

/** Writes a 64-bit little-endian ELF file that nothing can run: a symbol table, its strings and the notes of USDT probes. */
export function elfFile({ functions = [], objects = [], usdt = [] }: Content): Buffer {
  let strings = '\0';
  const symbol = (name: string, info: number) => {
    const entry = Buffer.alloc(24);
    entry.writeUInt32LE(strings.length, 0);
    entry.writeUInt8(info, 4);
    entry.writeUInt16LE(1, 6);
    entry.writeBigUInt64LE(0x1000n, 8);
    strings += `${name}\0`;
    return entry;
  };
  const symbols = [
    Buffer.alloc(24),
    ...functions.map((name) => symbol(name, FUNCTION)),
    ...objects.map((name) => symbol(name, OBJECT)),
  ];
  const padded = (text: string) => Buffer.from(text.padEnd(Math.ceil(text.length / 4) * 4, '\0'), 'latin1');
  const notes = usdt.flatMap(([provider, name]) => {
    const text = `${provider}\0${name}\0-4@%ebx\0`;
    const head = Buffer.alloc(12);
    for (const [i, value] of [8, 24 + text.length, 3].entries()) head.writeUInt32LE(value, 4 * i);
    return [head, padded('stapsdt\0'), Buffer.alloc(24), padded(text)];
  });
  const parts = [
    { type: 0, link: 0, data: Buffer.alloc(0) },
    { type: 2, link: 2, data: Buffer.concat(symbols) },
    { type: 3, link: 0, data: Buffer.from(strings, 'latin1') },
    { type: 7, link: 0, data: Buffer.concat(notes) },
  ];
  const header = Buffer.alloc(64);
  header.write('\x7fELF\x02\x01\x01', 'latin1');
  let at = 64;
  const table = parts.map(({ type, link, data }) => {
    const section = Buffer.alloc(64);
    section.writeUInt32LE(type, 4);
    section.writeBigUInt64LE(BigInt(at), 24);
    section.writeBigUInt64LE(BigInt(data.length), 32);
    section.writeUInt32LE(link, 40);
    at += data.length;
    return section;
  });
  header.writeBigUInt64LE(BigInt(at), 40);
  header.writeUInt16LE(64, 58);
  header.writeUInt16LE(parts.length, 60);
  return Buffer.concat([header, ...parts.map(({ data }) => data), ...table]);
}
