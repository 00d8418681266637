import { randomUUID } from 'node:crypto';
import { mkdirSync, openSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Bed, createBed, untilAnswers } from './bed.ts';
import { cgroupOf } from './cgroups.ts';
import type { Container } from './container.ts';
import { type CriDriver, createCriDriver } from './cri-driver.ts';
import { IMAGE, testImage } from './image.ts';
import { type Driver, podCgroup, type Qos } from './pod-cgroup.ts';

export interface Containerd extends AsyncDisposable {
  /** Of its CRI. */
  readonly socket: string;
  readonly version: string;
  readonly cri: CriDriver;
  /** Starts a pod and its containers. */
  pod<Name extends string>(spec: PodSpec<Name>): Promise<Pod<Name>>;
}

export interface PodSpec<Name extends string> {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly qos?: Qos;
  readonly driver?: Driver;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Without it the pod has a network namespace of its own, on a bridge with the other pods of its containerd. */
  readonly hostNetwork?: boolean;
  readonly hostPid?: boolean;
  readonly privileged?: boolean;
  readonly containers: Readonly<Record<Name, ContainerSpec>>;
}

export interface ContainerSpec {
  readonly command?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly mounts?: readonly { readonly containerPath: string; readonly hostPath: string }[];
  /** How often it was started before. */
  readonly attempt?: number;
}

/** A pod that runs. Disposing of it removes it as a kubelet does. */
export interface Pod<Name extends string = string> extends AsyncDisposable {
  /** Of its sandbox. */
  readonly id: string;
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  /** Of its pause container, which `containers` does not hold. */
  readonly pid: number;
  /** Of the pod: the parent of all its containers. With the driver `mixed` no such cgroup is made. */
  readonly cgroupPath: string;
  readonly containers: Readonly<Record<Name, PodContainer>>;
  addContainer(name: string, spec?: ContainerSpec): Promise<PodContainer>;
}

/** Disposing of it stops and removes it. */
export interface PodContainer extends Container {
  readonly name: string;
  /** Ends it; the runtime still knows it. */
  stop(): Promise<void>;
}

