import { BUILTINS } from './builtins.ts';
import { readToken } from './lexer.ts';
import { numberOf } from './literals.ts';
import { type Block, type Expression, mapExpressions, type Tree } from './tree.ts';

/** A text whose C lines are blank where they are not needed, so that places in it stay what they were. */
export interface WithoutHeaders {
  readonly text: string;
  /** What upper-case names stand for, as number literals. */
  readonly constants: ReadonlyMap<string, string>;
}

/** Types of the kernel come from its BTF, so its headers are not needed, and no file is ever read. */
const KERNEL_HEADER = /^#\s*include\s*<(?:linux|net|uapi|asm|asm-generic|trace)\/[\w./-]+\.h>\s*$/;
const CONSTANT = /^#\s*define\s+([A-Z][A-Z0-9_]*)\s+\(?\s*(\w+)\s*\)?\s*$/;
/** bpftrace's tools bring their own types along for kernels that do not tell theirs; bpftrace defines the word here. */
const IF_BTF = /^#\s*(ifdef|ifndef)\s+BPFTRACE_HAVE_BTF\s*$/;
const ELSE = /^#\s*else\s*$/;
const END = /^#\s*endif\s*$/;

/** What those headers define and BTF does not hold: the same on all machines (include/linux/socket.h, asm-generic/errno*.h, …). */
const OF_HEADERS: ReadonlyMap<string, string> = new Map(
  [
    ...Object.entries({ UNSPEC: 0, UNIX: 1, LOCAL: 1, INET: 2, INET6: 10, NETLINK: 16, PACKET: 17, VSOCK: 40 }).flatMap(
      ([name, value]): [string, number][] => [
        [`AF_${name}`, value],
        [`PF_${name}`, value],
      ],
    ),
    ...Object.entries({
      ...{ EPERM: 1, ENOENT: 2, EINTR: 4, EIO: 5, EAGAIN: 11, EWOULDBLOCK: 11, ENOMEM: 12, EACCES: 13, EEXIST: 17 },
      ...{ EINVAL: 22, ENFILE: 23, EMFILE: 24, ENOSPC: 28, EROFS: 30, EPIPE: 32, EADDRINUSE: 98, ECONNRESET: 104 },
      ...{ ETIMEDOUT: 110, ECONNREFUSED: 111, EHOSTUNREACH: 113, EINPROGRESS: 115 },
      ...{ SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGUSR1: 10, SIGSEGV: 11, SIGUSR2: 12 },
      ...{ SIGPIPE: 13, SIGALRM: 14, SIGTERM: 15, SIGCHLD: 17 },
      ...{ TASK_RUNNING: 0, TASK_INTERRUPTIBLE: 1, TASK_UNINTERRUPTIBLE: 2 },
    }),
  ].map(([name, value]): [string, string] => [name, String(value)]),
);

const NAMES = new Set(BUILTINS.map(({ name }) => name));

/**
 * Reads the C lines of a program that change nothing but what words stand for: includes of kernel headers, constants that are
 * plain numbers, and what depends on BTF alone. All others stay where they are, for the parser to refuse.
 */
export function withoutHeaders(source: string): WithoutHeaders {
  if (!source.includes('#')) return { text: source, constants: new Map() };
  const constants = new Map<string, string>();
  let text = source;
  let included = false;
  /** One for each open `#if`: whether its lines count. */
  const open: boolean[] = [];

  const blank = (start: number, end: number): void => {
    text = text.slice(0, start) + text.slice(start, end).replace(/[^\n]/g, ' ') + text.slice(end);
  };

  for (let at = source.startsWith('#!') ? source.indexOf('\n') + 1 || source.length : 0, from = at; ; ) {
    const token = nextToken(source, at);
    if (token === undefined || token.kind === 'end') break;
    at = token.end;
    if (token.kind !== 'directive' || !isFirstInLine(source, token.start)) continue;
    const line = token.text.replace(/\/\*.*?\*\/|\/\/.*$/g, ' ').trim();
    const read = readLine(line);
    if (!open.every(Boolean)) blank(from, token.start);
    if (read === undefined && open.every(Boolean)) continue;
    blank(token.start, token.end);
    from = token.end;
  }
  const known = included ? new Map([...OF_HEADERS, ...constants]) : constants;
  return open.length === 0 ? { text, constants: known } : { text: source, constants: new Map() };

  /** Undefined for a line that is not understood. */
  function readLine(line: string): true | undefined {
    const condition = IF_BTF.exec(line)?.[1];
    if (condition !== undefined) open.push(condition === 'ifdef');
    else if (ELSE.test(line) && open.length > 0) open.push(!open.pop());
    else if (END.test(line) && open.length > 0) open.pop();
    else if (!open.every(Boolean)) return true;
    else if (KERNEL_HEADER.test(line) && !line.includes('..')) included = true;
    else return readConstant(line);
    return true;
  }

  function readConstant(line: string): true | undefined {
    const [, name = '', value = ''] = CONSTANT.exec(line) ?? [];
    if (numberOf(value) === undefined || NAMES.has(name)) return undefined;
    if ((constants.get(name) ?? value) !== value) return undefined;
    constants.set(name, value);
    return true;
  }
}

/** Undefined where something is not closed: the parser says so better. */
function nextToken(source: string, at: number) {
  try {
    return readToken(source, at);
  } catch {
    return undefined;
  }
}

const isFirstInLine = (source: string, offset: number): boolean =>
  /^[ \t]*$/.test(source.slice(source.lastIndexOf('\n', offset - 1) + 1, offset));

/** Puts numbers where their names stand, so that what is printed needs no C lines. */
export function withConstants(tree: Tree, constants: ReadonlyMap<string, string>): Tree {
  if (constants.size === 0) return tree;
  const replace = (node: Expression): Expression => {
    const text = node.kind === 'name' ? constants.get(node.name) : undefined;
    return text === undefined ? node : { kind: 'number', text, ...(node.span && { span: node.span }) };
  };
  const inBlock = (body: Block): Block => mapExpressions(body, replace);
  const inExpression = (expression: Expression): Expression =>
    inBlock({ statements: [], value: expression }).value ?? expression;
  return {
    ...tree,
    macros: tree.macros.map((macro) => ({ ...macro, body: inBlock(macro.body) })),
    probes: tree.probes.map((probe) => ({
      ...probe,
      ...(probe.predicate && { predicate: inExpression(probe.predicate) }),
      body: inBlock(probe.body),
    })),
  };
}
