import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { createFunctionNames } from '../../src/bpftrace/functions.ts';
import { KerntapError } from '../../src/errors.ts';
import { parseProgram } from '../../src/program/program.ts';
import { rowOf } from '../../src/program/scope/table.ts';
import { POD_REMEDIES, REMEDIES } from '../../src/program/tier/remedies.ts';
import { refuseForAll, tierOf } from '../../src/program/tier.ts';
import { nodesOf, pointName, type Tree } from '../../src/program/tree.ts';
import { bpftraceCommand, canTrace, projectRoot } from '../helpers/machine.ts';
import { scopeHere } from '../helpers/scoped-trace.ts';

const AGENTS = join(projectRoot, 'test/fixtures/agent-programs');
/** Where the package of bpftrace has its tools. They are read here and never copied. */
const TOOLS = join(projectRoot, '.cache/bpftrace/root/usr/sbin');

interface Verdict {
  readonly name: string;
  /** Whether bpftrace 0.27 itself takes it. */
  readonly valid: boolean;
  readonly tier: 'pod' | 'node' | 'nobody';
  /** Why not the pod's, without names of the program. */
  readonly why: string;
}

const withoutNames = (reason: string): string =>
  reason
    .replace(/`[^`]+` of struct \w+/, 'a field')
    .replace(/`[^`]+`/g, 'it')
    .replace(/; perhaps .*/, '');

/**
 * Why the scope finds no owner for a probe, by its name. Packets are told by what a probe hands over, before its name counts,
 * and a probe whose predicate asks for a key is told by who stored it.
 */
function unowned({ probes }: Tree): string | undefined {
  for (const { points, predicate } of probes) {
    const isKeyed = predicate !== undefined && [...nodesOf(predicate)].some(({ kind }) => kind === 'map');
    const rows = isKeyed
      ? []
      : points.filter(({ parts }) => parts[0] !== 'net').map((point) => rowOf({ name: pointName(point) }));
    const row = rows.find((one) => one?.class === 'N');
    if (row) return row.why;
  }
  return undefined;
}

function judge(file: string): Verdict {
  const source = readFileSync(file, 'utf8');
  const found = { name: basename(file, '.bt'), valid: !source.includes('\n// bpftrace 0.27 does not take it') };
  try {
    const program = parseProgram(source);
    refuseForAll(program);
    const [reach] = tierOf(program).needsNode;
    const why = reach ? withoutNames(reach.reason) : unowned(program.tree);
    return why === undefined ? { ...found, tier: 'pod', why: '' } : { ...found, tier: 'node', why };
  } catch (error) {
    if (!(error instanceof KerntapError)) throw error;
    const why =
      error.code === 'program.refused' ? error.message.replace(/^.* is refused: |\.$/g, '') : 'it is no program';
    return { ...found, tier: 'nobody', why: withoutNames(why) };
  }
}

const judgeAll = (folder: string): readonly Verdict[] =>
  globSync('*.bt', { cwd: folder })
    .sort()
    .map((name) => judge(join(folder, name)));

const AGENT_VERDICTS = judgeAll(AGENTS);

const share = (some: readonly unknown[], of: readonly unknown[]): number => (100 * some.length) / of.length;
const inPod = (verdicts: readonly Verdict[]) => verdicts.filter(({ tier }) => tier === 'pod');
const inSome = (verdicts: readonly Verdict[]) => verdicts.filter(({ tier }) => tier !== 'nobody');

function row(title: string, verdicts: readonly Verdict[]): string {
  const cell = (some: readonly Verdict[]) => `${some.length} (${share(some, verdicts).toFixed(1)} %)`;
  return `| ${title} | ${verdicts.length} | ${cell(inPod(verdicts))} | ${cell(inSome(verdicts))} |`;
}

function reasons(verdicts: readonly Verdict[], tier: Verdict['tier']): string {
  const groups = Map.groupBy(
    verdicts.filter((verdict) => verdict.tier === tier),
    ({ why }) => why,
  );
  return [...groups]
    .sort(([a, left], [b, right]) => right.length - left.length || (a < b ? -1 : 1))
    .map(([why, all]) => `| ${why} | ${all.length} | ${all.map(({ name }) => `\`${name}\``).join(', ')} |`)
    .join('\n');
}

const render = (agents: readonly Verdict[], tools: readonly Verdict[]): string => `# Which programs are taken

