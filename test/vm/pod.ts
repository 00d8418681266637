// In the VM: a pod on the containerd of its Debian, with systemd's own cgroup driver; prints where its container lies.

import { execFileSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { useContainerd } from '../helpers/containers/containerd.ts';

const [image = ''] = globSync('/opt/kerntap/.cache/containers/image-*/image.tar');
execFileSync('ctr', ['--namespace', 'k8s.io', 'images', 'import', image]);
await using containerd = await useContainerd('/run/containerd/containerd.sock');
await using pod = await containerd.pod({ name: 'web-0', hostNetwork: true, containers: { main: {} } });
const { main } = pod.containers;
await main.exec(['calls', '1']);
console.log(
  JSON.stringify({ version: containerd.version, pod: pod.cgroupPath, container: main.cgroupPath, id: main.id }),
);
