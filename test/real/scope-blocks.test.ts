import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeCgroups } from '../helpers/cgroups.ts';
import { canTrace, projectRoot } from '../helpers/machine.ts';
import { startScript, traceScoped } from '../helpers/scoped-trace.ts';

const blkio = '/sys/fs/cgroup/blkio';
const folder = join(projectRoot, '.cache');

/** The disk of the checkout as `254:0`; undefined where it is none, or a partition of one. */
const disk = diskOf(folder);

function diskOf(path: string): string | undefined {
  const { dev } = statSync(path);
  const name = `${(dev >> 8) & 0xfff}:${dev & 0xff}`;
  return existsSync(`/sys/dev/block/${name}/queue`) ? name : undefined;
}

/** Writes a block so many times past the page cache to a file that has it already; the file is removed at the end. */
const writes = (file: string, count: number) => `
  use Fcntl; use IO::Handle; sysopen(my $f, '${file}', O_RDWR | O_CREAT) or die $!;
  syswrite($f, 'x' x 4096); $f->sync;
  sysopen(my $d, '${file}', O_RDWR | Fcntl::O_DIRECT()) or die $!; unlink '${file}';
  my $page = "\\0" x 8192; my $at = (4096 - unpack('J', pack('p', $page)) % 4096) % 4096;
  syswrite($d, $page, 4096, $at) or die $!; pause;
  for (1..${count}) { sysseek($d, 0, 0); syswrite($d, $page, 4096, $at) == 4096 or die $! }`;

const canThrottle = existsSync(join(blkio, 'blkio.throttle.write_iops_device')) && disk !== undefined;

test.skipIf(!canTrace || !canThrottle)(
  '40 throttled writes count by the cgroup of the request, which a kernel thread issues and an interrupt completes [needs root and BPF]',
  async () => {
    await using cgroups = makeCgroups(['pod', 'other'], { mount: blkio });
    await using tasks = makeCgroups(['pod']);
    await using own = await startScript(writes(join(folder, 'scope-blocks-own'), 40));
    await using foreign = await startScript(writes(join(folder, 'scope-blocks-foreign'), 25));
    await Promise.all([own.next(), foreign.next()]);
    cgroups.enter('pod', own.pid);
    tasks.enter('pod', own.pid);
    cgroups.enter('other', foreign.pid);
    for (const name of ['pod', 'other']) {
      writeFileSync(join(cgroups.folder(name), 'blkio.throttle.write_iops_device'), `${disk} 100`);
    }
    const program = `
      tracepoint:block:block_rq_issue /args.nr_sector == 8/ { @issued = count(); @start[args.dev, args.sector] = nsecs; }
      tracepoint:block:block_rq_complete /@start[args.dev, args.sector]/ {
        @completed = count();
        delete(@start, (args.dev, args.sector));
      }
      rawtracepoint:block_io_start /args.rq->__data_len == 4096/ { @mine[arg0] = nsecs; }
      rawtracepoint:block_io_done { if (@mine[arg0]) { @done = count(); } delete(@mine, arg0); }`;
    const target = { groups: [tasks.group('pod')], ioGroups: [cgroups.group('pod')] };
    await using trace = await traceScoped(program, target);
    await Promise.all([own.next(), foreign.next()]);
    expect(await trace.maps()).toMatchObject({ '@issued': 40, '@completed': 40, '@done': 40 });
    expect(trace.rules.map((rule) => rule.class)).toEqual(['B', 'B', 'B', 'M']);
  },
);

test.skipIf(!canTrace || disk === undefined)(
  'without the io controller 40 writes count by the task that issues them and by the key at their completion [needs root and BPF]',
  async () => {
    await using cgroups = makeCgroups(['pod', 'other']);
    await using own = await startScript(writes(join(folder, 'scope-blocks-own'), 40));
    await using foreign = await startScript(writes(join(folder, 'scope-blocks-foreign'), 25));
    await Promise.all([own.next(), foreign.next()]);
    cgroups.enter('pod', own.pid);
    cgroups.enter('other', foreign.pid);
    const program = `
      tracepoint:block:block_io_start /args.nr_sector == 8/ { @started = count(); @start[args.dev, args.sector] = nsecs; }
      tracepoint:block:block_io_done {
        if (@start[args.dev, args.sector]) { @done[args.rwbs != ""] = count(); delete(@start, (args.dev, args.sector)); }
        @completed = count();
      }`;
    await using trace = await traceScoped(program, { groups: [cgroups.group('pod')] });
    await Promise.all([own.next(), foreign.next()]);
    expect(await trace.maps()).toMatchObject({ '@started': 40, '@done': { true: 40 }, '@completed': 40 });
    expect(trace.rules.map((rule) => rule.class)).toEqual(['T', 'M']);
  },
);
