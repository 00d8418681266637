import { setTimeout as wait } from 'node:timers/promises';
import { McpServer, type ServerContext } from '@modelcontextprotocol/server';
import * as z from 'zod';
import { flowOf } from '../../src/mcp/flow.ts';
import { createProgress } from '../../src/mcp/progress.ts';
import type { McpFactory } from '../../src/mcp/session-leg.ts';

/** What became of the work that the tools below were asked to do. */
export interface WorkCounts {
  started: number;
  running: number;
  cancelled: number;
  finished: number;
  sent: number;
  skipped: number;
  stalled: number;
}

const Work = z.strictObject({
  steps: z.int().min(1).max(1_000_000),
  everyMs: z.int().min(0).max(1_000),
  padBytes: z.int().min(0).max(100_000).default(0),
});
const Trace = z.strictObject({ durationMs: z.int().min(0).max(60_000), floodBytes: z.int().min(0).default(0) });
const Sum = z.strictObject({ a: z.number(), b: z.number() });
const Echo = z.strictObject({ text: z.string(), afterMs: z.int().min(0).max(1_000) });

/** A server with tools that tests can time, cut and count. `work` and `trace` are the long ones. */
export function createWorkTools(): { factory: McpFactory; counts: WorkCounts; longTools: ReadonlySet<string> } {
  const counts: WorkCounts = { started: 0, running: 0, cancelled: 0, finished: 0, sent: 0, skipped: 0, stalled: 0 };

  /** Runs `steps` until they end, the call is cancelled or its reader has stalled. */
  async function counted(context: ServerContext, steps: (stop: AbortSignal) => Promise<string>) {
    const { signal } = context.mcpReq;
    counts.started += 1;
    counts.running += 1;
    const answer = await steps(signal);
    counts.running -= 1;
    if (signal.aborted) counts.cancelled += 1;
    else counts.finished += 1;
    return text(answer);
  }

  const factory: McpFactory = () => {
    const server = new McpServer({ name: 'work', version: '0' });
    server.registerTool('add', { description: 'Adds', inputSchema: Sum }, async ({ a, b }) => text(String(a + b)));
    server.registerTool('echo', { description: 'Repeats', inputSchema: Echo }, async ({ text: said, afterMs }) => {
      await wait(afterMs);
      return text(said);
    });
    server.registerTool('whoami', { description: 'Names the caller' }, async (context) => {
      const caller = z.object({ name: z.string() }).parse(context.http?.authInfo?.extra?.caller);
      return text(caller.name);
    });
    server.registerTool('work', { description: 'Notifies each step', inputSchema: Work }, (args, context) =>
      counted(context, (stop) => work(args, context, stop)),
    );
    server.registerTool('trace', { description: 'Reports all the time', inputSchema: Trace }, (args, context) =>
      counted(context, (stop) => trace(args, context, stop)),
    );
    return server;
  };

  async function work({ steps, everyMs, padBytes }: z.output<typeof Work>, context: ServerContext, stop: AbortSignal) {
    for (let step = 1; step <= steps; step++) {
      await sleep(everyMs, stop);
      if (stop.aborted) return 'cancelled';
      if (notify(context, step, steps, padBytes) === 'stalled') return 'stalled';
    }
    return `${steps} steps`;
  }

  function notify(context: ServerContext, progress: number, total: number, padBytes: number) {
    const { _meta, notify: send } = context.mcpReq;
    const message = 'x'.repeat(padBytes);
    const admission = flowOf(context.http?.req)?.admit(message.length + 150) ?? 'send';
    if (admission === 'send') {
      counts.sent += 1;
      const params = { progressToken: _meta?.progressToken, progress, total, message };
      send({ method: 'notifications/progress', params }).catch(() => {});
    } else if (admission === 'skip') counts.skipped += 1;
    else counts.stalled += 1;
    return admission;
  }

  async function trace(args: z.output<typeof Trace>, context: ServerContext, stop: AbortSignal) {
    using progress = createProgress(context);
    for (let sent = 0; sent < args.floodBytes; sent += 50_000) {
      if (notify(context, 0, 1, 50_000) !== 'send') break;
      await sleep(0, stop);
    }
    const started = performance.now();
    const signal = AbortSignal.any([stop, progress.stalled]);
    for (let doneMs = 0; doneMs < args.durationMs && !signal.aborted; doneMs = performance.now() - started) {
      progress.report({ message: `at ${Math.round(doneMs)} ms ${'.'.repeat(200)}`, doneMs, totalMs: args.durationMs });
      await sleep(20, signal);
    }
    if (progress.stalled.aborted) counts.stalled += 1;
    return progress.stalled.aborted ? String(progress.stalled.reason) : 'done';
  }

  return { factory, counts, longTools: new Set(['work', 'trace']) };
}

const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });
const sleep = (ms: number, signal: AbortSignal) => wait(ms, undefined, { signal }).catch(() => {});
