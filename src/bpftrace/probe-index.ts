import { nearest } from '../program/nearest.ts';
import { KIND_ALIASES } from '../program/probe-kinds.ts';
import type { ProbeField } from '../trace/ports.ts';

/** The order in which matches are shown: what is stable and works everywhere comes first. */
export const KIND_ORDER = [
  'tracepoint',
  'rawtracepoint',
  'kprobe',
  'kretprobe',
  'fentry',
  'fexit',
  'uprobe',
  'uretprobe',
  'usdt',
  'software',
  'hardware',
  'profile',
  'interval',
  'iter',
  'watchpoint',
];

/** Kinds whose probes are those of another kind, at the return instead of the entry. */
const RETURN_OF: Readonly<Record<string, string>> = { kretprobe: 'kprobe', fexit: 'fentry', uretprobe: 'uprobe' };

const MAX_WORDS = 8;

/** So many matches are no answer: they are left in the order of the list, which costs a tenth. */
const MAX_RANKED = 20_000;

/** The full name of a probe kind or of its short form; undefined for what is none. */
export function kindOf(name: string): string | undefined {
  return KIND_ORDER.includes(name) ? name : KIND_ALIASES[name];
}

/** The kind under which the probes of `kind` are listed. */
export const listedKind = (kind: string): string => RETURN_OF[kind] ?? kind;

export interface ProbeSearch {
  readonly filter: string;
  readonly kind?: string;
  readonly offset: number;
  readonly limit: number;
}

export interface ProbeMatches {
  readonly names: readonly string[];
  readonly matches: number;
  readonly total: number;
  readonly closest: readonly string[];
}

export interface ProbeIndex {
  /** The kinds of which at least one probe is known. */
  readonly kinds: readonly string[];
  /** One page of what matches, best first; for a miss the closest names. */
  search(query: ProbeSearch): ProbeMatches;
  /** The existing names most like `name`, of `kind` if it has any. */
  closest(name: string, kind: string | undefined): readonly string[];
  has(name: string): boolean;
}

/** The names of one kind as one text, which is searched about ten times as fast as a list of as many strings. */
interface Names {
  readonly kind: string;
  /** One name a line, a newline before the first and after the last. */
  readonly text: string;
  readonly folded: string;
  readonly count: number;
}

/** Makes an index of what `bpftrace -l` printed. */
export function createProbeIndex(listing: string): ProbeIndex {
  const lists = namesByKind(listing);

  function listsOf(kind: string | undefined): readonly Names[] {
    return kind === undefined ? lists : lists.filter((names) => names.kind === listedKind(kind));
  }

  function closest(name: string, kind: string | undefined): readonly string[] {
    const own = listsOf(kind);
    return nearest(
      name,
      (own.length > 0 ? own : lists).flatMap((names) => [...linesWith(names, '')]),
    );
  }

  return {
    kinds: lists.map((names) => names.kind),

    search({ filter, kind: wantedKind, offset, limit }) {
      const question = parseFilter(filter);
      const kind = question.kind ?? wantedKind;
      const searched = listsOf(kind);
      const total = searched.reduce((sum, names) => sum + names.count, 0);
      const found = question.glob === undefined ? [] : byGlob(searched, question.glob);
      // What has no wildcard and is no whole name is still a good question: `tracepoint:sched`, `sched:wakeup`.
      const names = found.length > 0 || question.glob?.includes('*') ? found : byWords(searched, question.words);
      const rename = kind !== undefined && kind !== listedKind(kind);
      return {
        names: names
          .slice(offset, offset + limit)
          .map((name) => (rename ? `${kind}${name.slice(name.indexOf(':'))}` : name)),
        matches: names.length,
        total,
        closest: names.length > 0 ? [] : closest(question.words.join('_'), kind),
      };
    },

    closest,

    has(name) {
      return lists.some((names) => names.text.includes(`\n${name}\n`));
    },
  };
}

function namesByKind(listing: string): readonly Names[] {
  const found = new Map<string, string[]>();
  for (const line of listing.split('\n')) {
    const name = nameOf(line);
    const kind = kindOf(name.slice(0, name.indexOf(':')));
    if (kind === undefined) continue;
    const names = found.get(kind);
    if (names === undefined) found.set(kind, [name]);
    else names.push(name);
  }
  return [...found]
    .sort(([a], [b]) => KIND_ORDER.indexOf(a) - KIND_ORDER.indexOf(b))
    .map(([kind, names]) => {
      const text = `\n${names.join('\n')}\n`;
      const folded = text.toLowerCase();
      return {
        kind,
        text,
        folded: folded === text || folded.length !== text.length ? text : folded,
        count: names.length,
      };
    });
}

/** A line of `bpftrace -l` as it stands in a program: without the module of the kernel itself and without an empty part. */
function nameOf(line: string): string {
  const name = line.trim().replace(/^(rawtracepoint|fentry|fexit):vmlinux:/, '$1:');
  if (!name.endsWith(':')) return name;
  return /^(profile|interval):/.test(name) ? `${name}N` : name.slice(0, -1);
}

