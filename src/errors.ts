/** One row an error: the HTTP status that /v1 answers, and what the caller does next. The reference page is made from this table. */
export const ERRORS = {
  'argument.invalid': { status: 400, remedy: 'correct the named argument and call again' },
  'program.empty': {
    status: 400,
    remedy: 'send a program such as: tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }',
  },
  'program.too_long': { status: 400, remedy: 'shorten the program to 16,384 bytes of UTF-8' },
  'program.encoding': { status: 400, remedy: 'send valid UTF-8 without NUL bytes and without a byte order mark' },
  'program.refused': { status: 400, remedy: 'remove the construct; list_helpers names what is allowed' },
  'program.unterminated': { status: 400, remedy: 'close the comment, string or block' },
  'program.invalid': {
    status: 400,
    remedy: 'correct the program; list_probes and list_helpers name what exists on this node',
  },
  'program.unloadable': { status: 400, remedy: 'simplify the named probe: fewer loops, shorter strings, smaller maps' },
  'program.too_many_probes': { status: 400, remedy: 'use at most 64 attach points; narrow the wildcard' },
  'program.unscoped': {
    status: 400,
    remedy: 'use a probe that runs for the target, or pass unscoped="allow" to trace the node (needs node rights)',
  },
  'target.invalid': {
    status: 400,
    remedy: 'pass ns/pod, ns/pod/container, ns/deployment:name, container:ID, pid:N, cgroup:PATH, systemd:UNIT or node',
  },
  'target.not_found': { status: 404, remedy: 'list_targets shows what runs on this node' },
  'target.ambiguous': { status: 409, remedy: 'pass one of the named candidates' },
  'target.elsewhere': { status: 409, remedy: 'ask the kerntap of that node' },
  'target.gone': {
    status: 410,
    remedy: 'list_targets shows what runs now; a container that restarts is followed by its pod',
  },
  'target.unsupported': { status: 400, remedy: 'pass a target of this node; list_targets shows them' },
  'target.no_file': {
    status: 404,
    remedy: 'list_probes(filter="uprobe", target=…) names the binaries and libraries of the target',
  },
  'run.unknown': { status: 404, remedy: 'list your runs with manage_runs(action="list"), or run the program again' },
  'run.expired': { status: 404, remedy: 'run the program again' },
  'run.no_section': { status: 404, remedy: 'ask for one of the named sections' },
  'run.no_column': { status: 400, remedy: 'sort by one of the named columns' },
  'run.not_running': { status: 409, remedy: 'read it with get_result' },
  'run.running': { status: 409, remedy: 'stop it first with manage_runs(action="stop")' },
  'limit.runs': { status: 429, remedy: 'wait for a slot, or stop a run with manage_runs(action="stop")' },
  'limit.rate': { status: 429, remedy: 'call less often' },
  'limit.body': { status: 413, remedy: 'send at most 256 KiB of JSON' },
  'limit.sessions': { status: 503, remedy: 'close sessions that are not used, then initialize again' },
  'store.full': {
    status: 507,
    remedy: 'free space in the data folder, or delete runs with manage_runs(action="delete")',
  },
  'store.quota': { status: 507, remedy: 'delete or un-keep runs with manage_runs' },
  'trace.unavailable': { status: 503, remedy: 'bpf_info names what this node lacks' },
  'trace.launch': { status: 500, remedy: 'run `kerntap check` on the node: it names the broken part' },
  'access.unauthenticated': { status: 401, remedy: 'send Authorization: Bearer with a token of the token file' },
  'access.denied': { status: 403, remedy: 'ask the owner of the token file for this right' },
  'access.host': { status: 403, remedy: 'call by localhost or 127.0.0.1, or add the name to --allowed-hosts' },
  'access.origin': { status: 403, remedy: 'add the origin to --allowed-origins' },
  'request.not_found': { status: 404, remedy: 'the paths are /mcp, /v1, /healthz, /readyz, /livez and /metrics' },
  'request.method': { status: 405, remedy: 'use the method that the Allow header names' },
  'request.media_type': { status: 415, remedy: 'send Content-Type: application/json without Content-Encoding' },
  'request.malformed': { status: 400, remedy: 'send one JSON object, at most 32 levels deep' },
  'server.draining': { status: 503, remedy: 'the server is stopping; call again when it is back' },
  'remote.unreachable': { status: 502, remedy: 'check the address, and that kerntap serves there' },
  'start.option': { status: 500, remedy: 'see kerntap --help' },
  'start.port': { status: 500, remedy: 'end the process that listens there, or choose another address with --listen' },
  'start.exposed': { status: 500, remedy: 'listen on 127.0.0.1, or give --token-file and --tls-terminated-by-proxy' },
  'start.bpftrace': { status: 500, remedy: 'install bpftrace 0.24.2 or newer, or pass its path with --bpftrace' },
  'start.privilege': {
    status: 500,
    remedy: 'start as root, in a container with CAP_SYS_ADMIN, CAP_BPF, CAP_PERFMON, CAP_SYSLOG and CAP_SETPCAP',
  },
  'start.data': { status: 500, remedy: 'choose another folder with --data-dir' },
  internal: { status: 500, remedy: 'see the log of the server under this request id' },
} as const satisfies Record<string, { status: number; remedy: string }>;

export type ErrorCode = keyof typeof ERRORS;

/**
 * The one error that a caller may read. `message` is a full sentence that names the value; `remedy` is an imperative.
 * Anything else that is thrown is logged and answered as `internal`.
 */
export class KerntapError extends Error {
  override readonly name = 'KerntapError';
  readonly code: ErrorCode;
  readonly remedy: string;
  /** Seconds until a new try can succeed, where that is known. */
  readonly retryAfterS: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { remedy?: string; retryAfterS?: number; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.remedy = options.remedy ?? ERRORS[code].remedy;
    this.retryAfterS = options.retryAfterS;
  }

  /** The form in which a model or a person reads it: `code: sentence. Remedy.` */
  get text(): string {
    return `${this.code}: ${this.message} ${remedySentence(this.remedy)}`;
  }
}

/** A remedy as a sentence. The name of a tool at its beginning stays as it is, or a model would call `List_probes`. */
export const remedySentence = (remedy: string): string =>
  `${/^[a-z]+_/.test(remedy) ? remedy : remedy.charAt(0).toUpperCase() + remedy.slice(1)}.`;
