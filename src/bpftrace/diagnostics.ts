import type { Diagnostic, PrintedProgram } from '../trace/ports.ts';
import { type CallerPlace, callerPlaces } from './places.ts';

const MAX_DIAGNOSTICS = 20;
const MAX_MESSAGE_CHARACTERS = 300;
const MAX_NAME_CHARACTERS = 128;

/**
 * Turns what bpftrace wrote on standard error, and on standard output before the probes were attached, into diagnostics
 * in the caller's positions. What is printed, other files and the kernel's log are never quoted. Errors come first; at
 * most 20.
 */
export function parseDiagnostics(
  stderr: string,
  preamble: string,
  program: Pick<PrintedProgram, 'source' | 'text' | 'placeOf'>,
): readonly Diagnostic[] {
  const placeOf = callerPlaces(program);
  const said = [...parseReports(stderr), ...parseReports(preamble)].flatMap((report) =>
    diagnosticOf(report, placeOf, program.source),
  );
  const distinct = new Map(said.map((diagnostic) => [sameness(diagnostic), diagnostic] as const).reverse());
  return [...distinct.values()]
    .reverse()
    .sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity))
    .slice(0, MAX_DIAGNOSTICS);
}

const SEVERITIES: readonly Diagnostic['severity'][] = ['error', 'warning', 'hint'];

/** One syntax error at a place is enough: bpftrace tells everything that it would have accepted there. */
const sameness = ({ severity, at, message }: Diagnostic): string =>
  JSON.stringify([severity, at, message.startsWith('syntax: ') ? 'syntax' : message]);

// ------------------------------------------------------------------------------------------------- bpftrace's reports

/** A message as bpftrace wrote it; `column` counts bytes from 1, as bpftrace does. */
interface Report {
  readonly severity: 'error' | 'warning';
  readonly message: string;
  readonly place?: { readonly file: string; readonly line: number; readonly column: number };
  /** It came up in bpftrace's own library, whether the caller's text led there or not. */
  readonly ofLibrary?: boolean;
  /** bpftrace's `HINT:` lines. */
  readonly hints: readonly string[];
}

const LOCATED = /^(.+?):(\d+)(?::(\d+)-\d+|-(\d+)): (ERROR|WARNING): (.*)$/;
const BARE = /^(ERROR|WARNING|HINT): (.*)$/;
/** clang's words on the caller's struct definitions; those on any other file stay out. */
const C_ERROR = /^definitions\.h:\d+:\d+: (?:fatal )?error: (.*)$/;
const ABORT = /^\s*what\(\):\s+(.*)$/;

function parseReports(text: string): Report[] {
  const reports: (Report & { hints: string[] })[] = [];
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? '';
    const located = LOCATED.exec(line);
    const bare = BARE.exec(line);
    const plain = C_ERROR.exec(line) ?? ABORT.exec(line);
    const last = reports.at(-1);
    if (located) {
      const [, file = '', first, column, final, severity = '', message = ''] = located;
      const place = { file, line: Number(first), column: Number(column ?? 1) };
      // The source follows: one line and its underline, or all the lines of a longer place. It is skipped by count, for
      // it can hold anything, such as the text of another message.
      at += final === undefined ? 2 : Number(final) - Number(first) + 1;
      if (message === 'expanded from') {
        if (last) reports[reports.length - 1] = { ...last, place };
      } else {
        reports.push({ severity: severityOf(severity), message, place, ofLibrary: file !== 'stdin', hints: [] });
      }
    } else if (bare?.[1] === 'HINT') last?.hints.push(bare[2] ?? '');
    else if (bare) reports.push({ severity: severityOf(bare[1] ?? ''), message: bare[2] ?? '', hints: [] });
    else if (plain) reports.push({ severity: 'error', message: plain[1] ?? '', hints: [] });
  }
  return reports;
}

const severityOf = (word: string): Report['severity'] => (word === 'WARNING' ? 'warning' : 'error');

function diagnosticOf(report: Report, placeOf: CallerPlace, callerText: string): Diagnostic[] {
  if (NOISE.some((pattern) => pattern.test(report.message))) return [];
  const { place } = report;
  const inProgram = place?.file === 'stdin';
  const at = inProgram ? placeOf(place.line, place.column) : undefined;
  const ofOurs = report.ofLibrary || (inProgram && at === undefined);
  if (ofOurs && report.severity === 'warning') return [];
  const inLibrary = place !== undefined && !inProgram;
  const said = say(report);
  return [
    {
      severity: inLibrary ? 'hint' : (said.severity ?? report.severity),
      ...(at && { at }),
      message: readable(said.message, callerText),
      ...(said.remedy !== undefined && { remedy: readable(said.remedy, callerText) }),
      ...(said.unknown && { unknown: { ...said.unknown, name: said.unknown.name.slice(0, MAX_NAME_CHARACTERS) } }),
    },
  ];
}

