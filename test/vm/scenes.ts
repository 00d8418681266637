// In the VM: pods on its containerd, which its systemd starts, or plain cgroups; kerntap's own server counts what is done
// in them. `node scenes.ts NAME` prints what it counted, for the known answers of scope.test.ts.

import { execFileSync } from 'node:child_process';
import { globSync, mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { type Containerd, useContainerd } from '../helpers/containers/containerd.ts';
import { connect, type McpClient } from '../helpers/mcp-clients.ts';
import { runIdOf } from '../helpers/server.ts';

const SOCKET = '/run/containerd/containerd.sock';

/** A run's maps by name, a map without keys as its value, and what its answer says of its scope. */
interface Counted {
  readonly state: string;
  readonly maps: Readonly<Record<string, unknown>>;
  readonly owners: readonly string[];
  readonly notes: readonly string[];
}

const KERNTAP = 'http://127.0.0.1:7070';

/** A client of the server that all scenes of a VM share; the first of them starts it. */
async function kerntap(): Promise<McpClient> {
  const lives = () => fetch(`${KERNTAP}/livez`).then(({ ok }) => ok).catch(() => false);
  if (!(await lives())) {
    const serve = ['serve', '--listen', new URL(KERNTAP).host, '--data-dir', '/var/lib/kerntap-scenes'];
    execFileSync('systemd-run', ['--unit=kerntap', 'kerntap', ...serve]);
    for (const endMs = performance.now() + 300_000; !(await lives()); await wait(500)) {
      if (performance.now() > endMs) throw new Error('the server of the scenes did not start: journalctl -u kerntap');
    }
  }
  await fetch(`${KERNTAP}/v1/facts`); // all kinds of probes are tried meanwhile
  return connect(`${KERNTAP}/mcp`);
}

const PATIENCE = { timeoutMs: 300_000 };

/** Runs a program on a target while `work` is done. */
async function count(client: McpClient, target: string, program: string, work: () => Promise<void>): Promise<Counted> {
  const request = { program, target, timeout: 600, wait: false };
  const begin = () => client.call('exec_program', request, PATIENCE);
  let begun = await begin();
  // A runtime has 6 s to answer, which can be too short here while much else begins.
  for (let tries = 0; tries < 20 && begun.text.includes('did not answer within'); tries++) begun = await begin();
  if (begun.isError) throw new Error(begun.text);
  const run_id = runIdOf(begun);
  await work();
  await client.call('manage_runs', { action: 'stop', run_id }, PATIENCE);
  const { text } = await client.call('get_result', { run_id, format: 'json' }, PATIENCE);
  return readAnswer(text);
}

interface Answer {
  readonly state: string;
  readonly sections: readonly { readonly name: string; readonly rows: readonly (readonly unknown[])[] }[];
  readonly scope?: { readonly rules: readonly { readonly owner: string }[]; readonly notes: readonly string[] };
}

function readAnswer(text: string): Counted {
  const { state, sections, scope } = JSON.parse(text) as Answer;
  const maps = sections.map(({ name, rows }) => [
    name,
    rows.length === 1 && rows[0]?.length === 1 ? rows[0][0] : rows,
  ]);
  return {
    state,
    maps: Object.fromEntries(maps),
    owners: [...new Set(scope?.rules.map(({ owner }) => owner))],
    notes: scope?.notes ?? [],
  };
}

/** Takes the containerd of the VM; pods without `hostNetwork` are on a bridge. */
async function startPods(): Promise<Containerd> {
  const cni = '/etc/cni/net.d';
  mkdirSync(cni, { recursive: true });
  const ipam = { type: 'host-local', ranges: [[{ subnet: '10.213.0.0/24' }]] };
  const plugins = [{ type: 'bridge', bridge: 'pods', isGateway: false, ipMasq: false, ipam }];
  writeFileSync(`${cni}/10-bridge.conflist`, JSON.stringify({ cniVersion: '0.4.0', name: 'pods', plugins }));
  execFileSync('systemctl', ['start', 'containerd']);
  const [image = ''] = globSync('/opt/kerntap/.cache/containers/image-*/image.tar');
  execFileSync('ctr', ['--namespace', 'k8s.io', 'images', 'import', image]);
  return useContainerd(SOCKET);
}

/** The one that is called getppid, whatever the symbol of it that can be named. */
function getppid(): string {
  const listed = execFileSync('bpftrace', ['-l', 'kprobe:*_sys_getppid'], { encoding: 'utf8' }).split('\n');
  return listed[0]?.split(':').at(-1) ?? '';
}

// ------------------------------------------------------------------------------------------------------------- scenes

/** 1750 calls in a pod, the last of them in a container that starts meanwhile, and 999 in its neighbour. */
async function calls(kinds: string): Promise<Counted & { list: string; version: string }> {
  await using containerd = await startPods();
  await using pod = await containerd.pod({ name: 'web-0', namespace: 'shop', containers: { main: {}, side: {} } });
  await using other = await containerd.pod({ name: 'web-1', namespace: 'shop', containers: { main: {} } });
  await using client = await kerntap();
  const name = getppid();
  const points: Record<string, string> = {
    tracepoint: 'tracepoint:syscalls:sys_enter_getppid',
    rawtracepoint: 'rawtracepoint:sys_enter',
    kprobe: `kprobe:${name}`,
    kretprobe: `kretprobe:${name}`,
    fentry: `fentry:${name}`,
    fexit: `fexit:${name}`,
  };
  const program = kinds.split(',').map((kind) => {
    const its = kind === 'rawtracepoint' ? ' && (arg1 == 110)' : '';
    return `${points[kind]} /(comm == "calls")${its}/ { @${kind} = count(); }`;
  });
  const counted = await count(client, 'shop/web-0', program.join('\n'), async () => {
    await pod.containers.main.exec(['calls', '1000']);
    await other.containers.main.exec(['calls', '999']);
    await pod.containers.side.exec(['calls', '500']);
    await using late = await pod.addContainer('late');
    await late.exec(['calls', '250']);
  });
  const { text } = await client.call('list_targets', { query: 'web' }, PATIENCE);
  return { ...counted, list: text, version: containerd.version };
}

const scenes: Readonly<Record<string, (...args: string[]) => Promise<unknown>>> = { calls };

const [name = '', ...args] = process.argv.slice(2);
const scene = scenes[name];
if (scene === undefined) throw new Error(`no scene is called ${name}`);
console.log(JSON.stringify(await scene(...args)));
