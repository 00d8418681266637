import type { Tool } from '../tool.ts';
import { bpfInfo } from './bpf-info.ts';
import { execProgram } from './exec-program.ts';
import { getResult } from './get-result.ts';
import { listHelpers } from './list-helpers.ts';
import { listProbes } from './list-probes.ts';
import { listTargets } from './list-targets.ts';
import { manageRuns } from './manage-runs.ts';

/** Every tool, in the order in which clients list them: names, order and arguments are a contract. */
export const TOOLS: readonly Tool[] = [
  listTargets,
  bpfInfo,
  listProbes,
  listHelpers,
  execProgram,
  getResult,
  manageRuns,
];

/** Tools whose answers must stream from the first byte. */
export const LONG_TOOLS: ReadonlySet<string> = new Set(TOOLS.filter(({ long }) => long).map(({ name }) => name));
