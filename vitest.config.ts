import { configDefaults, defineConfig } from 'vitest/config';
import { closingLine } from './test/helpers/closing-line.ts';
import { containersEnv } from './test/helpers/containers/machine.ts';
import { machineEnv } from './test/helpers/machine.ts';

const REAL = ['test/real/**/*.test.ts', 'test/runtime/**/*.test.ts'];

export default defineConfig({
  test: {
    reporters: ['default', closingLine()],
    projects: [
      {
        test: {
          name: 'pure',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...REAL, 'test/vm/**'],
          env: machineEnv,
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'real',
          include: REAL,
          env: { ...machineEnv, ...containersEnv },
          // Alone and one file at a time, since they compare what is attached to the kernel; in processes of their own, since
          // the end of a thread would not end its bpftrace in order.
          sequence: { groupOrder: 1 },
          fileParallelism: false,
          pool: 'forks',
          testTimeout: 60_000,
        },
      },
    ],
  },
});
