// A server's worth of tracing in a process of its own, to be killed: traces until it ends and says when it is armed.

import { createBpftrace } from '../../src/bpftrace/tracer.ts';
import { silentLog } from '../../src/log.ts';
import { installed, printed } from './tracer.ts';

const [runDir = '', text = ''] = process.argv.slice(2);
const tracer = await createBpftrace({
  installation: await installed(),
  runDir,
  log: silentLog,
  spare: true,
  watchdog: false,
  maxTimeoutMs: 600_000,
});
await tracer.run(
  printed(text),
  { timeoutMs: 600_000, maxEventBytes: 1_000_000, maxMapBytes: 1_000_000 },
  { push: ({ kind }) => void (kind === 'armed' && process.stdout.write('armed\n')) },
  new AbortController().signal,
);
