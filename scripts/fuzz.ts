/**
 * Sends programs that were made up through all that reads programs: `npm run fuzz -- [programs] [seed]`, by default 1,000,000
 * and a new seed. Ends with 1 at the first one for which does not hold what must hold for all (`program-checks.ts`); a sample
 * goes through bpftrace itself, which must take the printed form exactly when it takes the source.
 */
import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import * as fc from 'fast-check';
import { printTree } from '../src/program/print.ts';
import { parseProgram } from '../src/program/program.ts';
import { bpftraceCommand, canTrace } from '../test/helpers/machine.ts';
import { CHECKS, unlessRefused } from '../test/helpers/program-checks.ts';
import { mutated, programs } from '../test/helpers/program-grammar.ts';

const total = Number(process.argv[2] ?? 1_000_000);
const seed = Number(process.argv[3] ?? randomInt(2 ** 31));
const BATCH = 10_000;
/** One in so many that are read goes through bpftrace, which takes a quarter of a second for it. */
const SAMPLED = 5_000;

function isTaken(program: string): boolean {
  const [file = 'bpftrace', ...first] = bpftraceCommand;
  return spawnSync(file, [...first, '--mode', 'codegen', '-'], { cwd: '/', input: program }).status === 0;
}

const counts = { programs: 0, read: 0, throughBpftrace: 0, taken: 0 };
const startedMs = Date.now();

function check(source: string): void {
  counts.programs++;
  const program = unlessRefused(() => parseProgram(source));
  if (!program) return;
  counts.read++;
  for (const one of CHECKS) one(program);
  if (!canTrace || counts.read % SAMPLED !== 0) return;
  counts.throughBpftrace++;
  const taken = isTaken(source);
  if (taken) counts.taken++;
  const printed = printTree(program.tree).text;
  if (isTaken(printed) !== taken)
    throw new Error(`bpftrace takes the source: ${taken}, but not so what is printed:\n${printed}`);
}

function report(): void {
  const seconds = (Date.now() - startedMs) / 1000;
  const { programs: done, read: accepted, throughBpftrace, taken } = counts;
  const rate = Math.round(done / seconds);
  const share = Math.round((accepted / done) * 100);
  const sample = `${throughBpftrace} through bpftrace (${taken} taken)`;
  console.log(`${done} programs, ${share} % read, ${sample}, ${rate}/s`);
}

console.log(`seed ${seed}`);
for (let batch = 0; counts.programs < total; batch++) {
  const arbitrary = batch % 2 === 0 ? programs : mutated;
  const numRuns = Math.min(BATCH, total - counts.programs);
  const result = fc.check(fc.property(arbitrary, check), { numRuns, seed: seed + batch, endOnFailure: false });
  if (result.failed) {
    report();
    console.log(fc.defaultReportMessage(result) ?? 'failed');
    console.log(result.errorInstance);
    process.exit(1);
  }
  if (batch % 10 === 9) report();
}
report();
