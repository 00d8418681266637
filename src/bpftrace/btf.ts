import type { ProbeField } from '../trace/ports.ts';

/** The kernel's own description of its types (Documentation/bpf/btf.rst in the kernel sources). */
export interface Btf {
  /** Names of all structs and unions that have fields, such as `struct sock`. */
  types(): readonly string[];
  /**
   * The fields of `struct NAME` or `union NAME`, those of unnamed parts included; with `depth` 1 also the fields of
   * embedded structs, as dotted paths. Undefined for a type that is not there.
   */
  fields(type: string, depth: number): readonly ProbeField[] | undefined;
  /** The names in `enum NAME`; none when it is not there. */
  enumerators(name: string): readonly string[];
}

const KIND = {
  int: 1,
  pointer: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  forward: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  func: 12,
  prototype: 13,
  variable: 14,
  section: 15,
  float: 16,
  declTag: 17,
  typeTag: 18,
  enum64: 19,
} as const;

/** 32-bit words that follow a type's three, for each kind: a fixed number, or one so often as the type has members. */
const EXTRA_WORDS: readonly (readonly [fixed: number, each: number])[] = [
  [0, 0],
  [1, 0],
  [0, 0],
  [3, 0],
  [0, 3],
  [0, 3],
  [0, 2],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 2],
  [1, 0],
  [0, 3],
  [0, 0],
  [1, 0],
  [0, 0],
  [0, 3],
];

interface Member {
  readonly name: string;
  readonly type: number;
  readonly bits: number;
}

