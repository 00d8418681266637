/** bpftrace's short names of probe kinds and those that it had before (`bpftrace --help`, src/probe_types.cpp); case counts. */
export const KIND_ALIASES: Readonly<Record<string, string>> = {
  t: 'tracepoint',
  rt: 'rawtracepoint',
  k: 'kprobe',
  kr: 'kretprobe',
  f: 'fentry',
  fr: 'fexit',
  kfunc: 'fentry',
  kretfunc: 'fexit',
  u: 'uprobe',
  ur: 'uretprobe',
  U: 'usdt',
  p: 'profile',
  i: 'interval',
  s: 'software',
  h: 'hardware',
  it: 'iter',
  w: 'watchpoint',
};

/** All probe kinds of bpftrace 0.27. */
export const PROBE_KINDS: readonly string[] = [
  ...new Set(Object.values(KIND_ALIASES)),
  'begin',
  'end',
  'self',
  'test',
  'bench',
];

const NAMES: ReadonlyMap<string, string> = new Map([
  ...Object.entries(KIND_ALIASES),
  ...PROBE_KINDS.map((kind): [string, string] => [kind, kind]),
]);

/** The full name of a probe kind or of its alias; only full names may be written in other case (`BEGIN`). */
export const probeKindOf = (name: string): string | undefined => {
  const lower = name.toLowerCase();
  return NAMES.get(name) ?? (PROBE_KINDS.includes(lower) ? lower : undefined);
};
