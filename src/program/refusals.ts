import { KerntapError } from '../errors.ts';
import { placeOf, type Token } from './lexer.ts';
import { numberOf } from './literals.ts';
import { type Remedy, renderRemedy } from './tier/finding.ts';
import { CALL_REMEDIES, REMEDIES } from './tier/remedies.ts';
import { type AnyNode, nodesOf, probeNodes, type Tree } from './tree.ts';

/** Functions that do more than observe, each with what it would do. bpftrace refuses some of them itself, less clearly. */
const REFUSED_CALLS: ReadonlyMap<string, string> = new Map([
  ['cat', 'it reads files of the server'],
  ['cgroupid', 'it reads paths of the server'],
  ['skboutput', 'it writes files on the server'],
  ['system', 'it runs commands'],
  ['signal', 'it sends signals'],
  ['signal_thread', 'it sends signals'],
  ['override', 'it changes what kernel functions return'],
  ['write_user', 'it writes into the memory of traced processes'],
  ['bpf_send_signal_task', 'it sends signals'], // a kernel function: newer kernels let programs call it
]);

/** Attach points with a path. In any other, bpftrace versions differ on what a slash begins. */
const WITH_PATH = /^(?:u|ur|uprobe|uretprobe|usdt):/i;

/** Refuses a token that no program may hold, wherever it stands. */
export function refuseToken(token: Token, source: string): void {
  const reason = reasonAgainst(token);
  if (reason !== undefined) throw refused(nameOf(token), source, token.start, reason, remedyOf(token));
}

function reasonAgainst({ kind, text }: Token): string | undefined {
  switch (kind) {
    case 'directive':
      return 'most preprocessor lines are, since they read files of the server or change the program';
    case 'word':
      return text === 'import' ? 'it runs other files with functions of their own' : undefined;
    case 'punctuation':
      return text === "'" || text === '\\' ? 'bpftrace has no use for it here' : undefined;
    case 'attach_point':
      if (text.includes('/') && !WITH_PATH.test(text))
        return 'a comment or predicate needs a blank before it, and only uprobes and usdt have a path';
      if (/[#'\\\x00-\x1f\x7f]|%:/.test(text)) return "an attach point holds no #, ', \\, %: or control character";
      if (/\$/.test(text.replace(/"[^"]*"/g, ''))) return 'there is no command line whose parameters it could name';
      return undefined;
    default:
      return undefined;
  }
}

function remedyOf({ kind, text }: Token): Remedy {
  if (kind === 'directive') return REMEDIES.directive;
  if (kind === 'attach_point') return REMEDIES.point;
  return text === 'import' ? REMEDIES.imported : REMEDIES.quotes;
}

const nameOf = ({ kind, text }: Token): string => (kind === 'directive' ? (/^#\s*\w*/.exec(text)?.[0] ?? '#') : text);

/** What a config block may say. The rest are limits, which the environment sets, or would keep maps from being printed. */
const CONFIG_KEYS = ['stack_mode', 'missing_probes', 'str_trunc_trailer'];

/** A declaration beats the limit of the environment, and the kernel reserves all of a map at once, outside of our limits. */
const MAX_DECLARED_KEYS = 10_000n;

/** Why a node is refused, whose name that is. */
type Refusal = { readonly what: string; readonly reason: string; readonly remedy: Remedy } | undefined;

const OURS = 'such names belong to kerntap';
const isOurs = (name: string): boolean => /^[@$]__/.test(name);
const refusedName = (name: string): Refusal =>
  isOurs(name) ? { what: name, reason: OURS, remedy: REMEDIES.ours } : undefined;

function refusalOf(node: AnyNode): Refusal {
  switch (node.kind) {
    case 'map':
    case 'variable':
    case 'let':
      return refusedName(node.name);
    case 'for_range':
    case 'for_each':
      return refusedName(node.variable);
    case 'call': {
      const reason = REFUSED_CALLS.get(node.callee);
      if (reason !== undefined)
        return { what: node.callee, reason, remedy: CALL_REMEDIES[node.callee] ?? REMEDIES.acts };
      // Many a builtin, such as uid, brings a C file along, and then __signal_process() of that file needs no --unsafe.
      return node.callee.startsWith('__')
        ? { what: node.callee, reason: "such functions are for bpftrace's own library", remedy: REMEDIES.unknown }
        : undefined;
    }
    default:
      return undefined;
  }
}

/** Refuses what a caller's program may not hold in any tier. Throws `program.refused` with the first place. */
export function refuseInTree({ config, maps, macros, probes }: Tree, source: string): void {
  const check = (at: { readonly span?: { readonly start: number } }, refusal: Refusal): void => {
    if (refusal) throw refused(refusal.what, source, at.span?.start ?? 0, refusal.reason, refusal.remedy);
  };
  for (const entry of config) {
    if (!CONFIG_KEYS.includes(entry.key))
      check(entry, {
        what: entry.key,
        reason: `a config block may set ${CONFIG_KEYS.join(', ')}`,
        remedy: REMEDIES.config,
      });
  }
  for (const map of maps) {
    check(map, refusedName(map.name));
    const keys = map.size?.kind === 'number' ? map.size.text : '';
    if ((numberOf(keys) ?? MAX_DECLARED_KEYS + 1n) > MAX_DECLARED_KEYS)
      check(map.size ?? map, {
        what: keys,
        reason: `a map may be declared with at most ${MAX_DECLARED_KEYS} keys`,
        remedy: REMEDIES.mapSize,
      });
  }
  for (const macro of macros) {
    for (const name of [macro.name, ...macro.parameters]) check(macro, refusedName(name));
    for (const node of nodesOf(macro.body)) check(node, refusalOf(node));
  }
  for (const probe of probes) {
    for (const point of probe.points) {
      if (point.kind === 'self')
        check(point, { what: point.text, reason: 'the signal probe is how kerntap ends a run', remedy: REMEDIES.kind });
    }
    for (const node of probeNodes(probe)) check(node, refusalOf(node));
  }
}

/** Refuses a line end that bpftrace and its C parser see differently. */
export function refuseLineEnds(source: string): void {
  const lone = /\r(?!\n)/.exec(source);
  if (lone) throw refused('\\r', source, lone.index, 'a carriage return needs a line feed after it');
}

/** The error for a construct that no program may hold, with its place. */
export const refused = (
  construct: string,
  source: string,
  offset: number,
  reason: string,
  remedy?: Remedy,
): KerntapError =>
  new KerntapError(
    'program.refused',
    `\`${construct.slice(0, 60)}\` at ${placeOf(source, offset)} is refused: ${reason}.`,
    remedy === undefined ? {} : { remedy: renderRemedy(remedy) },
  );
