import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeCgroups } from '../helpers/cgroups.ts';
import { canTrace, projectRoot } from '../helpers/machine.ts';
import { startScript, traceScoped } from '../helpers/scoped-trace.ts';
import { temporaryFolder } from '../helpers/tracer.ts';

const blkio = '/sys/fs/cgroup/blkio';
const disk = '/sys/block/vda';

/** Writes a block so many times past the page cache to a file that has it already. */
const writes = (file: string, count: number) => `
  use Fcntl; sysopen(my $f, '${file}', O_RDWR | O_CREAT) or die $!; syswrite($f, 'x' x 4096); $f->IO::Handle::sync; close $f; pause;
  sysopen($f, '${file}', O_RDWR | 0x4000) or die $!; my $page = "\\0" x 8192;
  my $at = (4096 - unpack('J', pack('p', $page)) % 4096) % 4096;
  for (1..${count}) { sysseek($f, 0, 0); syswrite($f, $page, 4096, $at) == 4096 or die $! }`;
