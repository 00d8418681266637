import type { Reporter } from 'vitest/node';

const NOT_IN_CI = '[not in CI]';

/**
 * Ends the output with `N passed, N failed`, and `, N skipped` when there are any. With `CI=true` a skip is a failure unless
 * `[not in CI]` stands in its title. What fails outside of tests counts, too: a module that does not load, a hook, an
 * unhandled error.
 */
export const closingLine = (): Reporter => ({
  onTestRunEnd(modules, unhandled) {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const suites = modules.flatMap((module) => [module, ...module.children.allSuites()]);
    const inState = (state: 'passed' | 'skipped') => tests.filter((test) => test.result().state === state);

    const unwelcome =
      process.env.CI === 'true' ? inState('skipped').filter(({ fullName }) => !fullName.includes(NOT_IN_CI)) : [];
    for (const { module, fullName } of unwelcome) {
      process.stdout.write(`\nskipped, which is a failure here: ${module.relativeModuleId} > ${fullName}`);
    }

    const passed = inState('passed').length;
    const skipped = inState('skipped').length - unwelcome.length;
    const outside = suites.flatMap((suite) => suite.errors()).length + unhandled.length;
    const failed = tests.length - passed - skipped + outside;
    if (failed > 0) process.exitCode = 1;
    process.stdout.write(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`);
  },
});
