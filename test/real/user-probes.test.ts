import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKernel } from '../../src/bpftrace/kernel.ts';
import { silentLog } from '../../src/log.ts';
import { makeCgroups } from '../helpers/cgroups.ts';
import { canTrace, projectRoot } from '../helpers/machine.ts';
import { createTestTracer, printed, type TestTracer, temporaryFolder } from '../helpers/tracer.ts';

const never = new AbortController().signal;

interface Probed extends AsyncDisposable {
  readonly pid: number;
  /** Its program, as the host reaches it. */
  readonly file: string;
  /** Makes so many calls of each function and resolves when they are made. */
  call(count: number): Promise<void>;
}

/** A process whose root folder is an overlay of its own over the folder `lower`, in its own mount namespace. */
async function startInOverlay(lower: string): Promise<Probed> {
  const folder = temporaryFolder();
  const script = `mount -t tmpfs none "$1" && cd "$1" && mkdir up work root &&
    mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/up,workdir=$1/work" root && exec chroot root /app`;
  const args = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', folder.path, lower];
  const child = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const line = () => new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
  child.stdin.write('0\n'); // once it answers, it is what runs
  await Promise.race([line(), ended.then(() => Promise.reject(new Error('the program ended at once')))]);
  if (child.pid === undefined) throw new Error('the program could not be started');
  return {
    pid: child.pid,
    file: `/proc/${child.pid}/root/app`,
    call(count) {
      const done = line();
      child.stdin.write(`${count}\n`);
      return done;
    },
    async [Symbol.asyncDispose]() {
      child.stdin.destroy();
      child.kill('SIGKILL');
      await ended;
      folder[Symbol.dispose]();
    },
  };
}

describe.skipIf(!canTrace)('probes in the programs of a container', () => {
  let bed: TestTracer;
  const folder = temporaryFolder();
  const lower = join(folder.path, 'lower');

  beforeAll(async () => {
    mkdirSync(lower);
    const source = join(projectRoot, 'test/helpers/probed-program.c');
    execFileSync('gcc', ['-static', '-O1', '-o', join(lower, 'app'), source]);
    bed = await createTestTracer();
  });
  afterAll(async () => {
    await bed[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  /** What a program over the file of \`of\` counts by itself while \`work\` is done. */
  async function counted(text: string, of: Probed, work: () => Promise<void>, scope?: string) {
    const run = bed.run({ ...printed(text, 60_000, scope), files: [of.file] });
    await Promise.race([run.armed, run.end]);
    await work();
    run.stop('stopped');
    const { maps, diagnostics } = await run.end;
    return { rows: maps.flatMap(({ rows }) => rows), diagnostics };
  }

  test.each([
    ['a function', 'uprobe:/proc/self/fd/9:probed_one { @ = count(); }', 250],
    ['its return', 'uretprobe:/proc/self/fd/9:probed_two /retval % 3 == 0/ { @ = count(); }', 250],
    ['a wildcard', 'uprobe:/proc/self/fd/9:probed_* { @ = count(); }', 500],
    ['what the program marked', 'usdt:/proc/self/fd/9:probed:always { @ = count(); }', 250],
    ['what it does only when somebody listens', 'usdt:/proc/self/fd/9:probed:guarded { @ = count(); }', 250],
    ['all that it marked', 'usdt:/proc/self/fd/9:probed:* { @ = count(); }', 500],
  ])('%s in an overlay of its own is counted exactly [needs root and BPF]', async (_, program, calls) => {
    await using probed = await startInOverlay(lower);
    const { rows, diagnostics } = await counted(program, probed, () => probed.call(250));
    expect(diagnostics).toEqual([]);
    expect(rows).toEqual([[calls]]);
  });

  test('a file that two containers share fires for both, and the scope keeps the other one out [needs root and BPF]', async () => {
    await using probed = await startInOverlay(lower);
    await using decoy = await startInOverlay(lower);
    await using cgroups = makeCgroups(['pod/one', 'other']);
    cgroups.enter('pod/one', probed.pid);
    cgroups.enter('other', decoy.pid);
    expect(statSync(decoy.file).ino).toBe(statSync(probed.file).ino);
    const work = async () => {
      await Promise.all([probed.call(100), decoy.call(7)]);
    };
    const program = 'uprobe:/proc/self/fd/9:probed_one { @ = count(); }';
    expect((await counted(program, probed, work)).rows).toEqual([[107]]);

    const { id, level } = cgroups.group('pod');
    const group = 'curtask->cgroups->dfl_cgrp';
    const scope = `${group}->level >= ${level} && ${group}->ancestors[${level}]->kn->id == ${id}`;
    expect((await counted(program, probed, work, scope)).rows).toEqual([[100]]);
  });

  test('a program that is for its owner alone is refused with that reason [needs root and BPF]', async () => {
    const own = join(folder.path, 'own');
    mkdirSync(own);
    copyFileSync(join(lower, 'app'), join(own, 'app'));
    chmodSync(join(own, 'app'), 0o700);
    chownSync(join(own, 'app'), 1000, 1000);
    await using probed = await startInOverlay(own);
    const run = bed.run({ ...printed('uprobe:/proc/self/fd/9:probed_one { @ = count(); }'), files: [probed.file] });
    await expect(run.end).rejects.toMatchObject({ code: 'target.no_file', message: expect.stringContaining('owner') });
  });

  test('what a target offers is listed with the names that it has in there [needs root and BPF]', async () => {
    await using probed = await startInOverlay(lower);
    const kernel = createKernel({
      query: () => Promise.reject(new Error('bpftrace is not asked')),
      attach: () => Promise.reject(new Error('bpftrace is not asked')),
      version: '0.27.0',
      bundled: true,
      log: silentLog,
      targetFiles: async () => [{ path: probed.file, shown: '/app' }],
    });
    const names = async (filter: string) => {
      const { probes } = await kernel.probes(
        { filter, fields: false, limit: 20, offset: 0, target: 'shop/web-0' },
        never,
      );
      return probes.map(({ name }) => name).sort();
    };
    expect(await names('uprobe:/app:probed_*')).toEqual(['uprobe:/app:probed_one', 'uprobe:/app:probed_two']);
    expect(await names('probed')).toEqual(
      expect.arrayContaining(['uprobe:/app:probed_one', 'usdt:/app:probed:always']),
    );
    expect(await names('usdt:app')).toEqual(['usdt:/app:probed:always', 'usdt:/app:probed:guarded']);
  });
});
