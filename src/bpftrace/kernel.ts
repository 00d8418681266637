import { readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KerntapError } from '../errors.ts';
import type { Log } from '../log.ts';
import { nearest } from '../program/nearest.ts';
import type { Kernel, KernelFacts, Probe, ProbeField, ProbePage, ProbeQuery, ScopeKernel } from '../trace/ports.ts';
import { createKernelTypes } from './btf.ts';
import { type Attempt, cgroupLayout, findFacts, findLockdown, parseMounts } from './facts.ts';
import { createPoints } from './points.ts';
import { createProbeIndex, KIND_ORDER, kindOf, listedKind, type ProbeIndex, parseFields } from './probe-index.ts';
import { type FindTargetFiles, parseQuestion, searchTarget } from './user-probes.ts';

const QUERY_LIMIT_MS = 30_000;
const COMPUTE_LIMIT_MS = 120_000;
const MAX_FILTER_LENGTH = 512;

/** The first pid namespace of a machine always has this number (PROC_PID_INIT_INO in the kernel's proc_ns.h). */
const INITIAL_PIDS = 'pid:[4026531836]';

/** Kinds that bpftrace lists by itself, without a file to look into. */
const LISTED_KINDS = [
  'tracepoint',
  'rawtracepoint',
  'software',
  'hardware',
  'profile',
  'interval',
  'iter',
  'kprobe',
  'fentry',
];

export interface KernelOptions {
  /** Runs one short bpftrace command, with the node's list of traceable functions where there is one. */
  query(args: readonly string[], signal: AbortSignal): Promise<{ stdout: string; exitCode: number | undefined }>;
  /** Attaches a program and takes it away at once. */
  attach(program: string, signal: AbortSignal): Promise<Attempt>;
  readonly version: string;
  readonly bundled: boolean;
  readonly log: Log;
  /** Whether the launch chain has Landlock; absent where it does not know. */
  readonly landlock?: boolean;
  /** The programs and libraries of a target; without it all questions are about the node. */
  readonly targetFiles?: FindTargetFiles;
  /** The folder in which `proc` and `sys` are; `/` but in tests. */
  readonly root?: string;
}

