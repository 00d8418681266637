import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Field, Point, PointLookup } from '../program/scope/scope.ts';
import { type AttachPoint, pointName } from '../program/tree.ts';
import type { KernelTypes } from './btf.ts';
import { readFunctions, readModules } from './functions.ts';
import { linesWith, matchesGlob, parseField } from './probe-index.ts';

/** More than bpftrace ever attaches; what a wildcard matches beyond is left out. */
const MAX_MATCHES = 1_024;

/** What is remembered of earlier questions. */
const MAX_KEPT_POINTS = 4_096;

/** Where the parameters of a raw tracepoint are: the first two have names (kernel include/linux/tracepoint.h, trace/bpf_probe.h). */
const RAW_PREFIXES = ['__probestub_', '__traceiter_', 'btf_trace_'];

export interface Points {
  /** Finds what attach points stand for. For a miss, and for kinds that are not listed, the lookup gives none. */
  find(points: readonly AttachPoint[], signal: AbortSignal): Promise<PointLookup>;
}

/** Finds attach points in tracefs, in the kernel's list of symbols and in its types, all below `root`. */
export function createPoints(root: string, types: KernelTypes): Points {
  const known = new Map<string, readonly Point[]>();
  let kept = 0;
  let modules = '';
  // Three megabytes, for wildcards over functions.
  let functions: WeakRef<{ text: string }> | undefined;

  /** Forgets what another set of modules had. */
  function refresh(): void {
    const loaded = readModules(root);
    if (loaded === modules && kept <= MAX_KEPT_POINTS) return;
    if (loaded !== modules) functions = undefined;
    modules = loaded;
    known.clear();
    kept = 0;
  }

  function resolve(point: AttachPoint): readonly Point[] {
    const name = pointName(point);
    const before = known.get(name);
    if (before !== undefined) return before;
    const found = look(point);
    known.set(name, found);
    kept += found.length + 1;
    return found;
  }

  function look({ kind, parts }: AttachPoint): readonly Point[] {
    const [first = '', second] = parts;
    const name = second ?? first;
    const module = second === undefined || first === 'vmlinux' ? undefined : first;
    switch (kind) {
      case 'tracepoint':
        return second === undefined ? [] : tracepoints(first, second);
      case 'rawtracepoint':
        return rawTracepoints(module, name);
      case 'kprobe':
      case 'kretprobe':
      case 'fentry':
      case 'fexit':
        return functionProbes(kind, module, name);
      case 'software':
      case 'hardware': // bpftrace knows no wildcards there
        return /^[\w-]+$/.test(first) ? [{ name: `${kind}:${first}`, fields: [], parameters: [] }] : [];
      default:
        return [];
    }
  }

  function tracepoints(category: string, event: string): readonly Point[] {
    const events = ['sys/kernel/tracing/events', 'sys/kernel/debug/tracing/events']
      .map((path) => join(root, path))
      .find((path) => existsSync(path));
    if (events === undefined) return [];
    const found = matching(events, category)
      .flatMap((folder) => matching(join(events, folder), event).map((name) => ({ folder, name })))
      .slice(0, MAX_MATCHES)
      .flatMap(({ folder, name }) => {
        const fields = formatOf(join(events, folder, name));
        return fields === undefined ? [] : [{ folder, name, fields }];
      });
    const parameters = rawParameters(found.map(({ name }) => name));
    return found.map(({ folder, name, fields }) => ({
      name: `tracepoint:${folder}:${name}`,
      fields,
      parameters: parameters.get(name) ?? [],
    }));
  }

  function rawTracepoints(module: string | undefined, glob: string): readonly Point[] {
    const prefixes = RAW_PREFIXES.slice(0, 2);
    const names =
      glob.includes('*') || module !== undefined
        ? new Set(
            prefixes.flatMap((prefix) =>
              matchingFunctions(module, prefix + glob).map((name) => name.slice(prefix.length)),
            ),
          )
        : [glob];
    return [...rawParameters([...names].slice(0, MAX_MATCHES))].map(([name, parameters]) => ({
      name: nameIn('rawtracepoint', module, name),
      fields: parameters,
      parameters,
    }));
  }

  /** What raw tracepoints hand over, by their names; those that the kernel does not have are absent. */
  function rawParameters(names: readonly string[]): ReadonlyMap<string, readonly Field[]> {
    const described = types.prototypes(names.flatMap((name) => RAW_PREFIXES.map((prefix) => prefix + name)));
    const found = new Map<string, readonly Field[]>();
    for (const name of names) {
      const parameters = RAW_PREFIXES.map((prefix) => described.get(prefix + name)).find((list) => list !== undefined);
      if (parameters !== undefined) found.set(name, named(parameters.slice(1))); // the first is the tracer's own
    }
    return found;
  }

  function functionProbes(kind: string, module: string | undefined, written: string): readonly Point[] {
    const [, glob = written, offset = ''] = /^([^+]*)(\+.*)$/.exec(written) ?? [];
    const exact = module === undefined && !glob.includes('*');
    const [isTyped, isReturn] = [kind.startsWith('f'), kind === 'kretprobe'];
    const names = exact ? [glob] : matchingFunctions(module, glob);
    const prototypes = types.prototypes(names);
    return names.flatMap((name) => {
      const parameters = prototypes.get(name);
      if (parameters === undefined && (isTyped || (exact && matchingFunctions(undefined, name).length === 0)))
        return [];
      const described = named(parameters ?? []);
      return {
        name: nameIn(kind, module, name + offset),
        fields: isTyped ? described : [],
        // At the return, and inside, the registers hold something else.
        parameters: isReturn || offset !== '' ? [] : described,
      };
    });
  }

  /** Functions whose names match, in a module or anywhere. */
  function matchingFunctions(module: string | undefined, glob: string): readonly string[] {
    if (!isName(glob, /^[\w.*$]+$/) || (module !== undefined && !isName(module, /^[\w*]+$/))) return [];
    const names = functions?.deref() ?? { text: `\n${[...readFunctions(root)].join('\n')}\n` };
    functions = new WeakRef(names);
    const found = new Set<string>(); // modules may have functions of the same name
    const anchor = glob.split('*').reduce((longest, part) => (part.length > longest.length ? part : longest), '');
    for (const line of linesWith({ text: names.text, folded: names.text }, anchor)) {
      const [name = '', place] = line.split(' ');
      if (!matchesGlob(glob, name)) continue;
      if (module === undefined || matchesGlob(`[${module}]`, place ?? '[vmlinux]')) found.add(name);
      if (found.size === MAX_MATCHES) break;
    }
    return [...found];
  }

  return {
    async find(points, signal) {
      refresh();
      for (const point of points) {
        signal.throwIfAborted();
        resolve(point);
      }
      return resolve;
    },
  };
}

