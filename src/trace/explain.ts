import type { Diagnostic, Kernel } from './ports.ts';

/** Finds functions and builtins whose names are near; the catalogue of the language knows them. */
export type NearestFunctions = (name: string) => readonly string[];

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
