import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify, stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { TestServer } from '../helpers/http.ts';
import { npmTool } from '../helpers/npm-tool.ts';
import { startConformanceTarget } from './target.ts';

const VERSION = '0.2.0-alpha.12';
const run = promisify(execFile);

let suite: string;
let target: TestServer;
beforeAll(async () => {
  suite = await npmTool('@modelcontextprotocol/conformance', VERSION, 'conformance');
  target = await startConformanceTarget();
}, 300_000);
afterAll(() => target?.[Symbol.asyncDispose]());

interface Scenario {
  readonly name: string;
  readonly passed: number;
  readonly failed: number;
  readonly scored: boolean;
}

/** Runs the scenarios that a revision of the protocol requires, and reads the suite's summary of them. */
async function runSuite(revision: string): Promise<{ scenarios: readonly Scenario[]; said: string }> {
  const results = await mkdtemp(join(tmpdir(), 'kerntap-conformance-'));
  const args = [suite, 'server', '--url', target.mcp, '--requirements', revision, '--output-dir', results];
  // The suite ends with 1 when any scenario fails, also one that is not scored: the summary decides.
  const { stdout } = await run(process.execPath, args, { maxBuffer: 1 << 26 }).catch(
    (error) => error as { stdout: string },
  );
  await rm(results, { recursive: true });
  const said = stripVTControlCharacters(stdout);
  const [, summary = '', notScored = ''] = /=== SUMMARY ===([\s\S]*?)(Not scored[\s\S]*|$)/.exec(said) ?? [];
  const reported = new Set([...notScored.matchAll(/^\s*[✓✗] (\S+) \(/gm)].map(([, name]) => name));
  const scenarios = [...summary.matchAll(/^[✓✗] (\S+): (\d+) passed, (\d+) failed/gm)].map(
    ([, name = '', passed, failed]) => ({
      name,
      passed: Number(passed),
      failed: Number(failed),
      scored: !reported.has(name),
    }),
  );
  return { scenarios, said };
}

const sum = (scenarios: readonly Scenario[]) => scenarios.reduce((total, { passed }) => total + passed, 0);

it.each([
  { revision: '2025-11-25', scored: 30, checks: 70, reported: 14 },
  { revision: '2026-07-28', scored: 37, checks: 120, reported: 32 },
])(
  'the public conformance suite passes every check that $revision requires',
  async ({ revision, scored, checks, reported }) => {
    const { scenarios, said } = await runSuite(revision);
    // Tasks are an extension that this server does not offer yet.
    const ours = scenarios.filter(({ name }) => !name.startsWith('tasks-'));
    expect(
      ours.filter(({ failed }) => failed > 0),
      said,
    ).toEqual([]);
    const required = ours.filter((scenario) => scenario.scored);
    expect(required).toHaveLength(scored);
    expect(sum(required)).toBe(checks);
    // Schemas, headers and the life of sessions are only reported by the suite, but hold, too.
    expect(sum(ours) - sum(required)).toBe(reported);
  },
  120_000,
);
