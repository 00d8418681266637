import type { StandardSchemaWithJSON, ToolAnnotations } from '@modelcontextprotocol/server';
import * as z from 'zod';
import { KerntapError } from '../errors.ts';
import { shorten } from '../render/escape.ts';
import type { Helper } from '../render/helpers.ts';
import type { CallContext, NodeApi } from '../trace/ports.ts';

/** What a tool does to the node: clients decide by it whether to ask their user first. */
export type Effect = 'reads' | 'traces' | 'stops';

/** The hints of each effect. A trace only reads, because functions that act on processes are refused. */
export const HINTS: Readonly<Record<Effect, ToolAnnotations>> = {
  reads: { readOnlyHint: true, openWorldHint: false },
  traces: { readOnlyHint: true, idempotentHint: false, openWorldHint: false },
  stops: { readOnlyHint: false, destructiveHint: true, openWorldHint: false },
};

/** What a tool answers. `data` goes out as structured content, and `text` is then the same as JSON. */
export interface Answer {
  readonly text: string;
  readonly data?: Record<string, unknown>;
  /** Said beside a text that must hold nothing but data. */
  readonly note?: string;
  /** True when the call did not do what was asked, for a reason that the caller can mend. */
  readonly failed?: boolean;
}

/** What every tool works on. */
export interface ToolWorld {
  readonly node: NodeApi;
  /** The catalogue of bpftrace's language. */
  readonly helpers: readonly Helper[];
}

/** What a handler is given beside its arguments. */
export interface ToolCall extends CallContext, ToolWorld {}

/** `handle` is a method, so that a list of `Tool` holds every tool: its arguments are checked against `input` before. */
export interface Tool<Input extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  readonly effect: Effect;
  /** May take longer than a proxy waits for the first byte. */
  readonly long?: true;
  /** When to use it, and the one trap. */
  readonly description: string;
  readonly input: Input;
  handle(args: z.output<Input>, call: ToolCall): Promise<Answer>;
}

/** Declares a tool; throws nothing and does nothing. */
export const defineTool = <Input extends z.ZodObject>(tool: Tool<Input>): Tool<Input> => tool;

type JsonSchema = { readonly [key: string]: unknown };

/**
 * A tool's arguments as the SDK wants to see them: the JSON Schema, converted once because a server is made for each
 * request, and a validation that lets all pass, because `parseArguments` answers better.
 */
export function wireSchema(input: z.ZodObject): StandardSchemaWithJSON<Record<string, unknown>> {
  const schema = jsonSchema(input);
  return {
    '~standard': {
      version: 1,
      vendor: 'kerntap',
      validate: (value) => ({ value: value as Record<string, unknown> }),
      jsonSchema: { input: () => schema, output: () => schema },
    },
  };
}

// The dialect is the protocol's default, so its name is left out of each list.
function jsonSchema(input: z.ZodObject): Record<string, unknown> {
  const { $schema: _dialect, ...schema } = z.toJSONSchema(input, { io: 'input' });
  return schema;
}

/** Checks what a caller sent. Throws `argument.invalid` with each wrong argument, its value and what was expected. */
export function parseArguments<Input extends z.ZodObject>(input: Input, sent: unknown): z.output<Input> {
  const parsed = input.safeParse(sent ?? {});
  if (parsed.success) return parsed.data;

  const unknown = parsed.error.issues.flatMap((issue) => (issue.code === 'unrecognized_keys' ? issue.keys : []));
  const wrong = [
    ...new Set(parsed.error.issues.flatMap(({ path }) => (path[0] === undefined ? [] : [String(path[0])]))),
  ];
  const values = sent as Readonly<Record<string, unknown>>;
  const properties = (jsonSchema(input).properties ?? {}) as Readonly<Record<string, JsonSchema>>;
  const said = [
    ...unknown.slice(0, 5).map((name) => `unknown argument ${shown(name)}`),
    ...wrong.map((name) => (Object.hasOwn(values, name) ? `${name} is ${shown(values[name])}` : `${name} is missing`)),
  ];
  const expected = [
    ...wrong.map((name) => `${name} ${expectation(properties[name] ?? {})}`),
    ...(unknown.length > 0 ? [Object.keys(properties).join(', ')] : []),
  ];
  throw new KerntapError('argument.invalid', `${said.join(', ')}.`, { remedy: `expected: ${expected.join('; ')}` });
}

/** A value that a caller sent, short enough for a sentence. */
export const shown = (value: unknown): string => shorten(JSON.stringify(value) ?? 'absent', 60);

/** What a JSON Schema allows, in words. */
function expectation({ type, enum: values, minimum, maximum, minLength, maxLength }: JsonSchema): string {
  if (Array.isArray(values)) return `one of ${values.join(', ')}`;
  switch (type) {
    case 'number':
    case 'integer':
      return `${type === 'integer' ? 'an integer' : 'a number'} from ${minimum} to ${maximum}`;
    case 'boolean':
      return 'true or false';
    case 'string':
      return `text${maxLength === undefined ? '' : ` of ${minLength ?? 0} to ${maxLength} characters`}`;
    default:
      return `a value of type ${String(type)}`;
  }
}