[Two rights](scoping.md) decide what a caller may run. With the right to a pod, a program may read what its own probes hand over
and what leads from there to the same task, socket, packet, request or file. With node rights it may be all that kerntap reads.
What stays refused acts on the node, reads its files, or cannot be bounded. A probe that the [scope](scoping.md) finds no owner for
needs node rights, too; how many these are beside the ones below depends on the kernel.

These figures are counted by \`test/real/acceptance.test.ts\` and written by it (\`npx vitest run test/real/acceptance.test.ts -u\`).
The agents' programs are in \`test/fixtures/agent-programs\`, one for a symptom; they were written before the rules were. Some are
wrong, as agents' programs are. The tools are those of bpftrace 0.27.0, read from its package.

| programs | count | with the right to a pod | with node rights and a target |
| --- | --- | --- | --- |
${row("agents' programs", agents)}
${row(
  'of these, what bpftrace itself takes',
  agents.filter(({ valid }) => valid),
)}
${row(
  'of these, the first 200, each from a symptom; the others try constructs',
  agents.filter(({ name }) => Number.parseInt(name, 10) <= 200),
)}
${row("bpftrace's tools", tools)}

## What needs node rights

| why | count | programs |
| --- | --- | --- |
${reasons([...agents, ...tools], 'node')}

## What is refused to everybody

| why | count | programs |
| --- | --- | --- |
${reasons([...agents, ...tools], 'nobody')}
`;

test('the right to a pod takes half of what agents write, node rights nearly all of it', () => {
  expect(AGENT_VERDICTS.length).toBeGreaterThanOrEqual(200);
  const valid = AGENT_VERDICTS.filter((verdict) => verdict.valid);
  expect(share(inPod(valid), valid)).toBeGreaterThanOrEqual(50);
  expect(share(inSome(valid), valid)).toBeGreaterThanOrEqual(95);
});

test.skipIf(!existsSync(TOOLS))("docs/acceptance.md has the figures, also of bpftrace's own tools", async () => {
  const tools = judgeAll(TOOLS);
  expect(share(inPod(tools), tools)).toBeGreaterThanOrEqual(50);
  expect(share(inSome(tools), tools)).toBeGreaterThanOrEqual(95);
  await expect(render(AGENT_VERDICTS, tools)).toMatchFileSnapshot(join(projectRoot, 'docs/acceptance.md'));
});

test.skipIf(!canTrace)(
  'the scope of this kernel finds an owner for most of what the right to a pod takes [needs root and BPF]',
  async () => {
    const target = { groups: [{ id: 7n, level: 3 }], netns: 7n, ioGroups: [{ id: 8n, level: 3 }] };
    const refused: string[] = [];
    for (const { name } of inPod(AGENT_VERDICTS)) {
      const source = readFileSync(join(AGENTS, `${name}.bt`), 'utf8');
      await scopeHere(source, target).catch((error: unknown) => {
        expect(error, name).toMatchObject({ code: expect.stringMatching(/^program\.(?:unscoped|too_many_probes)$/) });
        refused.push(name);
      });
    }
    expect(share(refused, AGENT_VERDICTS)).toBeLessThan(10);
  },
  300_000,
);

const folder = mkdtempSync(join(tmpdir(), 'kerntap-acceptance-'));
afterAll(() => rmSync(folder, { recursive: true }));

test.skipIf(!canTrace)(
  'bpftrace takes every program that a refusal tells to write instead [needs root and BPF]',
  () => {
    // Functions of the kernel are looked up in this list, so that programs compile also where they cannot be attached.
    const functions = join(folder, 'functions');
    createFunctionNames(functions).refresh();
    const [file = 'bpftrace', ...first] = bpftraceCommand;
    const compile = (input: string) =>
      spawnSync(file, [...first, '--traceable-functions', functions, '--mode', 'codegen', '-'], {
        input,
        encoding: 'utf8',
      });
    const refused = [...Object.values(POD_REMEDIES), ...Object.values(REMEDIES)]
      .map(({ example }) => ({ example, ran: compile(example) }))
      .filter(({ ran }) => ran.status !== 0)
      .map(({ example, ran }) => `${example}: ${/^.*ERROR.*$/m.exec(ran.stderr)?.[0] ?? ran.status}`);
    expect(refused).toEqual([]);
  },
  300_000,
);
