// In the VM: pods on its containerd, units of its systemd and cgroups, and kerntap's own server, which counts what is done
// in them. `node scenes.ts NAME` prints what it counted; scope.test.ts has the known answers.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdirSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import { type Containerd, useContainerd } from '../helpers/containers/containerd.ts';

const KERNTAP = 'http://127.0.0.1:7070';
const LIMIT_MS = 300_000;

// ------------------------------------------------------------------------------------------------------------- kerntap

/** A run as /v1 tells it. */
interface Run {
  readonly run_id: string;
  readonly state: string;
  readonly timing: { readonly armed?: string };
  readonly sections: readonly { readonly name: string; readonly rows: readonly (readonly unknown[])[] }[];
  readonly account: {
    readonly coverage?: {
      readonly rules: readonly { readonly point: string; readonly class: string; readonly owner: string }[];
      readonly notes: readonly string[];
    };
  };
}

/** A run's maps by name, one without keys as its value; its rules as `CLASS OWNER`, each once; what its answer notes. */
interface Counted {
  readonly maps: Readonly<Record<string, unknown>>;
  readonly rules: readonly string[];
  readonly notes: readonly string[];
}

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (const endMs = performance.now() + LIMIT_MS; ; await wait(500)) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > endMs) throw new Error(`never happened: ${what}`);
  }
}

/** Asks the server that all scenes of a VM share; the first of them starts it. */
async function ask<T>(path: string, body?: object): Promise<T> {
  const options = body && { method: 'POST', headers: { 'content-type': 'application/json' } };
  const answer = await fetch(`${KERNTAP}${path}`, { ...options, ...(body && { body: JSON.stringify(body) }) });
  if (!answer.ok) throw new Error(await answer.text());
  return (await answer.json()) as T;
}

async function startServer(under: readonly string[] = []): Promise<void> {
  const lives = () =>
    fetch(`${KERNTAP}/livez`).then(
      ({ ok }) => ok || undefined,
      () => undefined,
    );
  if (await lives()) return;
  const serve = ['serve', '--listen', new URL(KERNTAP).host, '--data-dir', '/var/lib/kerntap-scenes'];
  execFileSync('systemd-run', ['--unit=kerntap', ...under, 'kerntap', ...serve]);
  await until('the server listens: journalctl -u kerntap', lives);
  await ask('/v1/facts'); // all kinds of probes are tried meanwhile
}

/** Runs a program on a target while `work` is done. */
async function count(target: string, program: string, work: () => Promise<void>): Promise<Counted> {
  await startServer();
  // A runtime has 6 s to answer, which can be too short here.
  const begin = () =>
    ask<Run>('/v1/runs', { program, target, timeout: 600, wait: 0 }).catch((error: Error): undefined => {
      if (!error.message.includes('did not answer within')) throw error;
    });
  const { run_id: id } = await until('the runtime answers', begin);
  await until('the probes are attached', async () => {
    const { state, timing } = await ask<Run>(`/v1/runs/${id}`);
    if (state !== 'running') throw new Error(`the run has ended: ${await run(id)}`);
    return timing.armed;
  });
  await work();
  await ask(`/v1/runs/${id}/stop`, {});
  return readRun(await run(id));
}

const run = async (id: string): Promise<string> => JSON.stringify(await ask<Run>(`/v1/runs/${id}?limit=1000`));

function readRun(json: string): Counted {
  const { sections, account } = JSON.parse(json) as Run;
  const maps = sections.map(({ name, rows }) => [name, rows.length === 1 && rows[0]?.length === 1 ? rows[0][0] : rows]);
  const { rules = [], notes = [] } = account.coverage ?? {};
  return {
    maps: Object.fromEntries(maps),
    rules: [...new Set(rules.map((rule) => `${rule.class} ${rule.owner}`))],
    notes,
  };
}

// ---------------------------------------------------------------------------------------------------------------- pods

/** Takes the containerd of the VM. */
async function startPods(): Promise<Containerd> {
  const cni = '/etc/cni/net.d';
  mkdirSync(cni, { recursive: true });
  const ipam = { type: 'host-local', ranges: [[{ subnet: '10.213.0.0/24' }]] };
  const plugins = [{ type: 'bridge', bridge: 'pods', isGateway: false, ipMasq: false, ipam }];
  writeFileSync(`${cni}/10-bridge.conflist`, JSON.stringify({ cniVersion: '0.4.0', name: 'pods', plugins }));
  execFileSync('systemctl', ['start', 'containerd']);
  const [image = ''] = globSync('/opt/kerntap/.cache/containers/image-*/image.tar');
  execFileSync('ctr', ['--namespace', 'k8s.io', 'images', 'import', image]);
  return useContainerd('/run/containerd/containerd.sock');
}