/** What this kernel can do and which probes it has, found out once and kept until a caller asks to look again. */
export function createKernel(options: KernelOptions): Kernel {
  const { log, root = '/' } = options;
  const types = createKernelTypes(root);
  const points = createPoints(root, types);
  const knownLockdown = once((signal) => computeLockdown(signal));
  const knownFacts = once((signal) => computeFacts(signal));
  const knownScoping = once((signal) => computeScoping(signal));
  const knownIndex = once((signal) => computeIndex(signal));
  /** Arguments of probes by name, as far as they were asked for; names come from the index, so this is bounded. */
  let knownFields = new Map<string, readonly ProbeField[]>();

  async function query(args: readonly string[], signal: AbortSignal): Promise<string> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(QUERY_LIMIT_MS)]);
    const { stdout, exitCode } = await options.query(args, limit);
    limit.throwIfAborted();
    if (exitCode !== 0) {
      throw new KerntapError('trace.unavailable', `bpftrace did not answer ${args[0]} (exit code ${exitCode}).`);
    }
    return stdout;
  }

  const mounts = async () => parseMounts(await readFile(join(root, 'proc/self/mounts'), 'utf8').catch(() => ''));

  async function computeLockdown(signal: AbortSignal): Promise<string> {
    const { attach } = options;
    return findLockdown({ attach, root, btf: types.kernel() }, await mounts(), signal);
  }

  async function computeFacts(signal: AbortSignal): Promise<KernelFacts> {
    const startMs = performance.now();
    const facts = await findFacts(
      {
        query,
        attach: options.attach,
        btf: types.kernel(),
        lockdown: await knownLockdown.get(signal),
        bpftrace: { version: options.version, bundled: options.bundled },
        landlock: options.landlock,
        root,
        log,
      },
      signal,
    );
    log.info('kernel.facts', {
      ms: Math.round(performance.now() - startMs),
      kinds: facts.probeKinds
        .filter((kind) => kind.available)
        .map((kind) => kind.kind)
        .join(' '),
    });
    return facts;
  }

  async function computeScoping(signal: AbortSignal): Promise<ScopeKernel> {
    const fields = new Map<string, ReadonlySet<string>>();
    const has: ScopeKernel['has'] = (type, field) => {
      const known =
        fields.get(type) ??
        new Set(
          types
            .kernel()
            ?.fields(type, 0)
            ?.map(({ name }) => name),
        );
      fields.set(type, known);
      return known.has(field);
    };
    const { layout } = cgroupLayout(await mounts());
    const readsKernel = types.kernel() !== undefined && (await knownLockdown.get(signal)) !== 'confidentiality';
    const inV2 = has('struct cgroup', 'ancestors') ? 'ancestors' : 'ancestor_ids';
    return {
      cgroups: layout === 'v1' ? 'v1_memory' : readsKernel ? inV2 : 'id_set',
      nestedPids: (await readlink(join(root, 'proc/self/ns/pid')).catch(() => INITIAL_PIDS)) !== INITIAL_PIDS,
      has,
    };
  }

  async function computeIndex(signal: AbortSignal): Promise<ProbeIndex> {
    const missing = await unavailable(signal);
    const startMs = performance.now();
    const kinds = LISTED_KINDS.filter((kind) => !missing.has(kind));
    const index = createProbeIndex(await query(['-l', kinds.map((kind) => `${kind}:*`).join(',')], signal));
    knownFields = new Map();
    log.info('kernel.index', { ms: Math.round(performance.now() - startMs), kinds: index.kinds.join(' ') });
    return index;
  }

  /** The index, or that of one kind as long as nobody waited for the facts on which the whole one stands. */
  async function indexFor(kind: string | undefined, signal: AbortSignal): Promise<ProbeIndex> {
    const whole = knownIndex.known();
    if (whole !== undefined) return whole;
    const listed = kind === undefined ? 'tracepoint' : listedKind(kind);
    return createProbeIndex(LISTED_KINDS.includes(listed) ? await query(['-l', `${listed}:*`], signal) : '');
  }

  /** Kinds that do not work here, with the reason. */
  async function unavailable(signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const { probeKinds } = await knownFacts.get(signal);
    return new Map(
      probeKinds.filter((fact) => !fact.available).map((fact) => [fact.kind, fact.why ?? 'not available']),
    );
  }

  async function searchProbes(asked: ProbeQuery, signal: AbortSignal): Promise<ProbePage> {
    const question = asked.target === undefined ? undefined : parseQuestion(asked);
    if (asked.target !== undefined && question !== undefined && options.targetFiles !== undefined)
      return searchTarget(asked.target, question, asked, options.targetFiles, signal);
    const kind = kindIn(asked.filter) ?? asked.kind;
    const inFile = (kind !== undefined && listedKind(kind) === 'uprobe') || kind === 'usdt';
    const missing = await unavailable(signal);
    if (inFile && !missing.has(kind)) return searchFile(kind, asked, signal);
    const index = await knownIndex.get(signal);
    const { names, ...found } = index.search(asked);
    const told = [...missing].filter(([name]) =>
      kind === undefined ? found.matches === 0 && LISTED_KINDS.includes(name) : name === kind,
    );
    const unlisted = kind !== undefined && !missing.has(kind) && found.total === 0;
    return {
      ...found,
      probes: asked.fields ? await withFields(names, signal) : names.map((name) => ({ name })),
      notes: unlisted ? [`${kind}: bpftrace lists none here`] : told.map(([name, reason]) => `${name}: ${reason}`),
    };
  }

  /** Probes inside one program or library: `uprobe:/path:glob`. They are asked for each time, since files change. */
  async function searchFile(kind: string, asked: ProbeQuery, signal: AbortSignal): Promise<ProbePage> {
    const empty = { probes: [], matches: 0, total: 0, closest: [] };
    const [, path, glob = '*'] = /^[^:]*:(\/[^:]*):?(.*)$/.exec(asked.filter.trim()) ?? [];
    if (path === undefined) {
      return {
        ...empty,
        notes: [`${kind}: name a file by its absolute path, such as ${kind}:/usr/lib/libexample.so:*`],
      };
    }
    await checkFile(path);
    const listed = `${listedKind(kind)}:${path}:`;
    const without = (text: string) => text.replaceAll(listed, `${listedKind(kind)}:`);
    const place = (name: string) => name.replace(':', `:${path}:`);
    const index = createProbeIndex(without(await query(['-l', `${listed}*`], signal)));
    const { names, ...found } = index.search({ ...asked, kind, filter: `${kind}:${glob === '' ? '*' : glob}` });
    // bpftrace 0.27.0 crashes over the debug information of some libraries; the names are worth having without it.
    const fields =
      asked.fields && names.length > 0 ? await query(['-lv', names.map(place).join(',')], signal).catch(() => '') : '';
    const known = parseFields(without(fields));
    return {
      ...found,
      probes: names.map((name) => ({ name: place(name), ...(asked.fields ? { fields: known.get(name) ?? [] } : {}) })),
      closest: found.closest.map(place),
      notes: found.total === 0 ? [`${kind}: bpftrace finds no ${kind} in ${path}`] : [],
    };
  }

  async function withFields(names: readonly string[], signal: AbortSignal): Promise<readonly Probe[]> {
    const unknown = names.filter((name) => !knownFields.has(name));
    for (const pattern of patternsOf(unknown)) {
      const found = parseFields(await query(['-lv', pattern.join(',')], signal));
      for (const name of pattern) knownFields.set(name, found.get(name) ?? []);
    }
    return names.map((name) => ({ name, fields: knownFields.get(name) ?? [] }));
  }

  async function searchStruct(name: string, word: string, asked: ProbeQuery): Promise<ProbePage> {
    const none = { probes: [], matches: 0, total: 0, closest: [], notes: [] };
    const btf = types.kernel();
    if (btf === undefined) return { ...none, notes: ['struct: this kernel does not describe its types (no BTF)'] };
    // Without a word the fields themselves are a long list already; with one, embedded structs are searched, too.
    const fields = btf.fields(name, word === '' ? 0 : 1);
    if (fields === undefined) {
      const names = btf.types();
      return { ...none, total: names.length, closest: nearest(name, names) };
    }
    const found = fields.filter((field) => lastPart(field.name).toLowerCase().includes(word.toLowerCase()));
    return {
      ...none,
      struct: { name, fields: found.slice(asked.offset, asked.offset + asked.limit) },
      matches: found.length,
      total: fields.length,
      closest:
        found.length > 0
          ? []
          : nearest(
              word,
              fields.map((field) => field.name),
            ),
    };
  }

  /** Names of the fields that `context`, a probe or a type, has. */
  async function fieldsOf(context: string, signal: AbortSignal): Promise<readonly string[]> {
    const record = /^(?:struct|union) [\w.]+$/.exec(context)?.[0];
    if (record !== undefined) return (types.kernel()?.fields(record, 1) ?? []).map((field) => field.name);
    // bpftrace calls the arguments of a tracepoint `struct tracepoint:CATEGORY:NAME_args`.
    const probe = context.replace(/^struct (.*)_args$/, '$1');
    if (!(await indexFor(kindIn(probe), signal)).has(probe)) return [];
    const [found] = await withFields([probe], signal);
    return (found?.fields ?? []).map((field) => field.name);
  }

  return {
    facts(refresh, signal) {
      if (refresh) {
        for (const known of [knownLockdown, knownFacts, knownIndex, knownScoping]) known.forget();
      }
      return knownFacts.get(signal);
    },

    points: points.find,
    scoping: knownScoping.get,

    probes(asked, signal) {
      checkFilter(asked.filter);
      const [, keyword, name, word = ''] = /^(struct|union)\s+(\w+)(?:\s+(\S+))?$/.exec(asked.filter.trim()) ?? [];
      return name === undefined
        ? searchProbes({ ...asked, ...kindOption(asked.kind) }, signal)
        : searchStruct(`${keyword} ${name}`, word, asked);
    },

    async nearest(kind, name, context, signal) {
      if (kind === 'field') return nearest(name, await fieldsOf(context, signal));
      const bare = kindIn(name) === undefined ? name : name.slice(name.indexOf(':') + 1);
      const asked = kindIn(name) ?? kindOf(context);
      return (await indexFor(asked, signal)).closest(bare, asked);
    },
  };
}

