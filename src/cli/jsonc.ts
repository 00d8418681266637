import { KerntapError } from '../errors.ts';

/** A value in a text of JSON with comments: where it stands, and what it holds as far as an edit must know. */
interface Node {
  readonly start: number;
  readonly end: number;
  readonly text?: string;
  readonly members?: readonly { readonly key: string; readonly value: Node }[];
  readonly items?: readonly Node[];
}

const SKIP = /(?:[\s\uFEFF]|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const LITERAL = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** Reads JSON that may hold comments and trailing commas, as editors write it. Throws `start.option` with the place. */
function parse(source: string): Node {
  let at = 0;

  function match(pattern: RegExp): string | undefined {
    pattern.lastIndex = at;
    const text = pattern.exec(source)?.[0];
    at += text?.length ?? 0;
    return text;
  }
  function sees(character: string): boolean {
    match(SKIP);
    if (source[at] !== character) return false;
    at++;
    return true;
  }
  function refuse(): never {
    const lines = source.slice(0, at).split('\n');
    const place = `line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1}`;
    throw new KerntapError('start.option', `The settings file is no JSON at ${place}; it was left as it is.`, {
      remedy: 'correct the file, or paste the settings by hand',
    });
  }
  /** Everything between an opening bracket, which was read, and its closing one. */
  function list<T>(close: string, one: () => T): T[] {
    const found: T[] = [];
    while (!sees(close)) {
      found.push(one());
      if (sees(',')) continue;
      if (!sees(close)) refuse();
      break;
    }
    return found;
  }
  function member() {
    match(SKIP);
    const key = match(STRING);
    if (key === undefined || !sees(':')) refuse();
    return { key: JSON.parse(key) as string, value: value() };
  }
  function value(): Node {
    match(SKIP);
    const start = at;
    if (sees('{')) return { members: list('}', member), start, end: at };
    if (sees('[')) return { items: list(']', value), start, end: at };
    const text = match(STRING);
    if (text !== undefined) return { text: JSON.parse(text) as string, start, end: at };
    if (!match(LITERAL)) refuse();
    return { start, end: at };
  }

  const root = value();
  match(SKIP);
  if (at < source.length) refuse();
  return root;
}

const memberOf = (node: Node, key: string): Node | undefined => node.members?.findLast((one) => one.key === key)?.value;

/**
 * Sets the member `path` of a JSON text, making the objects on the way, and leaves everything else, comments and layout
 * included, as it is. Throws `start.option` for a text that is no JSON, or in which a part of the path is no object.
 */
export function setMember(source: string, path: readonly string[], value: unknown): string {
  const root = parse(source);
  let node = root;
  for (const [depth, key] of path.entries()) {
    if (!node.members) throw notThe('object', path.slice(0, depth));
    const next = memberOf(node, key);
    if (!next) {
      const nested = path.slice(depth + 1).reduceRight<unknown>((inner, name) => ({ [name]: inner }), value);
      return insert(source, node, `${JSON.stringify(key)}: ${JSON.stringify(nested, null, 2)}`);
    }
    node = next;
  }
  return (
    source.slice(0, node.start) +
    indented(JSON.stringify(value, null, 2), lineIndent(source, node.start)) +
    source.slice(node.end)
  );
}

/** Adds `item` to the top-level array `key`, unless one with the same `id` is there. Throws as `setMember` does. */
export function addItem(source: string, key: string, item: { readonly id: string }): string {
  const root = parse(source);
  const array = memberOf(root, key);
  if (!array) return setMember(source, [key], [item]);
  if (!array.items) throw notThe('list', [key]);
  if (array.items.some((one) => memberOf(one, 'id')?.text === item.id)) return source;
  return insert(source, array, JSON.stringify(item, null, 2));
}

const notThe = (what: string, path: readonly string[]): KerntapError =>
  new KerntapError(
    'start.option',
    `${path.join('.') || 'The top'} of the settings file is no ${what}; it was left as it is.`,
    {
      remedy: 'correct the file, or paste the settings by hand',
    },
  );

/** Puts `rendered` behind the last child of an object or array, on a line of its own. */
function insert(source: string, container: Node, rendered: string): string {
  const last = container.members?.at(-1)?.value ?? container.items?.at(-1);
  const outer = lineIndent(source, container.start);
  const spread = last !== undefined && source.slice(container.start, last.start).includes('\n');
  const indent = spread ? lineIndent(source, last.start) : `${outer}  `;
  const at = last ? last.end : container.start + 1;
  const note = /^[\t ]*\/\/[^\n]*/.exec(source.slice(at))?.[0] ?? ''; // stays with the line that it explains
  const bracket = container.end - 1;
  const between = source.slice(at + note.length, bracket);
  return [
    source.slice(0, at),
    last ? ',' : '',
    note,
    `\n${indent}${indented(rendered, indent)}`,
    between.includes('\n') ? between : `${between.trimEnd()}\n${outer}`,
    source.slice(bracket),
  ].join('');
}

const indented = (text: string, indent: string): string => text.replaceAll('\n', `\n${indent}`);

/** The white space at the start of the line in which `at` stands. */
function lineIndent(source: string, at: number): string {
  const line = source.slice(source.lastIndexOf('\n', at - 1) + 1, at);
  return /^[\t ]*/.exec(line)?.[0] ?? '';
}
