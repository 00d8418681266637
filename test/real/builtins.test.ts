import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { parseBtf } from '../../src/bpftrace/btf.ts';
import { featuresOf } from '../../src/bpftrace/facts.ts';
import { createFunctionNames } from '../../src/bpftrace/functions.ts';
import { BUILTINS } from '../../src/program/builtins.ts';
import { parseProgram } from '../../src/program/program.ts';
import { bpftraceCommand, canTrace } from '../helpers/machine.ts';

const folder = mkdtempSync(join(tmpdir(), 'kerntap-builtins-'));
afterAll(() => rmSync(folder, { recursive: true }));

// Functions of the kernel are looked up in this list, so that examples compile also where they cannot be attached.
const functions = join(folder, 'functions');
createFunctionNames(functions).refresh();
const libc = /(\/\S*\/(?:libc[.-]|ld-musl-)\S*)$/m.exec(readFileSync('/proc/self/maps', 'utf8'))?.[1] ?? '';

/** What bpftrace says of a program that it may only compile; empty when it accepts it. */
function compile(program: string): Promise<string> {
  const [file = 'bpftrace', ...first] = bpftraceCommand;
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...first, '--traceable-functions', functions, '--mode', 'codegen', '-'], {
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (part: Buffer) => (said += part.toString('latin1')));
    child.on('error', reject);
    child.on('close', (code) => resolve(code === 0 ? '' : (/^.*ERROR.*$/m.exec(said)?.[0] ?? `exit code ${code}`)));
    child.stdin.end(program.replaceAll('LIBC', libc));
  });
}

const isTaken = (program: string) => {
  try {
    return parseProgram(program).attachPoints.length > 0;
  } catch {
    return false;
  }
};

const kernelHelpers = (): readonly string[] => {
  const btf = parseBtf(readFileSync('/sys/kernel/btf/vmlinux'));
  return featuresOf(new Map(), btf).helpers;
};

const usable = BUILTINS.filter((builtin) => builtin.refused === undefined);

test.skipIf(!canTrace)(
  'bpftrace compiles the example of all that the catalogue offers [needs root and BPF]',
  async () => {
    const refused: string[] = [];
    const queue = usable.values();
    const work = async () => {
      for (const { name, example } of queue) {
        const said = await compile(example);
        // bpftrace itself asks this kernel whether it has the helper for paths.
        if (said !== '' && !said.includes('not available for your kernel version')) refused.push(`${name}: ${said}`);
      }
    };
    await Promise.all([work(), work()]);
    expect(refused).toEqual([]);
  },
  300_000,
);

test.skipIf(!canTrace)(
  'what the catalogue refuses is refused by kerntap or by bpftrace [needs root and BPF]',
  async () => {
    const accepted: string[] = [];
    for (const { name, refused, example } of BUILTINS) {
      // Whether bpftrace 0.27.0 compiles strncmp depends on what is left in its memory. Of preprocessor lines kerntap
      // understands a few itself, and bpftrace never sees one.
      if (refused === undefined || name === 'strncmp' || name.startsWith('#') || !isTaken(example)) continue;
      if ((await compile(example)) === '') accepted.push(name);
    }
    expect(accepted).toEqual([]);
  },
);

test.skipIf(!canTrace)(
  'a probe kind that is not named for a restricted builtin does not compile [needs root and BPF]',
  async () => {
    for (const [name, program] of [
      ['retval', 'begin { print(retval); }'],
      ['args', 'begin { print(args.x); }'],
      ['func', 'begin { print(func); }'],
      ['reg', 'begin { print(reg("ip")); }'],
      ['uaddr', 'begin { print(uaddr("environ")); }'],
      ['socket_cookie', 'begin { print(socket_cookie((struct sock *)0)); }'],
    ] as const) {
      expect(BUILTINS.find((builtin) => builtin.name === name)?.probes).toBeDefined();
      expect(await compile(program), name).not.toBe('');
    }
  },
);

test.skipIf(!canTrace)(
  'the kernel helpers on which builtins depend are named as the kernel names them [needs root and BPF]',
  () => {
    const known = kernelHelpers();
    for (const { name, needs } of BUILTINS) if (needs !== undefined) expect(known, name).toContain(needs);
  },
);
