// A test process that is to be killed: starts a container of each runtime and says where they are.

import { startContainerd } from '../helpers/containers/containerd.ts';
import { startDocker } from '../helpers/containers/docker.ts';
import { startRuncContainer } from '../helpers/containers/runc.ts';

const containerd = await startContainerd();
const docker = await startDocker();
const { main } = (await containerd.pod({ name: 'left', containers: { main: {} } })).containers;
const containers = [await startRuncContainer({ cgroup: `/kerntap-left/${process.pid}` }), main, await docker.run()];
const left = containers.map(({ pid, cgroupFolder }) => ({ pid, cgroupFolder }));
process.stdout.write(`${JSON.stringify(left)}\n`);
setInterval(() => {}, 60_000);
