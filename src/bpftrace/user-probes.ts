import { closeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import type { Probe, ProbePage, ProbeQuery, TargetFile } from '../trace/ports.ts';
import { demangle } from './demangle.ts';
import { type ElfFile, readElf } from './elf.ts';
import { openFile } from './open-file.ts';
import { createProbeIndex, KIND_ORDER, kindOf } from './probe-index.ts';

/** Finds the files that a path or the name of a program or library is in a target; without one all that its processes run. */
export type FindTargetFiles = (
  selector: string,
  path: string | undefined,
  signal: AbortSignal,
) => Promise<readonly TargetFile[]>;

/** As many as are read for one question. */
const MAX_FILES = 64;
const MAX_LISTED = 1_000_000;

/** Kinds of probes that are in files. */
const USER_KINDS = ['uprobe', 'uretprobe', 'usdt'];

/** What a question about a target's files asks for. */
interface Question {
  readonly kind?: string;
  /** A path or a name; all files when absent. */
  readonly file?: string;
  /** For the index; empty for the files themselves. */
  readonly filter: string;
}

/** Reads `uprobe:libc:mall*`, `usdt:/usr/bin/app`, `uprobe malloc`, `*`; undefined for a question about other kinds of probes. */
export function parseQuestion({ filter, kind: wanted }: Pick<ProbeQuery, 'filter' | 'kind'>): Question | undefined {
  const text = filter.trim();
  const [, before, point] = /^(\w+):(.*)$/s.exec(text) ?? [];
  const [, word, words] = /^(\w+)(?:\s+(.*))?$/s.exec(text) ?? [];
  const named = before !== undefined ? kindOf(before) : KIND_ORDER.find((kind) => kind === word);
  const kind = named ?? (wanted === undefined ? undefined : kindOf(wanted));
  if (kind !== undefined && !USER_KINDS.includes(kind)) return undefined;
  const some = kind === undefined ? {} : { kind };
  const rest = named === undefined ? text : (point ?? words ?? '');
  if (/^\**$/.test(rest)) return { ...some, filter: '' };
  if (named === undefined || point === undefined) return { ...some, filter: rest };

  const [, quotedFile, plainFile = '', glob] = /^(?:"([^"]*)"|([^:"]*))(?::(.*))?$/s.exec(point) ?? [];
  const file = quotedFile ?? plainFile;
  if (glob === undefined && file.includes('*')) return { ...some, filter: `${named}:${file}` };
  return { ...some, ...(/^\**$/.test(file) ? {} : { file }), filter: filterOf(named, glob || '*') };
}

/** What stands behind the file, for an index of names that have the file in them. */
function filterOf(kind: string, glob: string): string {
  if (glob.includes('::')) return `${kind} ${glob.split(/[:*]+/).join(' ')}`; // as its author wrote it
  return glob.includes(':') ? `${kind}:*:${glob}` : `${kind}:${glob}`;
}

/**
 * Searches what the programs and libraries of a target offer: `uprobe:libc:mall*`, `usdt:/usr/bin/app:*`, words over all of
 * its files, or `*` for the files. Throws what `find` throws.
 */
export async function searchTarget(
  target: string,
  { kind, file, filter }: Question,
  asked: Pick<ProbeQuery, 'offset' | 'limit'>,
  find: FindTargetFiles,
  signal: AbortSignal,
): Promise<ProbePage> {
  const all = await find(target, file, signal);
  const files = all.filter(({ shown }) => WRITABLE_PATH.test(shown));
  const notes = [
    ...(files.length < all.length ? ['files whose names an attach point cannot hold are left out'] : []),
    ...(files.length > MAX_FILES ? [`only ${MAX_FILES} of ${files.length} files were searched: name one`] : []),
  ];
  if (filter === '') return pageOfFiles(files, kind ?? 'uprobe', asked, notes);

  const lines: string[] = [];
  let unread = 0;
  for (const { path, shown } of files.slice(0, MAX_FILES)) {
    signal.throwIfAborted();
    const elf = contentOf(path);
    if (elf === undefined) unread++;
    else for (const line of linesOf(elf, shown, kind)) lines.push(line);
    if (lines.length > MAX_LISTED) break;
    await setImmediate(); // a large program takes a tenth of a second
  }
  if (unread > 0) notes.push(`${unread} of its files are no 64-bit programs or libraries that can be read`);
  const index = createProbeIndex(lines.join('\n'));
  const { names, ...found } = index.search({
    offset: asked.offset,
    limit: asked.limit,
    filter,
    ...(kind !== undefined && { kind }),
  });
  return { ...found, probes: names.map(probeOf), notes };
}

/** A path that needs no more than quotes. */
const WRITABLE_PATH = /^\/[^\u0000-\u0020"*:,{}\u007f-\uffff]{1,4000}$/;
const PLAIN = /^[\w.$@+~/-]+$/;
const quoted = (part: string) => (PLAIN.test(part) ? part : `"${part}"`);

function* linesOf(elf: ElfFile, shown: string, kind: string | undefined): Generator<string> {
  const file = quoted(shown);
  if (kind !== 'usdt') for (const name of elf.functions) yield `uprobe:${file}:${quoted(name)}`;
  if (kind === undefined || kind === 'usdt')
    for (const name of new Set(elf.usdt.map((probe) => `${probe.provider}:${probe.name}`)))
      yield `usdt:${file}:${name}`;
}

function probeOf(name: string): Probe {
  const demangled = demangle(name.slice(name.lastIndexOf(':') + 1));
  return demangled === undefined ? { name } : { name, demangled };
}

function contentOf(path: string): ElfFile | undefined {
  let fd: number;
  try {
    fd = openFile(path);
  } catch {
    return undefined; // it is gone
  }
  try {
    return readElf(fd);
  } catch {
    return undefined;
  } finally {
    closeSync(fd);
  }
}

function pageOfFiles(
  files: readonly TargetFile[],
  kind: string,
  { offset, limit }: Pick<ProbeQuery, 'offset' | 'limit'>,
  notes: readonly string[],
): ProbePage {
  const names = [...new Set(files.map(({ shown }) => `${kind}:${quoted(shown)}:*`))];
  return {
    probes: names.slice(offset, offset + limit).map((name) => ({ name })),
    matches: names.length,
    total: names.length,
    closest: [],
    notes,
  };
}
