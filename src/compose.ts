import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { createAccess, LOCAL_CALLER } from './access/access.ts';
import { checkExposure } from './access/exposure.ts';
import { findInstallation } from './bpftrace/installation.ts';
import { createKernel } from './bpftrace/kernel.ts';
import { defaultRunDir } from './bpftrace/own-folder.ts';
import { createOwnLevel } from './bpftrace/own-level.ts';
import { ensureTracefs } from './bpftrace/tracefs.ts';
import { createBpftrace } from './bpftrace/tracer.ts';
import type { Config } from './config.ts';
import { createApp } from './http/app.ts';
import { createHealth, createHealthListener } from './http/health.ts';
import { type Listener, listen } from './http/listen.ts';
import { createMetrics } from './http/metrics.ts';
import { createV1 } from './http/v1.ts';
import { createLog, type Log, silentLog } from './log.ts';
import { createMcpEndpoint } from './mcp/endpoint.ts';
import { createMcpFactory } from './mcp/server.ts';
import { serveStdio } from './mcp/stdio.ts';
import { LONG_TOOLS } from './mcp/tools/index.ts';
import { BUILTINS, nearestBuiltins } from './program/builtins.ts';
import { plainProgram } from './program/instrument.ts';
import { MAX_PROGRAM_BYTES } from './program/program.ts';
import { createRunStore } from './results/store.ts';
import { createPodSource } from './targets/kubernetes.ts';
import { inClusterServer } from './targets/kubernetes-api.ts';
import { createCgroupfs } from './targets/runtimes/cgroupfs.ts';
import { CRI_SOCKETS, createCriRuntime } from './targets/runtimes/cri.ts';
import { createDockerRuntime } from './targets/runtimes/docker.ts';
import { createTargets } from './targets/targets.ts';
import { createNode, type Node } from './trace/node.ts';
import type { Access, CallContext, KernelFacts, NodeFacts, Progress, StoreUsage, TraceLimits } from './trace/ports.ts';
import { createSlots, defaultSlots } from './trace/slots.ts';

export { createRemoteNode } from './cluster/remote-node.ts';
export type { KernelFacts, NodeApi, NodeFacts, RunRecord, RunRequest } from './trace/ports.ts';

const PROJECT = join(import.meta.dirname, '..');

/** The version of kerntap, from its package. */
export const VERSION: string = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')).version;

const MIB = 1 << 20;
const KEPT: Omit<TraceLimits, 'timeoutMs'> = { maxEventBytes: 8 * MIB, maxMapBytes: 16 * MIB };
const MAX_ATTACH_POINTS = 64;

/** Runs end within their timeout and 35 s; what a drain waits for is what one stop sequence needs. */
const DRAIN_MS = 35_000;
/** What an answer under way may still take when all runs are over. */
const CUT_MS = 2_000;

/** This machine as a `NodeApi`, without any listener. */
export interface LocalNode {
  readonly node: Node;
  readonly log: Log;
  readonly dataDir: string;
  /** Whether tracefs was there, was mounted by us, or cannot be had. */
  readonly tracefs: 'present' | 'mounted' | 'absent';
  /** What this machine can do; found once, by trying. */
  abilities(): Promise<NodeFacts>;
  /** Stops what runs and keeps its results; waits for less when `hurry` is aborted. */
  close(hurry: AbortSignal): Promise<void>;
}

/** `LocalNode` as an MCP server and an HTTP API on its listeners. */
export interface Server extends LocalNode {
  readonly urls: { readonly mcp: string; readonly v1: string; readonly health: string };
}

/** A call by whoever sits at this terminal. */
export const localCall = (signal: AbortSignal, progress: (progress: Progress) => void = () => {}): CallContext => ({
  caller: LOCAL_CALLER,
  signal,
  log: silentLog,
  progress,
});

/** Builds everything that stands behind the `NodeApi` of this machine. `write` takes the log. Throws `start.*`. */
export const composeNode = async (config: Config, write: (line: string) => void): Promise<LocalNode> =>
  (await composeParts(config, write)).local;

/** The node and its listeners. Throws `start.*`, and leaves nothing behind then. */
export async function composeServer(config: Config, write: (line: string) => void): Promise<Server> {
  const { tokenFile, tlsTerminatedByProxy, inKubernetes, listen: at, healthListen } = config;
  checkExposure({ listenHost: at.host, tokenFile, tlsTerminatedByProxy, inKubernetes });
  const { local, access, metrics, readiness, close } = await composeParts(config, write);
  const { node, log } = local;
  const endpoint = createMcpEndpoint({ factory: mcpFactory(local), longTools: LONG_TOOLS, log });
  const health = createHealth(readiness);
  const listeners: Listener[] = [];
  const closeListeners = (graceMs: number) => Promise.all(listeners.map((listener) => listener.close(graceMs)));

  try {
    const app = createApp({
      endpoint,
      v1: createV1({ node, log, version: VERSION }),
      ...(healthListen === undefined && { health, metrics: metrics.routes }),
      countRequests: metrics.countRequests,
      access,
      authentication: tokenFile === undefined ? 'none' : 'bearer',
      allowedHosts: config.allowedHosts,
      allowedOrigins: config.allowedOrigins,
      tlsTerminatedByProxy,
      log,
    });
    const main = await listen(app, at);
    listeners.push(main);
    const ownHealth = healthListen && (await listen(createHealthListener(health, metrics.routes), healthListen));
    if (ownHealth) listeners.push(ownHealth);
    log.info('server.listening', { url: main.url, node: config.nodeName });
    return {
      ...local,
      urls: { mcp: `${main.url}/mcp`, v1: `${main.url}/v1`, health: (ownHealth ?? main).url },
      // Runs first: a client that waits for one is still to be told how it ended.
      async close(hurry) {
        await close(hurry, async () => {
          await endpoint.close(CUT_MS);
          await closeListeners(CUT_MS);
        });
      },
    };
  } catch (error) {
    await closeListeners(0);
    await close(AbortSignal.abort());
    throw error;
  }
}

