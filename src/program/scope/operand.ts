import type { Point } from './scope.ts';

const withoutQualifiers = (type: string): string =>
  type
    .replace(/\b(?:const|volatile|restrict)\b/g, '')
    .replace(/\s*\*/g, ' *')
    .replace(/\s+/g, ' ')
    .trim();

/** What has an owner, when a probe hands over its address. */
export const OWNERS = ['struct sock', 'struct sk_buff', 'struct request', 'struct bio', 'struct task_struct'];

/** Kinds whose arguments are `arg0`, `arg1`, …; functions traced by fentry have `args.NAME` instead. */
const NUMBERED = ['rawtracepoint', 'kprobe'];

/** The place among the parameters of the first one of this type. */
export function parameterOf(point: Point, type: string): number | undefined {
  const at = point.parameters.findIndex((parameter) => withoutQualifiers(parameter.type) === `${type} *`);
  return at === -1 ? undefined : at;
}

/** How a probe at `point` reads its first argument of this type, such as `((struct sock *)arg0)`. */
export function operandOf(point: Point, kind: string, type: string): string | undefined {
  if (NUMBERED.includes(kind)) {
    const at = parameterOf(point, type);
    return at === undefined ? undefined : cast(type, `arg${at}`);
  }
  const field = point.fields.find((one) => withoutQualifiers(one.type) === `${type} *`);
  // Of the very type already: another cast would only be warned of.
  return field && `args.${field.name}`;
}

/** How a tracepoint reads a pointer that its format only calls `void *`. */
export function namedOperand(point: Point, names: readonly string[], type: string): string | undefined {
  const name = names.find((one) => point.fields.some((field) => field.name === one));
  return name === undefined ? undefined : cast(type, `args.${name}`);
}

export const cast = (type: string, value: string): string => `((${type} *)${value})`;
