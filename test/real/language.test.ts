import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { createFunctionNames } from '../../src/bpftrace/functions.ts';
import { KerntapError } from '../../src/errors.ts';
import { parseTree } from '../../src/program/parse.ts';
import { printTree } from '../../src/program/print.ts';
import { probeKindOf } from '../../src/program/probe-kinds.ts';
import { SEEDS } from '../fixtures/programs/seeds.ts';
import { bpftraceCommand, canTrace, projectRoot } from '../helpers/machine.ts';
import { mutated, programs } from '../helpers/program-grammar.ts';

const folder = mkdtempSync(join(tmpdir(), 'kerntap-language-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** bpftrace's own tools, as its package has them; none where a bpftrace of the machine is used. */
const tools = toolsIn(join(projectRoot, '.cache/bpftrace/root/usr/sbin'));

function toolsIn(place: string): Readonly<Record<string, string>> {
  try {
    const names = readdirSync(place).filter((name) => name.endsWith('.bt'));
    return Object.fromEntries(names.map((name) => [name, readFileSync(join(place, name), 'utf8')]));
  } catch {
    return {};
  }
}

interface Said {
  readonly accepted: boolean;
  /** The tree as bpftrace's parser made it, in its own writing. */
  readonly ast: string;
  readonly errors: readonly { readonly line: number; readonly column: number; readonly text: string }[];
}

const functions = join(folder, 'functions');
createFunctionNames(functions).refresh();

/** What bpftrace says of a program that it may only compile. */
async function compile(program: string): Promise<Said> {
  const [file = 'bpftrace', ...first] = bpftraceCommand;
  const child = spawn(file, [...first, '--traceable-functions', functions, '--mode', 'codegen', '-d', 'ast', '-'], {
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const ended = Promise.withResolvers<number | null>();
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (part: Buffer) => {
      said += part.toString('latin1');
    });
  child.on('error', ended.reject);
  child.on('close', ended.resolve);
  // A program that it refuses at once is not read to its end.
  child.stdin.on('error', () => {});
  child.stdin.end(program);
  const code = await ended.promise;
  const errors = [...said.matchAll(/^stdin:(\d+):(\d+)-\d+: ERROR: (?!expanded from)(.*)/gm)];
  return {
    accepted: code === 0,
    ast: /^AST after: parse\n-+\n([\s\S]*?)\n\nAST after/m.exec(said)?.[1] ?? '',
    errors: errors.map(([, line, column, text = '']) => ({ line: Number(line), column: Number(column), text })),
  };
}

/** A tree without what the printer writes in another way: layout, comments, aliases and quotes of attach points; macros first. */
function plain(ast: string): string {
  const items = ast.split(/(?<=^\}.*)\n/m).map(plainItem);
  const isMacro = (item: string) => item.startsWith('macro');
  return [...items.filter(isMacro), ...items.filter((item) => !isMacro(item))].join('');
}

const plainItem = (item: string): string =>
  item
    .split('\n')
    .map((line) => line.replace(/^#!.*|\/\*.*?\*\/|\/\/.*/g, ''))
    .map((line) =>
      /^\w/.test(line) ? line.replaceAll('"', '').replace(/^\w+/, (kind) => probeKindOf(kind) ?? kind) : line,
    )
    .join('')
    .replace(/\s+/g, '');

/** Checks that bpftrace understands the source and what is printed of it in the same way; what is refused by us is left out. */
async function compare(source: string): Promise<'read' | 'refused'> {
  let tree: ReturnType<typeof parseTree>;
  try {
    tree = parseTree(source);
  } catch (error) {
    if (error instanceof KerntapError) return 'refused';
    throw error;
  }
  const printed = printTree(tree);
  const [written, anew] = await Promise.all([compile(source), compile(printed.text)]);
  expect(anew.accepted, `${source}\n${printed.text}`).toBe(written.accepted);
  // Preprocessor lines are no part of what is printed; a comment over lines cannot be told from code line by line.
  if (!/^\s*#[a-z]/m.test(source) && !source.includes('/*')) expect(plain(anew.ast)).toBe(plain(written.ast));
  // bpftrace counts bytes: only where there is nothing but ASCII are its columns ours.
  if (/^[\x00-\x7f]*$/.test(source)) {
    const places = anew.errors.map(({ line, column, text }) => ({
      ...printed.placeOf({ line, column }, source),
      text,
    }));
    expect(places, source).toEqual(written.errors);
  }
  return 'read';
}

/** Two at a time: as many as the machines of continuous integration have processors. */
async function compareAll(sources: readonly string[]): Promise<readonly string[]> {
  const refused: string[] = [];
  const queue = sources.values();
  const work = async () => {
    for (const source of queue) if ((await compare(source)) === 'refused') refused.push(source);
  };
  await Promise.all([work(), work()]);
  return refused;
}

const MINUTES = 60_000;

test.skipIf(!canTrace)(
  'bpftrace takes the printed form of every seed as it takes the seed [needs root and BPF]',
  async () => {
    expect(await compareAll(Object.values(SEEDS))).toEqual([]);
  },
  10 * MINUTES,
);

test.skipIf(!canTrace || Object.keys(tools).length === 0)(
  "of bpftrace's own tools all are read but the one that reads a file of the node [needs root and BPF]",
  async () => {
    const refused = await compareAll(Object.values(tools));
    expect(Object.keys(tools).filter((name) => refused.includes(tools[name] ?? ''))).toEqual(['oomkill.bt']);
    expect(Object.keys(tools).length).toBeGreaterThan(30);
  },
  10 * MINUTES,
);

test.skipIf(!canTrace)(
  'bpftrace takes the printed form of programs that were made up as it takes them [needs root and BPF]',
  async () => {
    const sample = [...fc.sample(programs, { numRuns: 20, seed: 1 }), ...fc.sample(mutated, { numRuns: 20, seed: 1 })];
    const refused = await compareAll(sample);
    expect(refused.length).toBeLessThan(sample.length / 2);
  },
  10 * MINUTES,
);