interface Filter {
  readonly kind?: string;
  /** Everything after the kind. */
  readonly glob?: string;
  readonly words: readonly string[];
}

function parseFilter(filter: string): Filter {
  const text = filter.trim();
  if (/\s/.test(text) || !/[:*]/.test(text)) {
    const words = wordsOf(text, /\s+/);
    const [first = ''] = words;
    return KIND_ORDER.includes(first) ? { kind: first, words: words.slice(1) } : { words };
  }
  const colon = text.indexOf(':');
  const kind = colon === -1 ? undefined : kindOf(text.slice(0, colon));
  const rest = (kind === undefined ? text : text.slice(colon + 1)).replace(/^vmlinux:/, '').replace(/\*+/g, '*');
  return { ...(kind === undefined ? {} : { kind }), glob: rest === '' ? '*' : rest, words: wordsOf(rest, /[:*]+/) };
}

const wordsOf = (text: string, separator: RegExp) =>
  text
    .toLowerCase()
    .split(separator)
    .filter((word) => word !== '')
    .slice(0, MAX_WORDS);

/** Names that a glob matches as a whole, without their kind, or in their last part. */
function byGlob(lists: readonly Names[], glob: string): readonly string[] {
  const [anchor = ''] = wordsOf(glob, /\*/).sort((a, b) => b.length - a.length);
  const found: string[] = [];
  for (const names of lists) {
    for (const name of linesWith(names, anchor)) {
      const rest = name.slice(name.indexOf(':') + 1);
      const last = glob.includes(':') ? rest : rest.slice(rest.lastIndexOf(':') + 1);
      if (matchesGlob(glob, rest) || matchesGlob(glob, last) || matchesGlob(glob, name)) found.push(name);
    }
  }
  return found;
}

/** Names in which all words occur behind the kind: by kind, then whole words before parts of words, then short names before long ones. */
function byWords(lists: readonly Names[], words: readonly string[]): readonly string[] {
  const anchor = words.reduce((longest, word) => (word.length > longest.length ? word : longest), '');
  return lists.flatMap((names) => {
    const found: string[] = [];
    for (const name of linesWith(names, anchor)) {
      const rest = name.slice(names.kind.length + 1).toLowerCase();
      if (words.every((word) => rest.includes(word))) found.push(name);
    }
    if (found.length > MAX_RANKED) return found;
    return found
      .map((name) => ({ name, rank: rankOf(name.slice(names.kind.length + 1).toLowerCase(), words) }))
      .sort((a, b) => a.rank - b.rank || a.name.length - b.name.length || (a.name < b.name ? -1 : 1))
      .map(({ name }) => name);
  });
}

/** 0 for each word that is a whole part of the name, 1 for one that a part begins with, 2 for any other place. */
function rankOf(name: string, words: readonly string[]): number {
  let rank = 0;
  for (const word of words) {
    let best = 2;
    for (let at = name.indexOf(word); at !== -1; at = name.indexOf(word, at + 1)) {
      if (isEdge(name[at - 1])) best = Math.min(best, isEdge(name[at + word.length]) ? 0 : 1);
    }
    rank += best;
  }
  return rank;
}

const isEdge = (letter: string | undefined) => letter === undefined || !/[a-z0-9]/.test(letter);

/** The lines of a text with a newline at both ends that hold `part`, which is in lower case where `folded` is. */
export function* linesWith({ text, folded }: Pick<Names, 'text' | 'folded'>, part: string): Generator<string> {
  for (let at = folded.indexOf(part, 1); at !== -1 && at < text.length - 1; ) {
    const end = text.indexOf('\n', at);
    yield text.slice(text.lastIndexOf('\n', at) + 1, end);
    at = folded.indexOf(part, end + 1);
  }
}

/** Whether `text` is what `glob` says; `*` is any text. In time proportional to both lengths, since callers write globs. */
export function matchesGlob(glob: string, text: string): boolean {
  let g = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    if (glob[g] === '*') {
      star = g++;
      resume = t;
    } else if (glob[g] === text[t]) {
      g++;
      t++;
    } else if (star !== -1) {
      g = star + 1;
      t = ++resume;
    } else return false;
  }
  while (glob[g] === '*') g++;
  return g === glob.length;
}

/** Reads `bpftrace -lv`: each probe's arguments, by the name that the index has for it. */
export function parseFields(text: string): ReadonlyMap<string, readonly ProbeField[]> {
  const probes = new Map<string, ProbeField[]>();
  let fields: ProbeField[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('    ')) {
      const field = parseField(line.trim());
      if (field) fields.push(field);
    } else if (kindOf(line.slice(0, line.indexOf(':'))) !== undefined) {
      fields = [];
      probes.set(nameOf(line), fields);
    }
  }
  return probes;
}

/** Reads a declaration such as `char prev_comm[16]` or `struct file * file`. */
export function parseField(declaration: string): ProbeField | undefined {
  const [, type, name, array = ''] = /^(.*?)\s*([A-Za-z_]\w*)((?:\[\w*\])*)$/.exec(declaration) ?? [];
  return type === undefined || name === undefined || type === '' ? undefined : { name, type: type + array };
}
