import { closeSync, openSync, readSync, realpathSync } from 'node:fs';

const IN_FILE = /(?:^|,)\s*(?:uprobe|uretprobe|usdt|u|ur|U):"?(\/[^:"*]+)/g;
const ELF = Buffer.from('\x7fELF', 'latin1');

/** Programs and libraries that `probes` (attach points, or patterns of a listing) name: what the sandbox must let bpftrace read. */
export function targetFilesOf(probes: readonly string[]): readonly string[] {
  const paths = probes.flatMap((probe) => [...probe.matchAll(IN_FILE)].map(([, path = '']) => path));
  return [...new Set(paths.flatMap((path) => elfBehind(path) ?? []))];
}

/** The real path of an ELF file; undefined for everything else, so that naming a file opens no other kind of it. */
function elfBehind(path: string): string | undefined {
  try {
    const real = realpathSync(path);
    const fd = openSync(real, 'r');
    try {
      const magic = Buffer.alloc(ELF.length);
      return readSync(fd, magic) === ELF.length && magic.equals(ELF) ? real : undefined;
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined; // bpftrace says what is wrong with it
  }
}
