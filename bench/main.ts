// Measures kerntap, beside plain bpftrace where there is such a thing: `npm run bench [NAME…]`. It judges nothing: the
// exit code is 0 whatever the figures are.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { styleText } from 'node:util';
import { armed } from './armed.ts';
import { counter } from './counter.ts';
import { events } from './events.ts';
import { type Measurement, renderTable, type SummedFigure, summarise } from './figures.ts';
import { limit } from './limit.ts';
import { listProbes } from './list-probes.ts';
import { lookAround, machine, type Quiet } from './machine.ts';
import { memory } from './memory.ts';
import { neighbour } from './neighbour.ts';
import { endAll } from './owned.ts';
import { installation } from './plain.ts';
import { tokens } from './tokens.ts';

const MEASUREMENTS: readonly Measurement[] = [armed, events, counter, neighbour, limit, listProbes, memory, tokens];

interface Measured {
  readonly title: string;
  readonly at: string;
  /** What else the machine was doing when it began. */
  readonly before: Quiet;
  readonly figures: readonly SummedFigure[];
}
interface Results {
  readonly machine: typeof machine & { readonly bpftrace: string };
  readonly measured: Readonly<Record<string, Measured>>;
}

const RESULTS = join(import.meta.dirname, 'results');
const LATEST = join(RESULTS, 'latest.json');
const here = { ...machine, bpftrace: installation.version };

const say = (text: string) => console.error(styleText('dim', text, { stream: process.stderr }));

async function bench(names: readonly string[]): Promise<void> {
  const unknown = names.find((name) => !MEASUREMENTS.some((one) => one.name === name));
  if (unknown !== undefined) {
    const known = MEASUREMENTS.map(({ name, title }) => `  ${name.padEnd(12)}${title}`);
    console.error([`There is no measurement ${JSON.stringify(unknown)}; there are:`, ...known].join('\n'));
    process.exitCode = 2;
    return;
  }
  for (const one of MEASUREMENTS.filter(({ name }) => names.length === 0 || names.includes(name))) {
    const before = await lookAround();
    say(`${one.name}: load average ${before.load}, CPUs ${Math.round(100 * before.idle)} % idle`);
    const figures = await one.measure((text) => say(`${one.name}: ${text}`));
    const measured = { title: one.title, at: new Date().toISOString(), before, figures: figures.map(summarise) };
    print(one.name, measured);
    keep(one.name, measured);
  }
}

function print(name: string, { title, figures }: Measured): void {
  console.log(`\n${styleText('bold', name)}: ${title}\n${renderTable(figures)}\n`);
  for (const { what, goal } of figures) if (goal?.met === false) console.log(`goal missed: ${name}, ${what.trim()}`);
}

/** Puts it beside the newest figures of the other measurements, as long as they are from this machine. */
function keep(name: string, measured: Measured): void {
  const latest: Results | undefined = existsSync(LATEST) ? JSON.parse(readFileSync(LATEST, 'utf8')) : undefined;
  const isSame = JSON.stringify(latest?.machine) === JSON.stringify(here);
  const results: Results = { machine: here, measured: { ...(isSame && latest?.measured), [name]: measured } };
  const text = `${JSON.stringify(results, undefined, 1)}\n`;
  for (const file of [LATEST, join(RESULTS, `${measured.at.slice(0, 10)}-${here.kernel}.json`)])
    writeFileSync(file, text);
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    say('interrupted; ending what was started');
    void endAll().finally(() => process.exit(130));
  });
}
try {
  await bench(process.argv.slice(2));
} catch (error) {
  console.error(`not measured: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await endAll();
}
