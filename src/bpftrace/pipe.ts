import { closeSync, constants, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { KerntapError } from '../errors.ts';
import { collect } from './command.ts';

/** A pipe whose writing end goes to a child. `closeWriter` once the child has it, or the reader never ends. */
export interface Pipe {
  readonly writer: number;
  readonly reader: Socket;
  closeWriter(): void;
}

/**
 * Makes a real pipe in the folder `tmp`. What Node calls a pipe is a socket pair, which holds 170 of bpftrace's lines
 * where a pipe holds 1,900: in a flood bpftrace would wait for the reader all the time. Throws `trace.launch`.
 */
export async function makePipe(tmp: string): Promise<Pipe> {
  const path = join(tmp, 'stdout');
  const { exitCode } = await collect(['mkfifo', '-m', '600', path], { env: { PATH: '/usr/bin:/bin' } });
  if (exitCode !== 0) throw new KerntapError('trace.launch', `mkfifo could not make a pipe in ${tmp}.`);
  const end = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK); // else it waits for a writer
  const writer = openSync(path, constants.O_WRONLY);
  rmSync(path);
  return {
    writer,
    reader: new Socket({ fd: end, readable: true, writable: false }),
    closeWriter: () => closeSync(writer),
  };
}
