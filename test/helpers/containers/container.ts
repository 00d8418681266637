/** A container that runs. Commands name programs of the test image: busybox's, `idle`, and `calls N` for N getppid calls. */
export interface Container extends AsyncDisposable {
  readonly id: string;
  /** Of its first process, as the machine sees it. */
  readonly pid: number;
  /** Of its cgroup, as in /proc/PID/cgroup. */
  readonly cgroupPath: string;
  readonly cgroupFolder: string;
  /** What bpftrace calls `cgroup`. */
  readonly inode: bigint;
  /** Runs a command in the container and resolves with its standard output; rejects when it fails. */
  exec(command: readonly string[]): Promise<string>;
}
