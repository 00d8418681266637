/** What stops the set-up and a person can remove: one sentence with its remedy. */
export class Problem extends Error {}

const { stderr, env } = process;
const colours = stderr.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
const dim = (text) => (colours ? `\u001b[2m${text}\u001b[22m` : text);
const PREFIX = dim('setup ');

/** Writes one line for a person. */
export const say = (text) => stderr.write(`${PREFIX}${text}\n`);

/** Does `work` and tells of it in one line: what it is while it runs, then what came of it (the text that `work` returns). */
export async function step(what, work) {
  const startMs = performance.now();
  stderr.write(`${PREFIX}${what} … `);
  try {
    const result = await work();
    stderr.write(`${result} ${dim(`in ${((performance.now() - startMs) / 1000).toFixed(1)} s`)}\n`);
  } catch (error) {
    stderr.write('failed\n');
    throw error;
  }
}
