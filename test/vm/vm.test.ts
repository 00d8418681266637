import { join } from 'node:path';
import { expect, test } from 'vitest';
import { kernels } from '../helpers/vm/disks.ts';
import { startVm } from '../helpers/vm/vm.ts';

test('the older kernels of Debian are there', () => {
  expect(kernels()).toEqual(['default', '6.1', '5.10']);
});

test.each(kernels())('kernel %s: a kprobe counts call by call, and there are cgroup controllers', async (kernel) => {
  await using vm = await startVm({ kernel });
  if (kernel !== 'default') expect(await vm.run('uname -r')).toContain(`${kernel}.0-`);
  // Which of the symbols of one function can be named differs from kernel to kernel.
  const probe = (await vm.run("bpftrace -l 'kprobe:*_sys_getppid'")).split('\n')[0];
  const counted = await vm.run(`bpftrace -c '/usr/local/bin/calls 1000' -e '${probe} { @[comm] = count(); }'`);
  expect(counted).toContain('@[calls]: 1000');
  expect(await vm.run(`bpftrace -e 'BEGIN { printf("begun"); exit(); }'`)).toContain('begun');
  expect(await vm.run('cat /sys/fs/cgroup/cgroup.controllers')).toMatch(/\bio memory\b/);
});

test("kerntap's own command runs a program", async () => {
  await using vm = await startVm();
  const program = 'kprobe:vfs_write /comm == "dd"/ { printf("seen\\n"); exit(); }';
  const traced = vm.run(`kerntap run -t 60 -f raw -e '${program}'`);
  const working = vm.run('until [ -e /tmp/over ]; do dd if=/dev/zero of=/dev/null count=1; sleep 0.2; done');
  expect(await traced).toContain('seen');
  await vm.run('touch /tmp/over');
  await working;
});

test("containerd 2.1 with systemd's cgroup driver makes the paths that the tests elsewhere take for systemd's", async () => {
  await using vm = await startVm();
  const { version, pod, container, id } = JSON.parse(await vm.run('systemctl start containerd && node test/vm/pod.ts'));
  expect(version).toMatch(/^2\.1/);
  expect(container).toBe(`${pod}/cri-containerd-${id}.scope`);
});

test('files come in, commands run side by side, and one that fails says why', async () => {
  await using vm = await startVm();
  await vm.put(join(import.meta.dirname, 'pod.ts'), '/root/a folder/pod.ts');
  expect(await vm.run("head -c 11 '/root/a folder/pod.ts'")).toBe('// In the V');
  const waits = vm.run('until [ -e /root/go ]; do sleep 0.1; done; echo went');
  await vm.run('touch /root/go');
  expect(await waits).toBe('went\n');
  await expect(vm.run('ls /absent')).rejects.toThrow("cannot access '/absent'");
});