// bpftrace first takes its pattern for a file, and aborts over a name that is longer than a file's may be (NAME_MAX).
const MAX_PATTERN_CHARS = 255;

/** Puts names together that fit into one pattern, separated by commas. */
function patternsOf(names: readonly string[]): string[][] {
  const patterns: string[][] = [];
  for (const name of names) {
    const last = patterns.at(-1);
    if (last !== undefined && [...last, name].join(',').length <= MAX_PATTERN_CHARS) last.push(name);
    else patterns.push([name]);
  }
  return patterns;
}

const lastPart = (path: string) => path.slice(path.lastIndexOf('.') + 1);

/** The probe kind with which a filter begins, such as `t:sched:*`. */
function kindIn(filter: string): string | undefined {
  const text = filter.trim();
  return text.includes(':') ? kindOf(text.slice(0, text.indexOf(':'))) : undefined;
}

function kindOption(kind: string | undefined): { kind?: string } {
  if (kind === undefined) return {};
  const full = kindOf(kind);
  if (full === undefined)
    throw new KerntapError('argument.invalid', `The probe kind ${JSON.stringify(kind)} is unknown.`, {
      remedy: `the kinds are ${KIND_ORDER.join(', ')}`,
    });
  return { kind: full };
}

function checkFilter(filter: string): void {
  if (filter.length > MAX_FILTER_LENGTH || /[\u0000-\u001f\u007f]/.test(filter)) {
    throw new KerntapError(
      'argument.invalid',
      `The filter must be one line of at most ${MAX_FILTER_LENGTH} characters; it has ${filter.length}.`,
    );
  }
}

