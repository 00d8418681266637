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

export interface RedactorOptions {
  readonly rules: readonly RedactionRule[];
  /**
   * Whether addresses of the kernel become `addr-1`, `addr-2`, …, each its own: they tell where the kernel lies, and who may
   * trace a pod need not know. They serve as keys as before. One that was changed by arithmetic is not recognised.
   */
  readonly hideAddresses?: boolean;
  /** What every text becomes first; it hides nothing and is not counted. */
  readonly rename?: (text: string) => string;
}

/** The upper half of the address space, without its last 16 MiB, where small negative numbers are (Documentation/arch/x86/x86_64/mm.rst). */
const [FIRST_ADDRESS, AFTER_ADDRESSES] = [0xffff_0000_0000_0000n, 0xffff_ffff_ff00_0000n];
const ADDRESS_TEXT = /\b(?:(?:0x)?ffff[0-9a-f]{12}|1844[0-9]{16})\b/gi;

/** Every string of a result passes here before it is stored. With nothing to hide a value is returned as it is. */
export function createRedactor({ rules, hideAddresses = false, rename }: RedactorOptions): Redactor {
  const counts: Record<string, number> = {};
  const addresses = new Map<bigint, string>();

  function nameOf(value: bigint): string | undefined {
    if (value < FIRST_ADDRESS || value >= AFTER_ADDRESSES) return undefined;
    const name = addresses.get(value) ?? `addr-${addresses.size + 1}`;
    addresses.set(value, name);
    counts.kernel_address = (counts.kernel_address ?? 0) + 1;
    return name;
  }

  function redactText(given: string): string {
    const text = rename?.(given) ?? given;
    let result = hideAddresses
      ? text.replace(ADDRESS_TEXT, (found) => nameOf(BigInt(/^f/i.test(found) ? `0x${found}` : found)) ?? found)
      : text;
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
    if (hideAddresses && typeof value === 'bigint') return nameOf(value) ?? value;
    if (typeof value !== 'object' || value === null) return value;
    if (isRecord(value)) return { record: value.record.map(([name, item]) => [name, redact(item)] as const) };
    return value.map(redact);
  }

  return { redact: rules.length === 0 && !hideAddresses && !rename ? (value) => value : redact, counts };
}