const OWN_PATH = /(?<=^|[\s'"(:=])\/(?!(?:usr|lib|lib64|bin|sbin|proc|sys)\/)[^\s'":,;)]+/g;

/** One line without control characters and without paths that the caller did not name, cut to 300 characters. */
function readable(text: string, callerText: string): string {
  const line = text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(OWN_PATH, (path) => (callerText.includes(path) ? path : '(a path of the server)'));
  return line.length > MAX_MESSAGE_CHARACTERS ? `${line.slice(0, MAX_MESSAGE_CHARACTERS - 1)}…` : line;
}

// -------------------------------------------------------------------------------------------------- what is said of it

/** Messages of every start, of things that are told elsewhere, or of what no caller can act on. */
const NOISE: readonly RegExp[] = [
  /couldn't set RLIMIT_MEMLOCK/i,
  /^Could not read functions from /,
  /^The kernel contains bpf_iter__/,
  /^Script is using an unstable feature: /,
  /^Total lost event count: /,
  /^Include headers with missing type definitions/,
  /^Addrspace mismatch$/, // of each comparison of an argument with a number (bpftrace issue 3829)
  /^Return value discarded\.$/, // of each delete(@map[key])
  /^signed operands for '.' can lead to undefined behavior/, // of each (nsecs - @start[tid]) / 1000
  /^Expression of type: uint64 being cast to type: int64\./, // of the same
];

type Said = Pick<Diagnostic, 'message' | 'remedy' | 'unknown'> & { readonly severity?: Diagnostic['severity'] };
type Words = (...groups: string[]) => Partial<Said>;

/** The words of the last part of a probe's name, as `list_probes` takes them. */
const wordsOf = (name: string): string =>
  /[^:]*$/
    .exec(name)?.[0]
    .match(/[a-z0-9]{2,}/gi)
    ?.join(' ') ?? '*';

const oneType = { remedy: 'use one type for each map, key and variable' };
const signature = { remedy: 'list_helpers names the arguments' };
const reserved = 'remove it: a trace observes, it does not change what it traces';

/** The first row whose pattern matches a message says it; what a row leaves out stays in bpftrace's words. */
const TABLE: readonly (readonly [RegExp, Words])[] = [
  // names that are not there
  [
    /^Unknown function: '(.+)'/,
    (name) => ({
      message: `there is no function '${name}'`,
      remedy: 'list_helpers names the functions of this bpftrace',
      unknown: { kind: 'function', name, context: '' },
    }),
  ],
  [
    /^Unknown identifier: '(.+)'/,
    (name) => ({
      message: `there is no builtin '${name}'`,
      remedy: 'list_helpers names the builtins; a variable begins with $, a map with @',
      unknown: { kind: 'function', name, context: '' },
    }),
  ],
  [
    /^Invalid probe type: (.*)$/,
    (name) => ({
      message: `there is no probe type '${name}'`,
      remedy: 'bpf_info names the probe types of this node',
      unknown: { kind: 'probe', name, context: '' },
    }),
  ],
  [
    /^No matches for (uprobe|uretprobe|usdt) (.+)\.$/,
    (kind, name) => ({
      message: `${kind}:${name} matches no symbol of that file`,
      remedy: `list_probes(filter="${kind}:${name.replace(/:.*/, '')}:*WORD*") with the same target, if any, names what the file exports; a stripped or static binary exports little`,
    }),
  ],
  [
    /^No matches for (\S+) (.+)\.$/,
    (kind, name) => ({
      message: `${kind}:${name} matches no probe of this node`,
      remedy: `list_probes(filter="${wordsOf(name)}") searches all; bpf_info tells which probe types work here`,
      unknown: { kind: 'probe', name: `${kind}:${name}`, context: kind },
    }),
  ],
  [
    /^Struct\/union of type '(?:struct )?(\w+:.+)_args' does not contain a field named '(.+)'/,
    (probe, name) => ({
      message: `${probe} has no argument '${name}'`,
      remedy: `list_probes(filter="${probe}", fields=true) names its arguments`,
      unknown: { kind: 'field', name, context: probe },
    }),
  ],
  [
    /^Struct\/union of type '(.+)' does not contain a field named '(.+)'/,
    (type, name) => ({
      message: `${type} has no field '${name}'`,
      remedy: `list_probes(filter="${type}") names its fields`,
      unknown: { kind: 'field', name, context: type },
    }),
  ],
  [
    /^Cannot resolve unknown type "(.+)"/,
    (type) => ({
      message: `the kernel has no type '${type}'`,
      remedy: 'list_probes(filter="struct NAME") looks one up',
    }),
  ],
  [/^Undefined map: /, () => ({ remedy: 'assign to the map before it is read' })],
  [/^Undefined or undeclared variable: /, () => ({ remedy: 'assign to the variable before it is read' })],
  [/: not a known configuration option$/, () => ({ remedy: 'remove it from the config block' })],

  // probes
  [
    /has no valid attach points/,
    () => ({
      message: 'no attach point of this probe exists or can be attached on this node',
      remedy: 'list_probes names what exists, bpf_info which probe types work here; a tracepoint often tells the same',
    }),
  ],
  [
    /^(.+) is not traceable \(/,
    (name) => ({
      severity: 'hint',
      message: `the kernel has no function '${name}' that can be traced: it may be absent, inlined or protected`,
      remedy: 'use a tracepoint; list_probes names them',
    }),
  ],
  [
    /^Unable to attach probe: (hardware:.+?)\. If /,
    (probe) => ({
      message: `${probe} cannot be attached: virtual machines have no hardware counters`,
      remedy: 'use software:cpu-clock or profile:hz:99',
    }),
  ],
  [
    /^Unable to attach probe: (.+?)\. If /,
    (probe) => ({
      message: `the kernel refused to attach ${probe}`,
      remedy: 'bpf_info tells which probe types work here',
    }),
  ],
  [
    /^Could not determine instruction boundary for (.+) \(/,
    (probe) => ({ message: `${probe} is inside a function of a stripped file`, remedy: 'name a symbol' }),
  ],
  [
    /^uprobe target file '(.+)' does not exist/,
    (path) => ({
      message: `there is no executable file '${path}' for the probe`,
      remedy: 'give the absolute path of a program or library on this node, or a target to name one of its files',
    }),
  ],
  [
    /^Can't attach to (\d+) probes because it exceeds/,
    (count) => ({
      message: `the program has ${count} attach points, too many for one run`,
      remedy: 'use at most 64 attach points; narrow the wildcard',
    }),
  ],
  [
    /is trying to generate more than (\d+) BPF programs/,
    (count) => ({
      message: `the program needs more than ${count} BPF programs, too many for one run`,
      remedy: 'use at most 64 attach points; narrow the wildcard',
    }),
  ],
  [
    /can not be used (?:with|for) |builtin can only be used with /,
    () => ({ remedy: 'use a probe type that has it; list_helpers says which do' }),
  ],

  // types and arguments
  [/^(?:Type|Argument) mismatch for /, () => oneType],
  [/^(?:left|right) \(.+\)$/, () => ({ severity: 'hint' })],
  [/used as a map without an explicit key/, () => ({ remedy: 'use two names: one map with keys, one without' })],
  [/(?:requires|takes up to|takes) .*arguments?|do not match any definition/, () => signature],
  [/^not enough arguments for format string|^unsupported format specifier/, () => signature],
  [/^String is too long \(over (\d+) bytes\)/, (bytes) => ({ message: `a string is longer than ${bytes} bytes` })],

  // refused by design
  [/^(\w+)\(\) is (?:unsafe|an unsafe function)/, (name) => ({ message: `${name}() is refused`, remedy: reserved })],
  [/^failed to open file '/, () => ({ message: 'cat() reads no files here', remedy: 'remove it' })],

  // the kernel's verifier, whose log is never shown
  [
    /^Error loading BPF program for (.+)\. Error code: (-\d+) \((.+)\)/,
    (probe, code, words) => ({
      message: `the kernel refused the probe ${probe} (${code}, ${words})`,
      ...VERIFIER[code],
    }),
  ],
  [
    /^Failed to open kernel function info: Error reading events/,
    () => ({
      message: 'the kernel does not show its tracepoints, so bpftrace runs no program',
      remedy: 'mount tracefs on the node; where the kernel is locked down, boot with lockdown=integrity or without',
    }),
  ],
  [
    /^Missing (CAP_\w+) capability/,
    (capability) => ({
      message: `the server lacks ${capability}`,
      remedy: 'start kerntap as root; `kerntap check` names what is missing',
    }),
  ],
];

const SMALLER = { remedy: 'make it smaller: fewer loop rounds, shorter strings, fewer map accesses' };
const VERIFIER: Readonly<Record<string, Partial<Said>>> = {
  '-7': SMALLER,
  '-28': SMALLER,
  '-13': { remedy: 'read memory only through args, curtask or a cast pointer that was checked' },
  '-1': { remedy: 'bpf_info tells what this node may load' },
};

function say(report: Report): Said {
  for (const [pattern, words] of TABLE) {
    const match = pattern.exec(report.message);
    if (match) return { message: report.message, ...words(...match.slice(1)) };
  }
  // A hint of bpftrace that names its options or environment is of no use to the caller.
  const hint = report.hints.find((text) => !/BPFTRACE_|--\w|'?missing_probes|environment/.test(text));
  return { message: report.message, ...(hint !== undefined && { remedy: hint }) };
}
