import type Dockerode from 'dockerode';
import * as z from 'zod';
import type { Log } from '../../log.ts';
import type { Container, Runtime } from '../../trace/ports.ts';
import { createDetails, type Details, fieldsOf, handlerOf } from './details.ts';
import { firstProcessOf } from './first-process.ts';
import { RuntimeError } from './runtime-error.ts';
import { isListening } from './socket.ts';

export interface DockerOptions {
  readonly socket?: string;
  /** Where the host's root folder is mounted, empty when we see it as it is. */
  readonly hostRoot?: string;
  readonly log: Log;
}

const CALL_MS = 2000;

/**
 * The containers of a Docker daemon, or of one that speaks its API; the pods among them by the labels that cri-dockerd
 * gives. `list` throws `RuntimeError`.
 */
export function createDockerRuntime({
  hostRoot = '',
  socket = `${hostRoot}/var/run/docker.sock`,
  log,
}: DockerOptions): Runtime {
  const procFolder = `${hostRoot}/proc`;
  const details = createDetails({ procFolder, runtime: socket, log });

  /** Has the last word where the library has none: it never settles when an answer breaks off. */
  async function call<T extends z.ZodType>(
    what: string,
    schema: T,
    ask: (abortSignal: AbortSignal) => Promise<unknown>,
    signal: AbortSignal,
  ): Promise<z.infer<T>> {
    signal.throwIfAborted();
    const end = new AbortController();
    const { promise: ended, reject } = Promise.withResolvers<never>();
    const stop = (reason: unknown) => {
      reject(reason);
      end.abort();
    };
    const onAbort = () => stop(signal.reason);
    signal.addEventListener('abort', onAbort);
    const timer = setTimeout(() => {
      stop(new RuntimeError(`docker at ${socket} did not answer ${what} in full within ${CALL_MS / 1000} s.`));
    }, CALL_MS);
    try {
      return schema.parse(await Promise.race([ended, ask(end.signal)]));
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw error instanceof RuntimeError ? error : faultOf(socket, what, error);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }

  return {
    name: 'docker',
    detect: () => isListening(socket),
    async list(signal) {
      const docker = await clientOf(socket);
      const containers = await call(
        'the list of containers',
        z.array(Listed),
        (abortSignal) => docker.listContainers({ all: true, abortSignal }),
        signal,
      );
      const ask = async (id: string, limit: AbortSignal): Promise<Details | undefined> => {
        try {
          const inspect = (abortSignal: AbortSignal) => docker.getContainer(id).inspect({ abortSignal });
          return detailsIn(await call('the state of a container', Inspected, inspect, limit), procFolder);
        } catch (error) {
          if (error instanceof RuntimeError && isGone(error.cause)) return undefined;
          throw error;
        }
      };
      const running = containers.filter((each) => stateOf(each) === 'running').map(({ Id }) => Id);
      const known = await details(running, ask, signal);
      return containers
        .filter((each) => stateOf(each) !== 'running' || known.has(each.Id))
        .map((each) => containerOf(each, known.get(each.Id)));
    },
  };
}

const Listed = z.object({
  Id: z.string().min(12),
  Names: z.array(z.string()).nullish(),
  Image: z.string().nullish(),
  State: z.string(),
  Labels: z
    .record(z.string(), z.string())
    .nullish()
    .transform((labels) => labels ?? {}),
});
type Listed = z.infer<typeof Listed>;

const Inspected = z.object({
  Id: z.string(),
  State: z.object({ Pid: z.int().nullish(), StartedAt: z.string().nullish() }),
  HostConfig: z.object({ Runtime: z.string().nullish() }).nullish(),
});

function containerOf({ Id, Names, Image, Labels, ...of }: Listed, details: Details | undefined): Container {
  // `/web`; a link of another container to this one is a name, too, `/other/web`.
  const name = Names?.find((each) => each.lastIndexOf('/') === 0)?.slice(1);
  const pod = {
    namespace: Labels['io.kubernetes.pod.namespace'],
    name: Labels['io.kubernetes.pod.name'],
    uid: Labels['io.kubernetes.pod.uid'],
  };
  const { namespace, name: podName, uid } = pod;
  return {
    runtime: 'docker',
    id: Id,
    name: Labels['io.kubernetes.container.name'] ?? name ?? Id.slice(0, 12),
    state: stateOf(of),
    ...(namespace && podName && uid && { pod: { namespace, name: podName, uid } }),
    labels: Labels,
    ...(Image && { image: Image }),
    ...fieldsOf(details),
  };
}

function stateOf({ State }: Pick<Listed, 'State'>): Container['state'] {
  switch (State) {
    case 'created':
      return 'created';
    case 'running':
    case 'paused':
      return 'running';
    case 'restarting':
    case 'removing':
    case 'exited':
    case 'dead':
      return 'exited';
    default:
      return 'unknown';
  }
}

function detailsIn({ Id, State, HostConfig }: z.infer<typeof Inspected>, procFolder: string): Details {
  const process = State.Pid ? firstProcessOf(procFolder, State.Pid, Id) : undefined;
  const handler = handlerOf(HostConfig?.Runtime ?? '');
  const startedMs = Date.parse(State.StartedAt ?? '');
  return {
    ...(process && { process }),
    ...(handler !== undefined && { handler }),
    ...(startedMs > 0 && { startedMs }),
  };
}

function faultOf(socket: string, what: string, cause: unknown): RuntimeError {
  const status = cause instanceof Error && 'statusCode' in cause ? Number(cause.statusCode) : undefined;
  const said =
    cause instanceof z.ZodError
      ? `answered the question for ${what} with something else`
      : status !== undefined
        ? `answered the question for ${what} with HTTP status ${status}`
        : `closed the connection when it was asked for ${what}`;
  return new RuntimeError(`docker at ${socket} ${said}.`, { cause });
}

const isGone = (cause: unknown) => cause instanceof Error && 'statusCode' in cause && cause.statusCode === 404;

/** The library: 130 ms and several megabytes, spent only where a daemon listens. */
async function clientOf(socketPath: string): Promise<Dockerode> {
  const { default: Docker } = await import('dockerode');
  // What is named here it does not take from DOCKER_HOST and its like.
  return new Docker({ socketPath, host: undefined, protocol: 'http', timeout: CALL_MS });
}
