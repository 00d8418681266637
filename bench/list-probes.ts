import type { Figure, Measurement } from './figures.ts';
import { timesOf } from './machine.ts';
import { startServer } from './server.ts';

const CALLS = 200;
const ROUNDS = 7;

const QUESTIONS: readonly (readonly [what: string, args: Record<string, unknown>])[] = [
  ['glob', { filter: 'tracepoint:syscalls:*open*' }],
  ['words', { filter: 'tcp retransmit' }],
  ['glob with fields', { filter: 'tracepoint:syscalls:*open*', fields: true }],
  ['a miss', { filter: 'tcp_retransmitt' }],
];

/** What a look into the index of probes costs the server, from the request's first byte to the answer's last. */
export const listProbes: Measurement = {
  name: 'list_probes',
  title: `CPU time of the server for one list_probes, over ${CALLS} calls`,
  async measure(say) {
    await using server = await startServer();
    const samples = QUESTIONS.map((): number[] => []);
    for (let round = 0; round <= ROUNDS; round += 1) {
      say(round === 0 ? 'warming up' : `round ${round} of ${ROUNDS}`);
      for (const [index, [, args]] of QUESTIONS.entries()) {
        await server.settled();
        const before = cpuMs(server.pid);
        for (let call = 0; call < CALLS; call += 1) await server.call('list_probes', args);
        if (round > 0) samples[index]?.push((cpuMs(server.pid) - before) / CALLS);
      }
    }
    return QUESTIONS.map(([what], index): Figure => ({ what, unit: 'ms', kerntap: samples[index] ?? [] }));
  },
};

const cpuMs = (pid: number): number => timesOf(pid)?.cpuMs ?? Number.NaN;
