import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type KernelName, kernels } from '../helpers/vm/disks.ts';
import { startVm, type Vm } from '../helpers/vm/vm.ts';

const LIMIT_MS = 600_000;

/** A VM for all tests of a block, in which `scene` plays one of scenes.ts and resolves with what it counted. */
function sharedVm(options: { readonly kernel?: KernelName; readonly cmdline?: string }) {
  let vm: Vm | undefined;
  beforeAll(async () => {
    vm = await startVm(options);
  }, LIMIT_MS);
  afterAll(() => vm?.[Symbol.asyncDispose]());
  const run = async (command: string) => (await vm?.run(command, LIMIT_MS)) ?? '';
  return { run, scene: async (name: string) => JSON.parse(await run(`node test/vm/scenes.ts ${name}`)) };
}

describe.each(kernels())('kernel %s', (kernel) => {
  const { scene } = sharedVm({ kernel });

  test('counts 1750 of 1750 of a containerd pod and none of its neighbour, by every kind of probe', async () => {
    const kinds = ['tracepoint', 'rawtracepoint', 'kprobe', 'kretprobe', 'fentry', 'fexit'];
    const counted = await scene(`calls ${kinds}`);
    expect(counted).toMatchObject({
      maps: Object.fromEntries(kinds.map((kind) => [`@${kind}`, 1750])),
      rules: ["T task's cgroup"],
      notes: ['container late was started during the trace: included'],
      version: expect.stringMatching(/^2\.1/),
    });
    expect(counted.targets).toMatch(/ shop\/web-0 +pod +(?=.*main)(?=.*side)(?=.*late)/);
  });

  test('counts a pod by its sockets and its packets in kprobes that have them', async () => {
    expect(await scene('network')).toMatchObject({
      maps: { '@connects': 20, '@connected': 20, '@pings': 20 },
      // Before 5.15 a socket does not tell its cgroup.
      rules: [kernel === '5.10' ? "S socket's netns" : "S socket's cgroup", "P packet's netns"],
    });
  });

  test('counts 40 of 40 writes of a throttled pod, most of which kernel threads issue', async () => {
    const { maps, rules } = await scene('writes');
    expect(maps).toMatchObject({ '@issued': 40, '@raw_issued': 40, '@completed': 40, '@raw_completed': 40 });
    expect(maps['@by_kernel_threads']).toBeGreaterThan(0);
    expect(rules).toEqual(["B request's cgroup"]);
  });

  test('walks over the tasks of a pod only', async () => {
    expect(await scene('iterators')).toMatchObject({ maps: { '@tasks': [['idle', 3]] }, rules: ["I task's cgroup"] });
  });

  test("counts a service of systemd's, by kerntap's own command", async () => {
    const { maps, targets } = await scene('units');
    expect(maps).toEqual({ '@tracepoint': 300, '@kprobe': 300 });
    expect(targets).toMatch(/ systemd:payload\.service +systemd\b/);
  });
});

describe('a node with cgroup v1 alone', () => {
  const { scene } = sharedVm({ kernel: '6.1', cmdline: 'v1_memory=yes' });

  test('counts 583 of 583 by the hierarchy of the memory controller', async () => {
    expect(await scene('v1')).toMatchObject({
      maps: { '@tracepoint': 583, '@kprobe': 583 },
      rules: ["T task's cgroup"],
    });
  });
});

describe('a kernel that was locked down by its command line', () => {
  const { run } = sharedVm({ cmdline: 'lockdown=confidentiality' });
  const why = 'This kernel is locked down (lockdown=confidentiality)';
  const remedy = /boot with lockdown=integrity/i;

  test('is said by check, with the remedy', async () => {
    expect(await run('cat /sys/kernel/security/lockdown')).toContain('[confidentiality]');
    const said = await run('kerntap check; [ $? = 78 ]');
    expect(said).toContain(why);
    expect(said).toMatch(remedy);
    expect(said).toMatch(/This machine cannot trace yet\.$/m);
  });

  test('is said by run, also where securityfs is not mounted', async () => {
    const program = `kerntap run -t 1 -e 'tracepoint:syscalls:sys_enter_getppid { @ = count(); }' 2>&1`;
    const said = await run(`${program}; [ $? = 78 ]`);
    expect(said).toContain(why);
    expect(said).toMatch(remedy);
    expect(await run(`umount /sys/kernel/security; ${program}; [ $? = 1 ]`)).toMatch(remedy);
  });
});