/** Reads little-endian BTF as `/sys/kernel/btf/vmlinux` has it; undefined when `data` is no such thing. */
export function parseBtf(data: Buffer): Btf | undefined {
  if (data.length < 24 || data.readUInt16LE(0) !== 0xeb9f) return undefined;
  const headerBytes = data.readUInt32LE(4);
  const firstType = headerBytes + data.readUInt32LE(8);
  const typeWords = data.readUInt32LE(12) >>> 2;
  const strings = data.subarray(headerBytes + data.readUInt32LE(16));
  if (firstType + 4 * typeWords > data.length) return undefined;
  const word = (at: number) => data.readUInt32LE(firstType + 4 * at);
  const places = placesOf(word, typeWords);

  const text = (offset: number) => strings.toString('latin1', offset, strings.indexOf(0, offset));
  const nameOf = (type: number) => text(word(places[type] ?? 0));
  const infoOf = (type: number) => (type === 0 ? 0 : word((places[type] ?? 0) + 1));
  const kindOf = (type: number) => (infoOf(type) >>> 24) & 31;
  const countOf = (type: number) => infoOf(type) & 0xffff;
  const targetOf = (type: number) => word((places[type] ?? 0) + 2);
  const isRecord = (type: number) => kindOf(type) === KIND.struct || kindOf(type) === KIND.union;

  function membersOf(type: number): readonly Member[] {
    const start = (places[type] ?? 0) + 3;
    const hasBits = infoOf(type) >>> 31 === 1;
    return Array.from({ length: countOf(type) }, (_, i) => ({
      name: text(word(start + 3 * i)),
      type: word(start + 3 * i + 1),
      bits: hasBits ? word(start + 3 * i + 2) >>> 24 : 0,
    }));
  }

  /** The type without `const`, `volatile`, tags and typedefs. */
  function bare(type: number): number {
    const through: readonly number[] = [KIND.typedef, KIND.volatile, KIND.const, KIND.restrict, KIND.typeTag];
    let at = type;
    while (through.includes(kindOf(at))) at = targetOf(at);
    return at;
  }

  function flatten(type: number, prefix: string, depth: number, into: ProbeField[]): void {
    for (const member of membersOf(type)) {
      const inner = bare(member.type);
      if (member.name === '') {
        if (isRecord(inner)) flatten(inner, prefix, depth, into);
        continue;
      }
      // Marks of the kernel's own layout checks; they have no size.
      if (member.name.startsWith('__cacheline_group_')) continue;
      const bits = member.bits === 0 ? '' : ` : ${member.bits}`;
      into.push({ name: prefix + member.name, type: typeText(member.type) + bits });
      if (depth > 0 && isRecord(inner)) flatten(inner, `${prefix}${member.name}.`, depth - 1, into);
    }
  }

  function typeText(type: number): string {
    if (type === 0) return 'void';
    const kind = kindOf(type);
    const tagged = (keyword: string) => `${keyword} ${nameOf(type) || '{ … }'}`;
    if (kind === KIND.struct) return tagged('struct');
    if (kind === KIND.union) return tagged('union');
    if (kind === KIND.enum || kind === KIND.enum64) return tagged('enum');
    if (kind === KIND.forward) return tagged(infoOf(type) >>> 31 === 1 ? 'union' : 'struct');
    if (kind === KIND.restrict || kind === KIND.typeTag) return typeText(targetOf(type));
    if (kind === KIND.volatile) return `volatile ${typeText(targetOf(type))}`;
    if (kind === KIND.const) {
      const inner = typeText(targetOf(type));
      return inner.endsWith('*') ? `${inner}const` : `const ${inner}`;
    }
    if (kind === KIND.array) {
      const place = (places[type] ?? 0) + 3;
      return `${typeText(word(place))}[${word(place + 2)}]`;
    }
    if (kind === KIND.pointer) {
      const target = targetOf(type);
      if (kindOf(target) === KIND.prototype) return prototypeText(target);
      const inner = typeText(target);
      return inner.endsWith('*') ? `${inner}*` : `${inner} *`;
    }
    return nameOf(type);
  }

  function prototypeText(type: number): string {
    const start = (places[type] ?? 0) + 3;
    const parameters = Array.from({ length: countOf(type) }, (_, i) => typeText(word(start + 2 * i + 1)));
    return `${typeText(targetOf(type))} (*)(${parameters.length === 0 ? 'void' : parameters.join(', ')})`;
  }

  /** The types of a kind whose name is `name`, in the order of the file. */
  function* named(kinds: readonly number[], name: string): Generator<number> {
    const wanted = Buffer.from(`${name}\0`, 'latin1');
    for (let type = 1; type < places.length; type++) {
      if (!kinds.includes(kindOf(type))) continue;
      const offset = word(places[type] ?? 0);
      if (strings.compare(wanted, 0, wanted.length, offset, offset + wanted.length) === 0) yield type;
    }
  }

  return {
    types() {
      const names = new Set<string>();
      for (let type = 1; type < places.length; type++) {
        if (isRecord(type) && countOf(type) > 0 && nameOf(type) !== '') names.add(typeText(type));
      }
      return [...names];
    },

    fields(type, depth) {
      const [, keyword, name] = /^(struct|union) (\S+)$/.exec(type) ?? [];
      if (name === undefined) return undefined;
      // A name may stand for several types that live in different source files; the largest is the one people mean.
      const [largest] = [...named([keyword === 'struct' ? KIND.struct : KIND.union], name)].sort(
        (a, b) => countOf(b) - countOf(a),
      );
      if (largest === undefined) return undefined;
      const fields: ProbeField[] = [];
      flatten(largest, '', depth, fields);
      return fields;
    },

    enumerators(name) {
      const [type] = named([KIND.enum, KIND.enum64], name);
      if (type === undefined) return [];
      const words = kindOf(type) === KIND.enum ? 2 : 3;
      return Array.from({ length: countOf(type) }, (_, i) => text(word((places[type] ?? 0) + 3 + words * i)));
    },
  };
}

/** The place of each type in 32-bit words; types are numbered from 1, in the order in which they stand. */
function placesOf(word: (at: number) => number, words: number): Uint32Array {
  const places = [0];
  for (let at = 0; at + 2 < words; ) {
    places.push(at);
    const info = word(at + 1);
    const [fixed, each] = EXTRA_WORDS[(info >>> 24) & 31] ?? [words, 0];
    at += 3 + fixed + each * (info & 0xffff);
  }
  return Uint32Array.from(places);
}
