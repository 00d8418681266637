// Writes seccomp/deny-ARCH.bpf, the system calls that bpftrace never gets: `node scripts/seccomp.mjs [FOLDER]`.
// The files are bare `struct sock_filter[]` (8 bytes each, no header), as `setpriv --seccomp-filter` reads them.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** name: [x86_64, aarch64]; null where the architecture has no such call. */
export const DENIED = {
  // other mounts and namespaces
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  move_mount: [429, 429],
  open_tree: [428, 428],
  open_tree_attr: [467, 467],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  setns: [308, 268],
  unshare: [272, 97],
  // other processes
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  process_madvise: [440, 440],
  pidfd_getfd: [438, 438],
  pidfd_send_signal: [424, 424],
  kcmp: [312, 272],
  kill: [62, 129],
  tkill: [200, 130],
  // the network
  socket: [41, 198],
  socketpair: [53, 199],
  bind: [49, 200],
  listen: [50, 201],
  connect: [42, 203],
  accept: [43, 202],
  accept4: [288, 242],
  sendto: [44, 206],
  sendmsg: [46, 211],
  sendmmsg: [307, 269],
  // the whole machine
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  reboot: [169, 142],
  swapon: [167, 224],
  swapoff: [168, 225],
  acct: [163, 89],
  syslog: [103, 116],
  clock_settime: [227, 112],
  settimeofday: [164, 170],
  adjtimex: [159, 171],
  clock_adjtime: [305, 266],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  vhangup: [153, 58],
  iopl: [172, null],
  ioperm: [173, null],
  // what Landlock does not cover: files by handle, owners, modes and attributes
  open_by_handle_at: [304, 265],
  name_to_handle_at: [303, 264],
  chmod: [90, null],
  fchmod: [91, 52],
  fchmodat: [268, 53],
  fchmodat2: [452, 452],
  chown: [92, null],
  lchown: [94, null],
  fchown: [93, 55],
  fchownat: [260, 54],
  setxattr: [188, 5],
  lsetxattr: [189, 6],
  fsetxattr: [190, 7],
  setxattrat: [463, 463],
  removexattr: [197, 14],
  lremovexattr: [198, 15],
  fremovexattr: [199, 16],
  removexattrat: [466, 466],
  // parts of the kernel with many past bugs that bpftrace has no use for
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  userfaultfd: [323, 282],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  modify_ldt: [154, null],
  personality: [135, 92],
};

/** AUDIT_ARCH_* of linux/audit.h, and the numbers above which another ABI of the same architecture begins (x32). */
export const ARCHITECTURES = {
  x86_64: { column: 0, audit: 0xc000003e, foreignAbove: 0x40000000 },
  aarch64: { column: 1, audit: 0xc00000b7, foreignAbove: undefined },
};

const LOAD_WORD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const JUMP_IF_AT_LEAST = 0x35;
const RETURN = 0x06;
const ALLOW = 0x7fff0000;
const EPERM = 0x00050001;
const KILL_PROCESS = 0x80000000;
const OFFSET_OF_NR = 0; // in struct seccomp_data
const OFFSET_OF_ARCH = 4;

/** The filter of one architecture as bytes. */
export function renderFilter(arch) {
  const { column, audit, foreignAbove } = ARCHITECTURES[arch];
  const numbers = Object.values(DENIED)
    .map((row) => row[column])
    .filter((nr) => nr !== null);
  const tests = [...numbers.map((nr) => [JUMP_IF_EQUAL, nr])];
  if (foreignAbove !== undefined) tests.unshift([JUMP_IF_AT_LEAST, foreignAbove]);
  if (tests.length > 255) throw new Error('a jump of a filter is one byte: deny at most 255 system calls');
  const program = [
    [LOAD_WORD, 0, 0, OFFSET_OF_ARCH],
    [JUMP_IF_EQUAL, 1, 0, audit],
    [RETURN, 0, 0, KILL_PROCESS],
    [LOAD_WORD, 0, 0, OFFSET_OF_NR],
    ...tests.map(([code, value], i) => [code, tests.length - i, 0, value]),
    [RETURN, 0, 0, ALLOW],
    [RETURN, 0, 0, EPERM],
  ];
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach(([code, jumpTrue, jumpFalse, value], i) => {
    bytes.writeUInt16LE(code, i * 8);
    bytes.writeUInt8(jumpTrue, i * 8 + 2);
    bytes.writeUInt8(jumpFalse, i * 8 + 3);
    bytes.writeUInt32LE(value, i * 8 + 4);
  });
  return bytes;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = process.argv[2] ?? fileURLToPath(new URL('../seccomp', import.meta.url));
  mkdirSync(folder, { recursive: true });
  for (const arch of Object.keys(ARCHITECTURES)) writeFileSync(join(folder, `deny-${arch}.bpf`), renderFilter(arch));
}
