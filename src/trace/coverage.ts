import type { AppliedRule, Coverage, CoverageAccount, ResolvedTarget, TargetResolver } from './ports.ts';

/** Follows what of a target there is while it is traced. */
export interface CoverageWatch {
  /** To be called when the probes are attached. */
  start(): void;
  /** Looks again. `hidden` holds what the program's own counters say (`TraceEnd.hidden`). */
  end(hidden: ReadonlyMap<string, number>): Promise<CoverageAccount>;
}

export function watchCoverage(
  targets: TargetResolver,
  target: ResolvedTarget,
  rules: readonly AppliedRule[],
): CoverageWatch {
  let start: Promise<Coverage | undefined> = Promise.resolve(undefined);
  const look = () => targets.look(target).catch(() => undefined);
  return {
    start() {
      start = look();
    },
    async end(hidden) {
      const [before, after] = [await start, await look()];
      const control = controlOf(rules, hidden);
      return {
        rules,
        ...(control && { control }),
        ...(before && { start: before }),
        ...(after && { end: after }),
        notes: [...target.notes, ...changesOf(target, before, after)],
      };
    },
  };
}

/** The control counts by rule; undefined when none was asked for. */
function controlOf(rules: readonly AppliedRule[], hidden: ReadonlyMap<string, number>): CoverageAccount['control'] {
  if (![...hidden.keys()].some((name) => /^(?:all|in)_\d+$/.test(name))) return undefined;
  return rules.map((_rule, index) => ({
    all: hidden.get(`all_${index}`) ?? 0,
    inScope: hidden.get(`in_${index}`) ?? 0,
  }));
}

/** What came and went between two looks, one sentence each. */
function changesOf({ follows }: ResolvedTarget, start: Coverage | undefined, end: Coverage | undefined): string[] {
  if (start === undefined || end === undefined) return [];
  const missing = (from: Coverage, to: Coverage) =>
    from.containers.filter(({ id }) => !to.containers.some((other) => other.id === id));
  return [
    ...missing(end, start).map(
      ({ name }) => `container ${name} was started during the trace: ${follows ? 'included' : 'not covered'}`,
    ),
    ...missing(start, end).map(({ name }) => `container ${name} ended during the trace`),
    ...(start.processes > 0 && end.processes === 0 ? ['no process of the target was left at the end'] : []),
  ];
}
