/** Kinds of BTF types (include/uapi/linux/btf.h). */
export const [INT, POINTER, STRUCT, TYPEDEF, FUNC, PROTOTYPE] = [1, 2, 4, 8, 12, 13] as const;

/** A type: its name, its kind, how many members it has, its size or the type it points to, and the words that follow. */
type Type = readonly [name: string, kind: number, members: number, target: number, ...words: (number | string)[]];

/** Writes types, numbered from 1 or from where those of `base` end, as the kernel shows them. Words that are text are names. */
export function btfFile(types: readonly Type[], base?: Buffer): Buffer {
  let strings = base === undefined ? '\0' : '';
  const first = base?.readUInt32LE(20) ?? 0;
  const place = (name: number | string) => {
    if (name === '') return 0;
    if (typeof name === 'number') return name;
    strings += `${name}\0`;
    return first + strings.length - name.length - 1;
  };
  const words = types.flatMap(([name, kind, members, target, ...rest]) => [
    place(name),
    kind * 2 ** 24 + members,
    target,
    ...rest.map(place),
  ]);
  const header = Buffer.alloc(24);
  header.writeUInt16LE(0xeb9f, 0);
  header.writeUInt8(1, 2);
  for (const [i, value] of [24, 0, 4 * words.length, 4 * words.length, strings.length].entries())
    header.writeUInt32LE(value, 4 + 4 * i);
  const body = Buffer.alloc(4 * words.length);
  for (const [i, value] of words.entries()) body.writeUInt32LE(value, 4 * i);
  return Buffer.concat([header, body, Buffer.from(strings, 'latin1')]);
}
