import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { toPrinted } from '../src/program/instrument.ts';
import { parseProgram } from '../src/program/program.ts';
import type { Measurement } from './figures.ts';
import { quietMoment } from './machine.ts';
import { temporaryFolder } from './owned.ts';
import { armedInFile, startPlain } from './plain.ts';
import { costOf, withStats } from './stats.ts';

const ROUNDS = 7;
const BURSTS = 60;
const CALLS = 2_000;

const PROBE = 'tracepoint:syscalls:sys_enter_getppid';
const PRINT = 'printf("%d %s %d\\n", pid, comm, 5);';
const COUNT = '@n = count();';
const GATE = 'interval:s:100 { @stop = 1; }';

/** Programs as a person writes them, and what kerntap adds to them. */
const PAIRS: readonly { what: string; plain: string; ours: string }[] = [
  { what: 'an event that is printed', plain: `${PROBE} { ${PRINT} }`, ours: printed(`${PROBE} { ${PRINT} }`, false) },
  { what: '  of it the count alone', plain: `${PROBE} { ${PRINT} }`, ours: `${PROBE} { ${PRINT} ${COUNT} }` },
  {
    what: '  of it the gate alone',
    plain: `${PROBE} { ${PRINT} }`,
    ours: `${PROBE} /@stop == 0/ { ${PRINT} } ${GATE}`,
  },
  {
    what: 'an event that is counted in a map',
    plain: `${PROBE} { ${COUNT} }`,
    ours: printed(`${PROBE} { ${COUNT} }`, false),
  },
  { what: '  with control counts', plain: `${PROBE} { ${COUNT} }`, ours: printed(`${PROBE} { ${COUNT} }`, true) },
];

/** What the kernel spends on an event, beside plain bpftrace. */
export const counter: Measurement = {
  name: 'counter',
  title: "what a probe costs the kernel an event, with kerntap's count and gate, beside plain bpftrace",
  async measure(say) {
    await using folder = await temporaryFolder();
    return await withStats(async () => {
      const samples = PAIRS.map(() => ({ kerntap: [] as number[], plain: [] as number[] }));
      for (let round = 1; round <= ROUNDS; round += 1) {
        say(`round ${round} of ${ROUNDS}`);
        await quietMoment();
        for (const [index, { plain, ours }] of PAIRS.entries()) {
          samples[index]?.plain.push(await nsAnEvent(plain, join(folder.path, 'out')));
          samples[index]?.kerntap.push(await nsAnEvent(ours, join(folder.path, 'out')));
        }
      }
      return PAIRS.map(({ what }, index) => ({ what, unit: 'ns', ...(samples[index] ?? { kerntap: [] }) }));
    });
  },
};

function printed(text: string, control: boolean): string {
  const program = parseProgram(text);
  const rules = program.attachPoints.map((point) => ({ point, class: 'T', owner: '', points: 1, notes: [] }) as const);
  const printing = { timeoutMs: 600_000, nonce: 'bench', control };
  return toPrinted(program, { tree: program.tree, rules }, printing).text;
}

async function nsAnEvent(program: string, file: string): Promise<number> {
  await using child = startPlain(program, file);
  await armedInFile(file);
  const before = costOf(child.pid);
  for (let burst = 0; burst < BURSTS; burst += 1) {
    for (let call = 0; call < CALLS; call += 1) void process.ppid; // asks the kernel each time
    await wait(10);
  }
  const after = costOf(child.pid);
  return (after.ns - before.ns) / (after.runs - before.runs);
}
