import { createReadStream, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import Dockerode from 'dockerode';
import { type Bed, createBed, untilAnswers } from './bed.ts';
import { cgroupOf } from './cgroups.ts';
import type { Container } from './container.ts';
import { IMAGE, testImage } from './image.ts';

export interface Docker extends AsyncDisposable {
  readonly socket: string;
  readonly api: Dockerode;
  /** As `docker run --detach`. */
  run(options?: DockerRunOptions): Promise<DockerContainer>;
}

export interface DockerRunOptions {
  readonly name?: string;
  readonly command?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** Without it `/docker`. */
  readonly cgroupParent?: string;
  readonly network?: 'host' | 'none';
  readonly privileged?: boolean;
  /** `HOST:CONTAINER` each. */
  readonly binds?: readonly string[];
}

/** Disposing of it removes it. */
export interface DockerContainer extends Container {
  readonly name: string;
  /** Ends it; Docker still knows it. */
  stop(): Promise<void>;
}

/**
 * Starts a dockerd with folders, a socket and a containerd of its own, which sees cgroup v2 alone. It has no bridge and
 * leaves iptables alone: containers have the machine's network or none.
 */
export async function startDocker(): Promise<Docker> {
  await using stack = new AsyncDisposableStack();
  const bed = stack.use(await createBed('docker'));
  const at = (name: string) => join(bed.path, name);
  writeFileSync(at('daemon.json'), '{}'); // or it reads the machine's own
  const log = at('log');
  const output = openSync(log, 'w');
  const socket = at('docker.sock');
  const daemon = bed.spawn(
    ['dockerd', '--config-file', at('daemon.json'), '--host', `unix://${socket}`]
      .concat(['--data-root', at('root'), '--exec-root', at('exec'), '--pidfile', at('pid')])
      .concat([
        '--bridge',
        'none',
        '--userland-proxy=false',
        '--ip-forward=false',
        '--iptables=false',
        '--ip6tables=false',
      ])
      .concat(['--exec-opt', 'native.cgroupdriver=cgroupfs']),
    { stdio: ['ignore', output, output], env: { ...process.env, DOCKER_CONFIG: at('client') } },
  );
  const api = new Dockerode({ socketPath: socket });
  await untilAnswers(daemon, () => api.ping(), log);
  const { archive } = await testImage();
  await text(await api.loadImage(createReadStream(archive)));
  const kept = stack.move();
  return {
    socket,
    api,
    run: (options = {}) => start(bed, api, options),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function start(bed: Bed, api: Dockerode, options: DockerRunOptions): Promise<DockerContainer> {
  const {
    name,
    command = ['idle'],
    labels = {},
    cgroupParent,
    network = 'none',
    privileged = false,
    binds = [],
  } = options;
  const container = await api.createContainer({
    ...(name === undefined ? {} : { name }),
    Image: IMAGE,
    Cmd: [...command],
    Labels: { ...labels },
    HostConfig: {
      NetworkMode: network,
      Privileged: privileged,
      Binds: [...binds],
      ...(cgroupParent === undefined ? {} : { CgroupParent: cgroupParent }),
    },
  });
  bed.claimCgroup(join(cgroupParent ?? '/docker', container.id));
  await container.start();
  const { State, Name } = await container.inspect();
  return {
    id: container.id,
    name: Name.slice(1),
    pid: State.Pid,
    ...cgroupOf(State.Pid),
    exec: (cmd) => execute(api, container, cmd),
    async stop() {
      await container.stop();
    },
    async [Symbol.asyncDispose]() {
      await container.remove({ force: true });
    },
  };
}

async function execute(api: Dockerode, container: Dockerode.Container, cmd: readonly string[]): Promise<string> {
  const exec = await container.exec({ Cmd: [...cmd], AttachStdout: true, AttachStderr: true });
  const both = await exec.start({});
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  api.modem.demuxStream(both, stdout, stderr);
  both.once('end', () => [stdout, stderr].map((stream) => stream.end()));
  const [output, complaint] = await Promise.all([text(stdout), text(stderr)]);
  const { ExitCode } = await exec.inspect();
  if (ExitCode !== 0) throw new Error(`${cmd.join(' ')} ended with ${ExitCode}: ${complaint}`);
  return output;
}
