import type { Account, CountedMessage } from '../trace/ports.ts';
import { isRecord, type RecordValue, toWire, type Value } from '../trace/value.ts';
import { type AnswerSection, nextCalls, type RunAnswer, untrusted } from './answer.ts';
import { coverageJson } from './coverage.ts';
import { diagnosticJson } from './diagnostics.ts';
import { escapeLines, shorten } from './escape.ts';
import { renderRaw } from './raw.ts';

const MAX_OUTPUT_CHARS = 2_000;
const MAX_ELSEWHERE = 20;
const MAX_PLACES = 5;

/** The form for programs: one JSON object that alone answers the question. Its keys are a contract. */
export const renderJson = (answer: RunAnswer): string => JSON.stringify(jsonOf(answer));

function jsonOf(answer: RunAnswer) {
  const { run, refusal, account } = answer;
  const output = renderRaw(answer);
  const findings = refusal ? [`${refusal.code}: ${refusal.sentence}`, refusal.remedy] : answer.findings;
  return {
    run_id: run.id,
    execution_id: run.id,
    ...(run.name !== undefined && { name: shorten(run.name) }),
    state: run.state,
    reason: run.reason,
    target: shorten(run.target),
    node: run.node,
    probes: { asked: run.probes.asked, attached: run.probes.attached ?? 0 },
    timing: {
      asked: iso(run.timing.askedMs),
      armed: iso(run.timing.armedMs),
      ended: iso(run.timing.endedMs),
    },
    scope: { node: run.node, ...(account.coverage ? coverageJson(account.coverage) : { classes: ['unscoped'] }) },
    sandbox: run.sandbox,
    versions: run.versions,
    untrusted: untrusted(run),
    finding: findings.map((finding) => shorten(finding, 400)),
    ...(answer.diagnostics.length > 0 && { diagnostics: answer.diagnostics.map(diagnosticJson) }),
    sections: [
      ...answer.sections.map(sectionJson),
      ...answer.elsewhere
        .slice(0, MAX_ELSEWHERE)
        .map(({ name, type, total }) => ({ name: shorten(name), type, columns: [], rows: [], total })),
    ],
    output: output.length <= MAX_OUTPUT_CHARS ? output : `${output.slice(0, MAX_OUTPUT_CHARS - 1)}…`,
    account: accountJson(account),
    next: nextCalls(answer),
  };
}

const iso = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());

const sectionJson = ({ name, type, columns, rows, total, offset, notes }: AnswerSection) => ({
  name: shorten(name),
  type,
  columns: columns.map((column) => shorten(column.name)),
  rows: rows.map((row) => row.map((cell) => toWire(escapeValue(cell)))),
  total,
  ...(offset > 0 && { offset }),
  ...(notes.length > 0 && { notes: notes.map((note) => shorten(note, 400)) }),
});

function accountJson(account: Account) {
  const { nodeCost } = account;
  return {
    events: account.events,
    lost: account.lost,
    lost_reported: account.lostReported,
    lost_is_lower_bound: account.lostIsLowerBound,
    dropped_by_limit: account.droppedByLimit,
    dropped_maps: account.droppedMaps,
    map_full: account.mapFull.slice(0, MAX_PLACES).map(messageJson),
    runtime_errors: account.runtimeErrors.slice(0, MAX_PLACES).map(messageJson),
    missed: account.missed,
    ambiguous_keys: account.ambiguousKeys,
    malformed: account.malformed,
    repaired_strings: account.repairedStrings,
    redactions: account.redactions,
    node_cost: nodeCost
      ? { cpu_share: rounded(nodeCost.cpuShare), time_ns: nodeCost.timeNs, runs: nodeCost.runs }
      : null,
  };
}

const rounded = (value: number): number => Number(value.toPrecision(3));

const messageJson = ({ message, helper, code, at, count }: CountedMessage) => ({
  message: shorten(message),
  ...(helper !== undefined && { helper: shorten(helper) }),
  ...(code !== undefined && { code }),
  ...at,
  count,
});

// Newlines and tabs stay: JSON writes them as `\n` and `\t`.
function escapeValue(value: Value): Value {
  if (typeof value === 'string') return escapeLines(value);
  if (typeof value !== 'object' || value === null) return value;
  return isRecord(value) ? escapeRecord(value) : value.map(escapeValue);
}

const escapeRecord = ({ record }: RecordValue): Value => ({
  record: record.map(([name, item]) => [escapeLines(name), escapeValue(item)]),
});
