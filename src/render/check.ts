import { remedySentence } from '../errors.ts';
import type { CheckReport } from '../trace/ports.ts';
import { coverageJson, coverageLines } from './coverage.ts';
import { diagnosis, diagnosticJson, mostSevere, renderDiagnostic, renderPlace } from './diagnostics.ts';
import { shorten } from './escape.ts';
import { counted } from './sentences.ts';

/** What `check` found, in words and for programs. */
export function renderCheck(source: string, report: CheckReport): { text: string; data: Record<string, unknown> } {
  const diagnostics = mostSevere(report.diagnostics);
  return {
    text: report.ok ? accepted(source, report) : refused(source, report),
    data: {
      ok: report.ok,
      tier: report.tier,
      attach_points: report.attachPoints.map((point) => shorten(point)),
      diagnostics: diagnostics.map(diagnosticJson),
      rules: coverageJson({ rules: report.rules, notes: [] }).rules,
    },
  };
}

const accepted = (source: string, { attachPoints, diagnostics, rules, tier }: CheckReport): string =>
  [
    `ok: bpftrace accepts the program, ${counted(attachPoints.length, 'attach point')}. Nothing was attached; the kernel's verifier has not seen it yet.`,
    `it needs the tier ${tier}`,
    ...coverageLines({ rules, notes: [] }),
    ...mostSevere(diagnostics).flatMap((diagnostic) => renderDiagnostic(source, diagnostic)),
  ].join('\n');

function refused(source: string, { diagnostics }: CheckReport): string {
  const [first, ...others] = mostSevere(diagnostics);
  if (first === undefined) return 'program.invalid: bpftrace refuses the program.';
  return [
    `program.invalid: ${diagnosis(first)}`,
    ...renderPlace(source, first.at),
    `Nothing was attached.${first.remedy === undefined ? '' : ` ${remedySentence(shorten(first.remedy, 400))}`}`,
    ...others.flatMap((diagnostic) => renderDiagnostic(source, diagnostic)),
  ].join('\n');
}
