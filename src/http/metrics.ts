import { Hono, type MiddlewareHandler } from 'hono';
import { routePath } from 'hono/route';
import { Counter, Gauge, Histogram, type OpenMetricsContentType, Registry } from 'prom-client';
import type { RunFinal, RunHeader, StoreUsage } from '../trace/ports.ts';

export interface Metrics {
  /** `GET /metrics` in OpenMetrics; who may read it is decided before it. */
  readonly routes: Hono;
  /** Counts a run that ended. */
  readonly observeRun: (header: Pick<RunHeader, 'timing'>, final: RunFinal) => void;
  /** Counts every request by the pattern of its route: the path itself is the caller's text and never a label. */
  readonly countRequests: MiddlewareHandler;
  /** Shows the gauges of what lives beside the metrics; called once. */
  watch(sources: { slots(): { readonly taken: number; readonly total: number }; store(): StoreUsage }): void;
}

const RUN_SECONDS = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600];
const ARM_SECONDS = [0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60];

/** The figures of this server. Labels are words of ours, never text that was traced or sent. */
export function createMetrics({ version }: { readonly version: string }): Metrics {
  const registry = new Registry<OpenMetricsContentType>();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });

  const runs = counter('kerntap_runs_total', 'Runs that ended', ['state', 'reason']);
  const lasted = new Histogram({
    name: 'kerntap_run_seconds',
    help: 'From the call to the end of a run',
    buckets: RUN_SECONDS,
    registers,
  });
  const armed = new Histogram({
    name: 'kerntap_arm_seconds',
    help: 'From the call to the attachment of all probes',
    buckets: ARM_SECONDS,
    registers,
  });
  const events = counter('kerntap_events_total', 'Printed events that were kept');
  const dropped = counter('kerntap_dropped_events_total', 'Printed events beyond the limit of their run');
  const probeCpu = counter('kerntap_probe_cpu_seconds_total', 'CPU time that the probes of ended runs took');
  const requests = counter('kerntap_http_requests_total', 'Requests that were answered', ['route', 'status']);
  new Gauge({ name: 'kerntap_build_info', help: 'Always 1', labelNames: ['version'], registers }).set({ version }, 1);

  return {
    routes: new Hono().get('/metrics', async (c) => {
      const text = await registry.metrics();
      return c.body(text, 200, { 'Content-Type': registry.contentType });
    }),

    observeRun({ timing: { askedMs } }, { state, reason, timing, account }) {
      runs.inc({ state, reason });
      lasted.observe(Math.max(0, timing.endedMs - askedMs) / 1000);
      if (timing.armedMs !== undefined) armed.observe(Math.max(0, timing.armedMs - askedMs) / 1000);
      events.inc(account.events);
      dropped.inc(account.droppedByLimit.events);
      probeCpu.inc((account.nodeCost?.timeNs ?? 0) / 1e9);
    },

    async countRequests(c, next) {
      await next();
      requests.inc({ route: routePath(c, -1), status: String(c.res.status) });
    },

    watch({ slots, store }) {
      gauge('kerntap_runs_running', 'Runs that are not over', () => slots().taken);
      gauge('kerntap_slots', 'Runs that fit at once', () => slots().total);
      gauge('kerntap_store_bytes', 'Bytes that the store holds', () => store().bytes);
      gauge('kerntap_store_max_bytes', 'Bytes that the store may hold', () => store().maxBytes);
      gauge('kerntap_store_runs', 'Runs that the store holds', () => store().runs);
    },
  };
}