const repeat = (times: number, command: string) => ['sh', '-ec', `for i in $(seq ${times}); do ${command}; done`];

/** Which of the symbols of getppid can be named differs from kernel to kernel. */
function getppid(): string {
  const listed = execFileSync('bpftrace', ['-l', 'kprobe:*_sys_getppid'], { encoding: 'utf8' }).split('\n');
  return listed[0]?.split(':').at(-1) ?? '';
}

/** A probe of each kind that fires once for each call of `calls`. */
const callProbes = (kinds: string): string => {
  const points: Readonly<Record<string, string>> = {
    tracepoint: 'tracepoint:syscalls:sys_enter_getppid',
    rawtracepoint: 'rawtracepoint:sys_enter',
  };
  const only = (kind: string) => `(comm == "calls")${kind === 'rawtracepoint' ? ' && (arg1 == 110)' : ''}`;
  const point = (kind: string) => points[kind] ?? `${kind}:${getppid()}`;
  return kinds
    .split(',')
    .map((kind) => `${point(kind)} /${only(kind)}/ { @${kind} = count(); }`)
    .join('\n');
};

/** 1750 calls in a pod, the last of them in a container that starts meanwhile, and 999 in its neighbour. */
async function calls(kinds: string): Promise<Counted & { targets: string; version: string }> {
  await using containerd = await startPods();
  await using pod = await containerd.pod({ name: 'web-0', namespace: 'shop', containers: { main: {}, side: {} } });
  await using other = await containerd.pod({ name: 'web-1', namespace: 'shop', containers: { main: {} } });
  const counted = await count('shop/web-0', callProbes(kinds), async () => {
    await pod.containers.main.exec(['calls', '1000']);
    await other.containers.main.exec(['calls', '999']);
    await pod.containers.side.exec(['calls', '500']);
    const late = await pod.addContainer('late');
    await late.exec(['calls', '250']);
  });
  const targets = execFileSync('kerntap', ['targets', '--server', KERNTAP, 'web'], { encoding: 'utf8' });
  return { ...counted, targets, version: containerd.version };
}

/** 20 connections of a pod to its neighbour, which has 7 with itself; 10 pings of the pod to itself, 7 of its neighbour. */
async function network(): Promise<Counted> {
  await using containerd = await startPods();
  await using pod = await containerd.pod({ name: 'web-0', containers: { main: {} } });
  const command = ['httpd', '-f', '-p', '9090', '-h', '/etc'];
  await using other = await containerd.pod({ name: 'web-1', containers: { main: { command } } });
  const [ip = ''] = /10\.213\.0\.\d+/.exec(await other.containers.main.exec(['ip', 'addr'])) ?? [];
  const get = (times: number) => repeat(times, `wget -q -O /dev/null http://${ip}:9090/passwd`);
  const program = `
kprobe:tcp_connect { @connects = count(); }
kprobe:tcp_finish_connect { @connected = count(); }
kprobe:ip_rcv { @received = count(); }
kprobe:icmp_rcv { @pings = count(); }`;
  return await count('default/web-0', program, async () => {
    await pod.containers.main.exec(get(20));
    await other.containers.main.exec(get(7));
    await pod.containers.main.exec(['ping', '-c', '10', '-i', '0.2', '127.0.0.1']);
    await other.containers.main.exec(['ping', '-c', '7', '-i', '0.2', '127.0.0.1']);
  });
}

