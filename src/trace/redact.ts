import type { Value } from './value.ts';
import { isRecord } from './value.ts';

/** Text that must not be stored: what matches `pattern` is replaced by `[name]` and counted under that name. */
export interface RedactionRule {
  readonly name: string;
  readonly pattern: RegExp;
}

export interface Redactor {
  redact(value: Value): Value;
  readonly counts: Readonly<Record<string, number>>;
}

/** Every string of a result passes here before it is stored. Without rules a value is returned as it is. */
export function createRedactor(rules: readonly RedactionRule[]): Redactor {
  const counts: Record<string, number> = {};

  function redactText(text: string): string {
    let result = text;
    for (const { name, pattern } of rules)
      result = result.replace(
        new RegExp(pattern, pattern.flags.includes('g') ? pattern.flags : `${pattern.flags}g`),
        () => {
          counts[name] = (counts[name] ?? 0) + 1;
          return `[${name}]`;
        },
      );
    return result;
  }

  function redact(value: Value): Value {
    if (typeof value === 'string') return redactText(value);
    if (typeof value !== 'object' || value === null) return value;
    if (isRecord(value)) return { record: value.record.map(([name, item]) => [name, redact(item)] as const) };
    return value.map(redact);
  }

  return { redact: rules.length === 0 ? (value) => value : redact, counts };
}