/** The node for one client that started us: MCP over standard input and output. Throws `start.*`. */
export async function composeStdio(config: Config, write: (line: string) => void): Promise<LocalNode> {
  const { local, close } = await composeParts(config, write);
  const client = serveStdio(mcpFactory(local), local.log);
  return { ...local, close: (hurry) => close(hurry, client.close) };
}

const mcpFactory = ({ node, log }: LocalNode) =>
  createMcpFactory({ node, helpers: BUILTINS, log, version: VERSION, localCaller: LOCAL_CALLER });

/** What can be said of this kernel without a bpftrace: everything but which probes attach. */
export function lookAtKernel(): Promise<KernelFacts> {
  const query = async () => ({ stdout: '', exitCode: undefined });
  const attach = async () => ({ attached: false });
  const kernel = createKernel({ query, attach, version: 'none', bundled: false, log: silentLog });
  return kernel.facts(false, new AbortController().signal);
}

interface Parts {
  readonly local: LocalNode;
  readonly access: Access;
  readonly metrics: ReturnType<typeof createMetrics>;
  readonly readiness: () => { draining: boolean; store: StoreUsage; sandbox: NodeFacts['sandbox'] };
  /** Ends the runs, then the surfaces in front of them, then what stands behind them. */
  close(hurry: AbortSignal, closeSurfaces?: () => Promise<unknown>): Promise<void>;
}

async function composeParts(config: Config, write: (line: string) => void): Promise<Parts> {
  const log = createLog(write);
  const { nodeName, dataDir, maxTimeout } = config;
  const now = () => performance.now();
  const metrics = createMetrics({ version: VERSION });
  const access = await createAccess({ ...(config.tokenFile && { tokenFile: config.tokenFile }), log });
  const installation = await findInstallation({
    ...(config.bpftrace && { path: config.bpftrace }),
    cacheDir: join(PROJECT, '.cache'),
    env: process.env,
  });
  const tracefs = await ensureTracefs();
  if (tracefs !== 'present') log.info('tracefs.found', { state: tracefs });
  const tracer = await createBpftrace({
    installation,
    runDir: defaultRunDir(process.env),
    log,
    spare: config.spare === 'on',
    watchdog: config.watchdog === 'on',
    maxTimeoutMs: maxTimeout * 1000,
  });
  const store = await openStore().catch(async (error: unknown) => {
    await tracer.close();
    throw error;
  });
  const apiServer = inClusterServer(process.env);
  const pods = apiServer && createPodSource({ server: apiServer, node: nodeName, log });
  const { hostRoot } = config;
  const criSockets = config.criSockets.length > 0 ? config.criSockets : CRI_SOCKETS.map((socket) => hostRoot + socket);
  const targets = createTargets({
    runtimes: [
      ...criSockets.map((socket) => createCriRuntime({ socket, hostRoot, log })),
      createDockerRuntime({ hostRoot, log, ...(config.dockerSocket && { socket: config.dockerSocket }) }),
      createCgroupfs({ hostRoot }),
    ],
    pods,
    hostRoot,
    nodeName,
    log,
    ownLevel: createOwnLevel(tracer),
  });
  const kernel = createKernel({
    query: tracer.query,
    attach: (program, signal) => tracer.attach(plainProgram(program), signal),
    version: installation.version,
    bundled: installation.bundled,
    targetFiles: async (selector, path, signal) => targets.files(await targets.resolve(selector, signal), path),
    log,
    ...(tracer.sandbox.missing.every((part) => !part.startsWith('landlock:')) && { landlock: true }), // it was tried
  });
  const slots = createSlots(defaultSlots, now);
  const node = createNode({
    access,
    kernel,
    nearestFunctions: nearestBuiltins,
    nonce: randomUUID,
    slots,
    store,
    targets,
    tracer,
    log,
    limits: { ...KEPT, maxTimeoutMs: maxTimeout * 1000, maxAttachPoints: MAX_ATTACH_POINTS },
    redactions: [],
    node: nodeName,
    versions: { kerntap: VERSION, bpftrace: installation.version, kernel: release() },
    now,
    onEnd: metrics.observeRun,
    shownLimits: {
      timeout_s: maxTimeout,
      attach_points: MAX_ATTACH_POINTS,
      program_bytes: MAX_PROGRAM_BYTES,
      event_bytes: KEPT.maxEventBytes,
      map_bytes: KEPT.maxMapBytes,
    },
  });
  metrics.watch({ slots: () => slots, store: store.usage });

  async function openStore() {
    return createRunStore({ dataDir, node: nodeName, log });
  }

  async function close(hurry: AbortSignal, closeSurfaces: () => Promise<unknown> = async () => {}): Promise<void> {
    const hurried = new Promise<void>((resolve) => hurry.addEventListener('abort', () => resolve(), { once: true }));
    await Promise.race([node.drain(DRAIN_MS), hurry.aborted ? undefined : hurried]);
    await closeSurfaces();
    await tracer.close(hurry);
    await store.close();
    pods?.close();
  }

  return {
    local: {
      node,
      log,
      dataDir,
      tracefs,
      abilities: () => node.describe(false, localCall(new AbortController().signal)),
      close,
    },
    access,
    metrics,
    readiness: () => ({ draining: node.draining, store: store.usage(), sandbox: tracer.sandbox }),
    close,
  };
}