/** 40 direct writes of a pod whose cgroup is limited to 16 of them a second, and 25 of its neighbour, which is not. */
async function writes(): Promise<Counted> {
  await using containerd = await startPods();
  const folder = '/var/lib/writes';
  mkdirSync(folder, { recursive: true });
  for (const name of ['web-0', 'web-1'])
    execFileSync('dd', ['if=/dev/zero', `of=${folder}/${name}`, 'bs=4096', 'count=40', 'conv=fsync']);
  const mounts = [{ containerPath: '/data', hostPath: folder }];
  await using pod = await containerd.pod({ name: 'web-0', containers: { main: { mounts } } });
  await using other = await containerd.pod({ name: 'web-1', containers: { main: { mounts } } });
  const slice = pod.cgroupPath.split('/').at(-1) ?? '';
  execFileSync('systemctl', ['set-property', '--runtime', slice, 'IOWriteBandwidthMax=/dev/vda 65536']);
  const program = `
tracepoint:block:block_rq_issue { @issued = count(); @by_kernel_threads = sum((curtask->flags & 0x200000) >> 21); }
rawtracepoint:block_rq_issue { @raw_issued = count(); }
tracepoint:block:block_rq_complete { @completed = count(); }
rawtracepoint:block_rq_complete { @raw_completed = count(); }`;
  const write = (name: string, times: number) => [
    'dd',
    'if=/dev/zero',
    `of=/data/${name}`,
    'bs=4096',
    `count=${times}`,
    'oflag=direct',
    'conv=notrunc',
  ];
  return await count('default/web-0', program, async () => {
    await Promise.all([pod.containers.main.exec(write('web-0', 40)), other.containers.main.exec(write('web-1', 25))]);
  });
}

/** A pod of three processes, its pause among them. */
async function iterators(): Promise<Counted> {
  await using containerd = await startPods();
  await using _pod = await containerd.pod({ name: 'web-0', containers: { main: {}, side: {} } });
  await using _other = await containerd.pod({ name: 'web-1', containers: { main: {} } });
  return await count('default/web-0', 'iter:task { @tasks[ctx->task->comm] = count(); }', async () => {});
}

/** 300 calls of a service of systemd's and 77 of another, by kerntap's own command. */
async function units(): Promise<Counted & { targets: string }> {
  await startServer();
  const service = (name: string, times: number) => {
    const script = `until [ -e /run/go ]; do sleep 0.2; done; calls ${times}; touch /run/${name}.done; exec sleep infinity`;
    execFileSync('systemd-run', [`--unit=${name}`, 'sh', '-c', script]);
  };
  execFileSync('rm', ['-f', '/run/go', '/run/payload.done', '/run/decoy.done']);
  service('payload', 300);
  service('decoy', 77);
  const given = ['run', '--server', KERNTAP, '-t', '600', '-f', 'json', '--target', 'systemd:payload.service'];
  const child = spawn('kerntap', [...given, '-e', callProbes('tracepoint,kprobe')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = text(child.stdout);
  const { run_id } = await until('the probes are attached', async () => {
    const { runs } = await ask<{ runs: readonly Run[] }>('/v1/runs?state=running');
    return runs.find(({ timing }) => timing.armed);
  });
  execFileSync('touch', ['/run/go']);
  await until('both have called', async () => globSync('/run/{payload,decoy}.done').length === 2 || undefined);
  await ask(`/v1/runs/${run_id}/stop`, {});
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`kerntap run ended with ${status}: ${await output}`);
  const targets = execFileSync('kerntap', ['targets', '--server', KERNTAP, 'payload'], { encoding: 'utf8' });
  execFileSync('systemctl', ['stop', 'payload', 'decoy']);
  const { sections, scope } = JSON.parse(await output);
  return { ...readRun(JSON.stringify({ sections, account: { coverage: scope } })), targets };
}

/** 333 and 250 calls in a cgroup of v1's memory controller, the latter in one that is made meanwhile, and 50 beside it. */
async function v1(): Promise<Counted> {
  for (const name of ['pod/first', 'other']) mkdirSync(`/v1/${name}`, { recursive: true });
  // What a node with v1 alone shows.
  const view =
    'umount -l /sys/fs/cgroup; mount -t tmpfs none /sys/fs/cgroup; mkdir /sys/fs/cgroup/memory; mount --move /v1 /sys/fs/cgroup/memory; exec "$@"';
  await startServer(['unshare', '-m', 'sh', '-ec', view, 'sh']);
  const callIn = (cgroup: string, times: number) => {
    execFileSync('sh', ['-c', `echo $$ >/v1/${cgroup}/cgroup.procs; exec calls ${times}`]);
  };
  return await count('cgroup:/pod', callProbes('tracepoint,kprobe'), async () => {
    callIn('pod/first', 333);
    callIn('other', 50);
    mkdirSync('/v1/pod/second');
    callIn('pod/second', 250);
  });
}

const scenes: Readonly<Record<string, (...args: string[]) => Promise<unknown>>> = {
  calls,
  network,
  writes,
  iterators,
  units,
  v1,
};

const [name = '', ...args] = process.argv.slice(2);
const scene = scenes[name];
if (scene === undefined) throw new Error(`no scene is called ${name}`);
console.log(JSON.stringify(await scene(...args)));