/** Starts a containerd with folders and a socket of its own, which sees cgroup v2 alone. */
export async function startContainerd(): Promise<Containerd> {
  await using stack = new AsyncDisposableStack();
  const bed = stack.use(await createBed('containerd'));
  bed.makeFolder('/var/lib/cni');
  const bridge = `kt${process.pid}-${bed.path.split('-').at(-1)}`; // at most 15 characters
  bed.claimLink(bridge);
  configure(bed, bridge);

  const log = join(bed.path, 'log');
  const output = openSync(log, 'w');
  const daemon = bed.spawn(['containerd', '--config', join(bed.path, 'config.toml')], {
    stdio: ['ignore', output, output],
  });
  const socket = join(bed.path, 'containerd.sock');
  const cri = createCriDriver(socket);
  stack.defer(() => cri.close());
  let version = '';
  const ask = async () => {
    version = (await cri.call<{ runtime_version: string }>('Version', {})).runtime_version;
  };
  await untilAnswers(daemon, ask, log);
  const { archive } = await testImage();
  await bed.run(['ctr', '--address', socket, '--namespace', 'k8s.io', 'images', 'import', archive]);

  const place: Place = {
    claimCgroup: bed.claimCgroup,
    logs: join(bed.path, 'logs'),
    handlerOf: (driver) => (driver === 'mixed' ? 'literal' : 'systemd'),
  };
  const kept = stack.move();
  return {
    socket,
    version,
    cri,
    pod: (spec) => startPod(place, cri, spec),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Takes a containerd that runs already, has the test image and names cgroups itself. Disposing of it leaves it running. */
export async function useContainerd(socket: string): Promise<Containerd> {
  const cri = createCriDriver(socket);
  const { runtime_version } = await cri.call<{ runtime_version: string }>('Version', {});
  const place: Place = { claimCgroup: () => {}, logs: '/var/log/pods', handlerOf: () => '' };
  return {
    socket,
    version: runtime_version,
    cri,
    pod: (spec) => startPod(place, cri, spec),
    async [Symbol.asyncDispose]() {
      cri.close();
    },
  };
}

/** What is special about a containerd. */
interface Place {
  claimCgroup(path: string): void;
  readonly logs: string;
  /** The runtime handler that names cgroups so; empty for the preset one. */
  handlerOf(driver: Driver): string;
}

async function startPod<Name extends string>(place: Place, cri: CriDriver, spec: PodSpec<Name>): Promise<Pod<Name>> {
  const { name, namespace = 'default', uid = randomUUID(), qos = 'burstable', driver = 'systemd' } = spec;
  const cgroupPath = podCgroup(uid, qos, driver);
  // In `mixed` every container lies at the root, its name the notation that systemd's driver would have taken apart.
  place.claimCgroup(driver === 'mixed' ? `/${basename(cgroupPath)}:*` : cgroupPath);

  const { privileged = false, hostNetwork = false, hostPid = false } = spec;
  const security_context = {
    privileged,
    namespace_options: { network: hostNetwork ? 'NODE' : 'POD', pid: hostPid ? 'NODE' : 'CONTAINER' },
  };
  const own = {
    'io.kubernetes.pod.name': name,
    'io.kubernetes.pod.namespace': namespace,
    'io.kubernetes.pod.uid': uid,
  };
  const config = {
    metadata: { name, namespace, uid, attempt: 0 },
    hostname: hostNetwork ? '' : name, // a UTS namespace of the machine has its name
    log_directory: join(place.logs, uid),
    labels: { ...spec.labels, ...own },
    annotations: spec.annotations ?? {},
    linux: { cgroup_parent: cgroupPath, security_context },
  };
  const runtime_handler = place.handlerOf(driver);
  const { pod_sandbox_id } = await cri.call<{ pod_sandbox_id: string }>('RunPodSandbox', { config, runtime_handler });

  const addContainer = async (container: string, spec: ContainerSpec = {}): Promise<PodContainer> => {
    const { command = ['idle'], labels, annotations = {}, mounts = [], attempt = 0 } = spec;
    const { container_id } = await cri.call<{ container_id: string }>('CreateContainer', {
      pod_sandbox_id,
      sandbox_config: config,
      config: {
        metadata: { name: container, attempt },
        image: { image: IMAGE },
        command,
        mounts: mounts.map(({ containerPath, hostPath }) => ({ container_path: containerPath, host_path: hostPath })),
        labels: { ...labels, ...own, 'io.kubernetes.container.name': container },
        annotations,
        log_path: `${container}.log`,
        linux: { security_context },
      },
    });
    await cri.call('StartContainer', { container_id });
    const { pid } = await infoOf(cri, 'ContainerStatus', { container_id });
    const stop = async () => {
      await cri.call('StopContainer', { container_id });
    };
    return {
      id: container_id,
      name: container,
      pid,
      ...cgroupOf(pid),
      exec: (cmd) => execute(cri, container_id, cmd),
      stop,
      async [Symbol.asyncDispose]() {
        await stop();
        await cri.call('RemoveContainer', { container_id });
      },
    };
  };

  const containers: Record<string, PodContainer> = {};
  for (const [container, of] of Object.entries<ContainerSpec>(spec.containers)) {
    containers[container] = await addContainer(container, of);
  }
  return {
    id: pod_sandbox_id,
    name,
    namespace,
    uid,
    pid: (await infoOf(cri, 'PodSandboxStatus', { pod_sandbox_id })).pid,
    cgroupPath,
    containers: containers as Record<Name, PodContainer>,
    addContainer,
    async [Symbol.asyncDispose]() {
      await cri.call('StopPodSandbox', { pod_sandbox_id });
      await cri.call('RemovePodSandbox', { pod_sandbox_id });
    },
  };
}

/** What containerd adds to a verbose status, as JSON in a text. */
async function infoOf(cri: CriDriver, method: string, request: object): Promise<{ pid: number }> {
  const { info } = await cri.call<{ info: { info: string } }>(method, { ...request, verbose: true });
  return JSON.parse(info.info);
}

async function execute(cri: CriDriver, container_id: string, cmd: readonly string[]): Promise<string> {
  const request = { container_id, cmd, timeout: 60 };
  const { stdout, stderr, exit_code } = await cri.call<{ stdout: Buffer; stderr: Buffer; exit_code: number }>(
    'ExecSync',
    request,
  );
  if (exit_code !== 0) throw new Error(`${cmd.join(' ')} ended with ${exit_code}: ${stderr.toString()}`);
  return stdout.toString();
}

/** Writes containerd's configuration (version 2, which 1.6 to 2.x read), that of its network, and the runc that it starts. */
function configure({ path }: Bed, bridge: string): void {
  const shim = join(import.meta.dirname, 'runc-shim.ts');
  for (const naming of ['systemd', 'literal']) {
    const node = `'${process.execPath}' --disable-warning=ExperimentalWarning '${shim}' ${naming}`;
    const script = `#!/bin/sh
case " $* " in *' --bundle '* | *' --process '*) ${node} "$@" || exit ;; esac
exec runc "$@"
`;
    writeFileSync(join(path, `runc-${naming}`), script, { mode: 0o755 });
  }
  const runtime = (naming: string) => `
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.${naming}]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.${naming}.options]
        SystemdCgroup = false
        BinaryName = "${path}/runc-${naming}"`;
  writeFileSync(
    join(path, 'config.toml'),
    `version = 2
root = "${path}/root"
state = "${path}/state"
[grpc]
  address = "${path}/containerd.sock"
[ttrpc]
  address = "${path}/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "systemd"${['systemd', 'literal'].map(runtime).join('')}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${path}/cni"
`,
  );
  // No gateway and no masquerading: for them the plugin would set ip_forward and want iptables.
  const ipam = { type: 'host-local', dataDir: join(path, 'ipam'), ranges: [[{ subnet: '10.213.0.0/24' }]] };
  const plugins = [{ type: 'bridge', bridge, isGateway: false, ipMasq: false, ipam }];
  mkdirSync(join(path, 'cni'));
  writeFileSync(
    join(path, 'cni/10-bridge.conflist'),
    JSON.stringify({ cniVersion: '0.4.0', name: 'kerntap-test', plugins }),
  );
}
