import type { MethodDefinition, ServiceError } from '@grpc/grpc-js';
import * as z from 'zod';
import type { Log } from '../../log.ts';
import type { Container, Runtime } from '../../trace/ports.ts';
import { CRI, type CriContainer, type Methods, type PodSandbox } from './cri-messages.ts';
import { createDetails, type Details, fieldsOf, handlerOf } from './details.ts';
import { firstProcessOf } from './first-process.ts';
import { RuntimeError } from './runtime-error.ts';
import { isListening } from './socket.ts';

export interface CriOptions {
  readonly socket: string;
  /** Where the host's root folder is mounted, empty when we see it as it is. */
  readonly hostRoot?: string;
  readonly log: Log;
}

/** Where containerd, CRI-O, cri-dockerd and k3s listen, below the host's root. */
export const CRI_SOCKETS: readonly string[] = [
  '/run/containerd/containerd.sock',
  '/run/crio/crio.sock',
  '/var/run/cri-dockerd.sock',
  '/run/k3s/containerd/containerd.sock',
];
const CALL_MS = 2000;
/** Of one answer; a kubelet takes as much. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** Of gRPC's status codes (google.golang.org/grpc/codes). */
const [DEADLINE_EXCEEDED, NOT_FOUND, UNIMPLEMENTED, UNAVAILABLE] = [4, 5, 12, 14];

type Call = <Name extends keyof Methods>(
  method: Name,
  request: Methods[Name]['request'],
  signal: AbortSignal,
) => Promise<Methods[Name]['answer']>;

/**
 * The containers of the runtime that speaks the Container Runtime Interface at `socket`. One that listens and does not answer
 * counts as found, so that `list` can name it: it throws `RuntimeError`.
 */
export function createCriRuntime({ socket, hostRoot = '', log }: CriOptions): Runtime {
  const procFolder = `${hostRoot}/proc`;
  let name: string | undefined;
  const details = createDetails({ procFolder, runtime: socket, log });

  /** Connects for as long as `use` takes: a channel that is kept tries a restarted runtime later and later. */
  async function connected<T>(use: (call: Call) => Promise<T>): Promise<T> {
    const { Client, credentials, methods } = await library();
    const client = new Client(`unix://${socket}`, credentials.createInsecure(), {
      // Without it the authority is the socket's path, which the HTTP/2 of Go refuses.
      'grpc.default_authority': 'localhost',
      'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
    });
    const call: Call = (method, request, signal) =>
      new Promise((resolve, reject) => {
        signal.throwIfAborted();
        const { path, requestSerialize, responseDeserialize } = methods[method];
        const options = { deadline: Date.now() + CALL_MS };
        const done = (error: ServiceError | null, answer?: object) => {
          signal.removeEventListener('abort', cancel);
          if (answer !== undefined) resolve(answer as Methods[typeof method]['answer']);
          else reject(signal.aborted ? signal.reason : faultOf(`${name ?? 'The runtime'} at ${socket}`, method, error));
        };
        const sent = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, options, done);
        const cancel = () => sent.cancel();
        signal.addEventListener('abort', cancel);
      });
    try {
      return await use(call);
    } finally {
      client.close();
    }
  }

  const learnName = async (call: Call, signal: AbortSignal) => {
    name ??= (await call('Version', {}, signal)).runtime_name || 'cri';
    return name;
  };

  return {
    get name() {
      return name ?? 'cri';
    },

    async detect() {
      if (!(await isListening(socket))) return false;
      name = undefined;
      try {
        await connected((call) => learnName(call, AbortSignal.timeout(CALL_MS)));
      } catch (error) {
        // Docker's package switches the CRI of its containerd off.
        if (codeOf(error) === UNIMPLEMENTED) return false;
        log.warn('runtime.silent', { socket, error: error instanceof RuntimeError ? error.message : undefined });
      }
      return true;
    },

    list: (signal) =>
      connected(async (call) => {
        const runtime = await learnName(call, signal);
        const { containers } = await call('ListContainers', {}, signal);
        // After the containers, so that each of them has its sandbox in it.
        const { items } = await call('ListPodSandbox', {}, signal);
        const sandboxes = new Map(items.map((item) => [item.id, item]));
        const ask = async (id: string, limit: AbortSignal): Promise<Details | undefined> => {
          try {
            return detailsIn(id, await call('ContainerStatus', { container_id: id, verbose: true }, limit), procFolder);
          } catch (error) {
            if (codeOf(error) === NOT_FOUND) return undefined;
            throw error;
          }
        };
        const running = containers.filter((container) => stateOf(container) === 'running').map(({ id }) => id);
        const known = await details(running, ask, signal);
        return containers
          .filter((container) => stateOf(container) !== 'running' || known.has(container.id))
          .map((each) => containerOf(runtime, each, sandboxes.get(each.pod_sandbox_id), known.get(each.id)));
      }),
  };
}

