import { performance } from 'node:perf_hooks';
import type { Figure, Measurement } from './figures.ts';
import { quietMoment } from './machine.ts';
import { armed as armedPlain, startPlain } from './plain.ts';
import { type BenchServer, startServer } from './server.ts';

const PROGRAM = 'tracepoint:syscalls:sys_enter_openat { @[str(args.filename)] = count(); }';
const ROUNDS = 21;

/** How long until all probes are attached, in milliseconds on the client's side. */
export const armed: Measurement = {
  name: 'armed',
  title: 'from tools/call, or the start of plain bpftrace, until all probes are attached',
  async measure(say) {
    await using withSpare = await startServer();
    await using cold = await startServer(['--spare', 'off']);
    await askOnce(withSpare); // the spare comes with the first run
    await askOnce(cold);

    const plain: number[] = [];
    const spare: Asked[] = [];
    const without: Asked[] = [];
    for (let round = 1; round <= ROUNDS; round += 1) {
      say(`round ${round} of ${ROUNDS}: plain, with the spare, without`);
      await quietMoment();
      plain.push(await startOnce());
      await withSpare.settled();
      await quietMoment();
      spare.push(await askOnce(withSpare));
      await quietMoment();
      without.push(await askOnce(cold));
    }
    const part = (what: string, kerntap: readonly number[]): Figure => ({ what, unit: 'ms', kerntap });
    return [
      {
        what: 'call to attached, warm spare',
        unit: 'ms',
        kerntap: spare.map(({ attached }) => attached),
        plain,
        goal: { of: 'ratio', is: 'at most', value: 0.8 },
      },
      { what: 'call to answer, warm spare', unit: 'ms', kerntap: spare.map(({ answer }) => answer), plain },
      {
        what: 'call to attached, --spare off',
        unit: 'ms',
        kerntap: without.map(({ attached }) => attached),
        plain,
        goal: { of: 'ratio', is: 'at most', value: 1.1 },
      },
      { what: 'call to answer, --spare off', unit: 'ms', kerntap: without.map(({ answer }) => answer), plain },
      part(
        '  warm spare: call to run opened',
        spare.map(({ asked }) => asked),
      ),
      part(
        '  warm spare: opened to attached',
        spare.map(({ asked, attached }) => attached - asked),
      ),
      part(
        '  warm spare: attached to answer',
        spare.map(({ attached, answer }) => answer - attached),
      ),
    ];
  },
};

interface Asked {
  /** Milliseconds since the call: the run was opened, its probes were attached, the client had the answer. */
  readonly asked: number;
  readonly attached: number;
  readonly answer: number;
}

async function askOnce(server: BenchServer): Promise<Asked> {
  const calledMs = Date.now(); // the clock of `timing`
  const called = performance.now();
  const { run_id, timing } = await server.ask('exec_program', { program: PROGRAM, timeout: 600, wait: false });
  const answer = performance.now() - called;
  await server.call('manage_runs', { action: 'stop', run_id });
  if (timing.armed === null) throw new Error('the run was not attached');
  return { asked: Date.parse(timing.asked) - calledMs, attached: Date.parse(timing.armed) - calledMs, answer };
}

async function startOnce(): Promise<number> {
  const started = performance.now();
  await using child = startPlain(PROGRAM);
  await armedPlain(child);
  return performance.now() - started;
}
