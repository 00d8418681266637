import { probeKindOf } from '../program/probe-kinds.ts';
import type { Diagnostic, Kernel } from './ports.ts';

/** Finds functions and builtins whose names are near; the catalogue of the language knows them. */
export type NearestFunctions = (name: string) => readonly string[];

/**
 * An error for each kind of `attachPoints` that this node cannot attach, with the reason: bpftrace accepts such a
 * program, and what the kernel says of it is of no use. Never throws: without facts there is nothing to say.
 */
export async function impossibleKinds(
  attachPoints: readonly string[],
  kernel: Kernel,
  signal: AbortSignal,
): Promise<readonly Diagnostic[]> {
  const asked = new Set(attachPoints.map((point) => fullKind(point.replace(/:.*/s, ''))));
  if ([...asked].every((kind) => EVERYWHERE.has(kind.toLowerCase()))) return [];
  const facts = await kernel.facts(false, signal).catch(() => undefined);
  return (facts?.probeKinds ?? [])
    .filter(({ kind, available }) => !available && asked.has(kind))
    .map(({ kind, why }) => ({
      severity: 'error',
      message: `${kind} probes do not attach on this node${why === undefined ? '' : `: ${why}`}`,
      remedy: 'use a tracepoint, list_probes finds them by words; bpf_info names the kinds that attach',
    }));
}

/** Kinds that attach wherever bpftrace runs; to ask for facts would cost a caller seconds on a server that just started. */
const EVERYWHERE = new Set(['begin', 'end', 'tracepoint', 't', 'interval', 'i', 'profile', 'p', 'software', 's']);

/** The kind that facts are about: those of fentry hold for fexit, too. */
const fullKind = (name: string): string => {
  const kind = probeKindOf(name) ?? name;
  return kind === 'fexit' ? 'fentry' : kind;
};

/** Adds the nearest existing names to each diagnostic about a name that bpftrace did not know. Never throws for a miss. */
export async function explain(
  diagnostics: readonly Diagnostic[],
  kernel: Kernel,
  nearestFunctions: NearestFunctions,
  signal: AbortSignal,
): Promise<readonly Diagnostic[]> {
  return Promise.all(
    diagnostics.map(async (diagnostic) => {
      const { unknown } = diagnostic;
      if (!unknown) return diagnostic;
      const names =
        unknown.kind === 'function'
          ? nearestFunctions(unknown.name)
          : await kernel.nearest(unknown.kind, unknown.name, unknown.context, signal).catch(() => []);
      if (names.length === 0) return diagnostic;
      const nearest = `did you mean: ${names.join(', ')}`;
      return { ...diagnostic, remedy: diagnostic.remedy === undefined ? nearest : `${nearest}; ${diagnostic.remedy}` };
    }),
  );
}