const isName = (text: string, form: RegExp) => text.length <= 128 && form.test(text);

/** The folders of tracefs in `parent` that a part of an attach point names. */
function matching(parent: string, part: string): readonly string[] {
  if (!isName(part, /^[\w*-]+$/)) return [];
  if (!part.includes('*')) return [part];
  try {
    return readdirSync(parent, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && matchesGlob(part, entry.name))
      .map((entry) => entry.name);
  } catch {
    return []; // a category that came and went
  }
}

/** The fields of a tracepoint beside those that all have; undefined when there is no such tracepoint. */
function formatOf(folder: string): readonly Field[] | undefined {
  try {
    // What ftrace itself writes has a format, too, but no switch.
    if (!existsSync(join(folder, 'enable'))) return undefined;
    return parseFormat(readFileSync(join(folder, 'format'), 'utf8'));
  } catch {
    return undefined;
  }
}

/** Reads `events/CATEGORY/NAME/format` of tracefs. */
export const parseFormat = (text: string): readonly Field[] =>
  Array.from(text.matchAll(/^\tfield:([^;]+);/gm), ([, declaration = '']) => parseField(declaration))
    .filter((field) => field !== undefined)
    .filter(({ name }) => !name.startsWith('common_'));

const named = (parameters: readonly Field[]): readonly Field[] =>
  parameters.map(({ name, type }, i) => ({ name: name === '' ? `arg${i}` : name, type }));

const nameIn = (kind: string, module: string | undefined, name: string) =>
  module === undefined ? `${kind}:${name}` : `${kind}:${module}:${name}`;