/** Throws `argument.invalid` unless `path` is a plain name of a regular file: bpftrace would wait for a pipe or a device. */
async function checkFile(path: string): Promise<void> {
  const known = /^\/[\w.+@/~-]*$/.test(path) ? await stat(path).catch(() => undefined) : undefined;
  if (!known?.isFile()) {
    throw new KerntapError('argument.invalid', `There is no program or library ${JSON.stringify(path)} on this node.`);
  }
}

/** A value that is computed at the first `get` and kept; callers that come meanwhile wait for the same computation. */
function once<T>(compute: (signal: AbortSignal) => Promise<T>) {
  let current: Promise<T> | undefined;
  let value: T | undefined;
  let pending = false;
  return {
    /** What was computed, if it was. */
    known: (): T | undefined => value,
    /** The signal ends the wait, not the computation, which others may wait for. A failure is not kept. */
    get(signal: AbortSignal): Promise<T> {
      if (current === undefined) {
        pending = true;
        const started = compute(AbortSignal.timeout(COMPUTE_LIMIT_MS)).finally(() => {
          pending = false;
        });
        started.then(
          (computed) => {
            value = computed;
          },
          () => {
            current = undefined;
          },
        );
        current = started;
      }
      return unlessAborted(current, signal);
    },
    /** The next `get` computes again; a computation that is under way is new enough. */
    forget(): void {
      if (pending) return;
      current = undefined;
      value = undefined;
    },
  };
}

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
