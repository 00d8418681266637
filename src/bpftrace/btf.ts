import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
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
  /** What functions take, and what functions take to which types of these names point; those that are not described are absent. */
  prototypes(names: readonly string[]): ReadonlyMap<string, readonly ProbeField[]>;
}

/** The types of the running kernel and of its modules. */
export interface KernelTypes {
  /** Those of the kernel itself; undefined where it does not describe them. */
  kernel(): Btf | undefined;
  /** `Btf.prototypes`, in the modules, too. */
  prototypes(names: readonly string[]): ReadonlyMap<string, readonly ProbeField[]>;
}

/** Reads the types below `root`, when they are asked for. */
export function createKernelTypes(root: string): KernelTypes {
  const folder = join(root, 'sys/kernel/btf');
  // Six megabytes that are asked for now and then: they are kept as long as memory is not needed for something else.
  let known: WeakRef<{ data: Buffer; btf: Btf }> | undefined;

  function load(): { data: Buffer; btf: Btf } | undefined {
    const kept = known?.deref();
    if (kept !== undefined) return kept;
    const data = read('vmlinux');
    const btf = data && parseBtf(data);
    const loaded = data && btf && { data, btf };
    known = loaded && new WeakRef(loaded);
    return loaded;
  }

  function read(name: string): Buffer | undefined {
    try {
      return readFileSync(join(folder, name));
    } catch {
      return undefined; // the kernel has none, or the module was just unloaded
    }
  }

  function* modules(): Generator<Buffer> {
    for (const name of readdirSync(folder)) {
      const data = name === 'vmlinux' ? undefined : read(name);
      if (data !== undefined) yield data;
    }
  }

  return {
    kernel: () => load()?.btf,

    prototypes(names) {
      const kernel = load();
      if (kernel === undefined) return new Map();
      const found = new Map(kernel.btf.prototypes(names));
      const missing = names.filter((name) => !found.has(name));
      if (missing.length === 0) return found;
      for (const data of modules()) {
        const own = missing.filter((name) => data.includes(`\0${name}\0`, 0, 'latin1'));
        const more = own.length === 0 ? undefined : parseBtf(data, kernel.data)?.prototypes(own);
        for (const [name, parameters] of more ?? []) found.set(name, parameters);
      }
      return found;
    },
  };
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

/** From so many names on it is faster to read all strings once than to search for each. */
const MANY_NAMES = 16;

/**
 * Reads little-endian BTF as `/sys/kernel/btf` has it; undefined when `data` is no such thing. That of a module goes on
 * where `base`, the kernel's own, ends.
 */
export function parseBtf(data: Buffer, base?: Buffer): Btf | undefined {
  const own = partsOf(data);
  const kernel = base === undefined ? undefined : partsOf(base);
  if (own === undefined || (base !== undefined && kernel === undefined)) return undefined;
  const words = wordsOf(kernel === undefined ? own.types : Buffer.concat([kernel.types, own.types]));
  const strings = kernel === undefined ? own.strings : Buffer.concat([kernel.strings, own.strings]);
  const word = (at: number) => words[at] ?? 0;
  const places = placesOf(words);

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

  const parametersOf = (prototype: number): readonly { name: string; type: number }[] => {
    const start = (places[prototype] ?? 0) + 3;
    return Array.from({ length: countOf(prototype) }, (_, i) => ({
      name: text(word(start + 2 * i)),
      type: word(start + 2 * i + 1),
    }));
  };

  function prototypeText(type: number): string {
    const parameters = parametersOf(type).map((parameter) => typeText(parameter.type));
    return `${typeText(targetOf(type))} (*)(${parameters.length === 0 ? 'void' : parameters.join(', ')})`;
  }

  /** The prototype of a function, or of that to which a type points. */
  function prototypeOf(type: number): number | undefined {
    const target = bare(targetOf(type));
    const prototype = kindOf(type) === KIND.typedef && kindOf(target) === KIND.pointer ? targetOf(target) : target;
    return kindOf(prototype) === KIND.prototype ? prototype : undefined;
  }

  /** Where names stand among the strings, each of which is there once. */
  function offsetsOf(names: readonly string[]): ReadonlyMap<number, string> {
    const found = new Map<number, string>();
    if (names.length < MANY_NAMES) {
      for (const name of names) {
        const at = strings.indexOf(`\0${name}\0`, 0, 'latin1');
        if (at !== -1) found.set(at + 1, name);
      }
      return found;
    }
    const wanted = new Set(names);
    let offset = 0;
    for (const known of strings.toString('latin1').split('\0')) {
      if (wanted.has(known)) found.set(offset, known);
      offset += known.length + 1;
    }
    return found;
  }

  /** The types of some kinds whose names are among `names`, in the order of the file. */
  function* named(kinds: readonly number[], names: readonly string[]): Generator<[type: number, name: string]> {
    const offsets = offsetsOf(names);
    if (offsets.size === 0) return;
    for (let type = 1; type < places.length; type++) {
      const name = offsets.get(word(places[type] ?? 0));
      if (name !== undefined && kinds.includes(kindOf(type))) yield [type, name];
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
      const [largest] = Array.from(named([keyword === 'struct' ? KIND.struct : KIND.union], [name]), ([at]) => at).sort(
        (a, b) => countOf(b) - countOf(a),
      );
      if (largest === undefined) return undefined;
      const fields: ProbeField[] = [];
      flatten(largest, '', depth, fields);
      return fields;
    },

    enumerators(name) {
      const [[type] = []] = named([KIND.enum, KIND.enum64], [name]);
      if (type === undefined) return [];
      const words = kindOf(type) === KIND.enum ? 2 : 3;
      return Array.from({ length: countOf(type) }, (_, i) => text(word((places[type] ?? 0) + 3 + words * i)));
    },

    prototypes(names) {
      const found = new Map<string, readonly ProbeField[]>();
      for (const [type, name] of named([KIND.func, KIND.typedef], names)) {
        const prototype = prototypeOf(type);
        if (prototype === undefined) continue;
        found.set(
          name,
          parametersOf(prototype).map((parameter) => ({ name: parameter.name, type: typeText(parameter.type) })),
        );
      }
      return found;
    },
  };
}

/** The two parts of a file of BTF; undefined when it is none (`struct btf_header` in linux/btf.h). */
function partsOf(data: Buffer): { types: Buffer; strings: Buffer } | undefined {
  if (data.length < 24 || data.readUInt16LE(0) !== 0xeb9f) return undefined;
  const part = (field: number) => {
    const start = data.readUInt32LE(4) + data.readUInt32LE(field);
    const end = start + data.readUInt32LE(field + 4);
    return end > data.length ? undefined : data.subarray(start, end);
  };
  const types = part(8);
  const strings = part(16);
  return types === undefined || strings === undefined ? undefined : { types, strings };
}

/** The 32-bit words of a part, without a copy where it is aligned. */
function wordsOf(part: Buffer): Uint32Array {
  const aligned = part.byteOffset % 4 === 0 ? part : Uint8Array.from(part);
  return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length >>> 2);
}

/** The place of each type in 32-bit words; types are numbered from 1, in the order in which they stand. */
function placesOf(words: Uint32Array): Uint32Array {
  const places = new Uint32Array(words.length / 3 + 1); // no type is shorter
  let count = 1;
  for (let at = 0; at + 2 < words.length; ) {
    places[count++] = at;
    const info = words[at + 1] ?? 0;
    const [fixed, each] = EXTRA_WORDS[(info >>> 24) & 31] ?? [words.length, 0];
    at += 3 + fixed + each * (info & 0xffff);
  }
  return places.slice(0, count);
}
