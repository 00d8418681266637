import { plainProgram } from '../program/instrument.ts';
import type { Sink, Tracer } from '../trace/ports.ts';

const LIMITS = { timeoutMs: 10_000, maxEventBytes: 1_024, maxMapBytes: 1_024 };
const LIMIT_MS = 60_000;

/**
 * How deep our own cgroup lies in the kernel's count, asked of the kernel once: in a cgroup namespace of our own /proc shows
 * paths from its root only. Undefined when the kernel does not say.
 */
export function createOwnLevel(tracer: Pick<Tracer, 'run'>): () => Promise<number | undefined> {
  let level: Promise<number | undefined> | undefined;
  return () => {
    level ??= ask(tracer).catch(() => undefined);
    return level;
  };
}

async function ask(tracer: Pick<Tracer, 'run'>): Promise<number | undefined> {
  const printed: unknown[] = [];
  const sink: Sink = { push: (event) => void (event.kind === 'printed' && printed.push(event.event.data)) };
  const program = plainProgram('begin { print(curtask->cgroups->dfl_cgrp->level); exit(); }');
  await tracer.run(program, LIMITS, sink, AbortSignal.timeout(LIMIT_MS));
  const [level] = printed;
  return typeof level === 'number' ? level : undefined;
}