function containerOf(
  runtime: string,
  container: CriContainer,
  sandbox: PodSandbox | undefined,
  details: Details | undefined,
): Container {
  const { id, metadata, labels, image } = container;
  const pod = sandbox?.metadata;
  const handler = sandbox?.runtime_handler || undefined;
  const imageName = image?.user_specified_image || image?.image;
  return {
    runtime,
    id,
    name: metadata?.name || id.slice(0, 12),
    state: stateOf(container),
    ...(pod && { pod: { namespace: pod.namespace, name: pod.name, uid: pod.uid } }),
    labels: { ...sandbox?.labels, ...labels },
    ...(imageName && { image: imageName }),
    ...(handler !== undefined && { handler }),
    ...fieldsOf(details),
  };
}

function stateOf({ state }: CriContainer): Container['state'] {
  switch (state) {
    case 'CONTAINER_CREATED':
      return 'created';
    case 'CONTAINER_RUNNING':
      return 'running';
    case 'CONTAINER_EXITED':
      return 'exited';
    default:
      return 'unknown';
  }
}

/** What containerd and CRI-O put into a verbose status as JSON. No cri-api describes it; cri-dockerd gives none. */
const Info = z.object({
  pid: z.int().positive().optional().catch(undefined),
  runtimeType: z.string().optional().catch(undefined),
  runtimeSpec: z
    .object({ linux: z.object({ cgroupsPath: z.string() }) })
    .optional()
    .catch(undefined),
});

function detailsIn(id: string, { status, info }: Methods['ContainerStatus']['answer'], procFolder: string): Details {
  const { pid, runtimeType, runtimeSpec } = Info.catch({}).parse(jsonIn(info.info));
  const process = pid === undefined ? undefined : firstProcessOf(procFolder, pid, id);
  const cgroup = cgroupIn(runtimeSpec?.linux.cgroupsPath ?? '');
  // The shim tells what runs the container; the name of a handler is the operator's own choice.
  const handler = handlerOf(runtimeType ?? '');
  const startedMs = Number(BigInt(status?.started_at ?? 0) / 1_000_000n);
  return {
    ...(process && { process }),
    ...(cgroup !== undefined && { cgroup }),
    ...(handler !== undefined && { handler }),
    ...(startedMs > 0 && { startedMs }),
  };
}

/** The path for either notation of the runtime specification: a path, or systemd's `SLICE:PREFIX:NAME`. */
function cgroupIn(notation: string): string | undefined {
  const [slice, prefix, name] = notation.split(':');
  if (slice?.endsWith('.slice') && name) return `${slicePath(slice)}/${prefix ? `${prefix}-` : ''}${name}.scope`;
  return notation.startsWith('/') ? notation : undefined;
}

/** A slice lies in those that its name begins with: `a-b.slice` in `a.slice` (systemd.slice(5)). */
function slicePath(slice: string): string {
  const names = slice.slice(0, -'.slice'.length).split('-');
  return names.map((_, index) => `/${names.slice(0, index + 1).join('-')}.slice`).join('');
}

function jsonIn(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return undefined;
  }
}

function faultOf(runtime: string, method: string, error: ServiceError | null): RuntimeError {
  const said = () => {
    switch (error?.code) {
      case DEADLINE_EXCEEDED:
        return `did not answer ${method} within ${CALL_MS / 1000} s`;
      case UNAVAILABLE:
        return `closed the connection, or speaks no gRPC, when it was asked for ${method}`;
      case UNIMPLEMENTED:
        return `has no ${method} of CRI v1`;
      default:
        return `answered ${method} with gRPC status ${error?.code ?? 'none'}`;
    }
  };
  return new RuntimeError(`${runtime} ${said()}.`, { cause: error });
}

const codeOf = (error: unknown): unknown =>
  error instanceof RuntimeError && error.cause instanceof Error && 'code' in error.cause ? error.cause.code : undefined;

/** gRPC: 100 ms and several megabytes, spent only where a runtime listens. */
async function library() {
  const [{ Client, credentials }, { fromJSON }] = await Promise.all([
    import('@grpc/grpc-js'),
    import('@grpc/proto-loader'),
  ]);
  const definition = fromJSON(CRI, { keepCase: true, longs: String, enums: String, defaults: true });
  const methods = definition['runtime.v1.RuntimeService'] as unknown as Readonly<
    Record<keyof Methods, MethodDefinition<object, object>>
  >;
  return { Client, credentials, methods };
}
