import { defineConfig } from 'vitest/config';
import { closingLine } from './test/helpers/closing-line.ts';

/** The tests in a VM: by hand, with `npm run test:vm`, since its processor is emulated and everything in it takes long. */
export default defineConfig({
  test: {
    reporters: ['default', closingLine()],
    include: ['test/vm/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 900_000,
  },
});
