// Writes docs/reference/*.md from the tables in the code: `npm run reference`. test/docs.test.ts holds them to each other.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from '../src/cli/commands.ts';
import { COMMANDS } from '../src/cli/index.ts';
import { environmentName, OPTIONS } from '../src/config.ts';
import { ERRORS } from '../src/errors.ts';
import { type Effect, HINTS, type Tool, wireSchema } from '../src/mcp/tool.ts';
import { TOOLS } from '../src/mcp/tools/index.ts';
import { BUILTINS, type Builtin } from '../src/program/builtins.ts';

/** Every generated page by its file name. */
export const renderReference = (): ReadonlyMap<string, string> =>
  new Map([
    ['errors.md', renderErrors()],
    ['options.md', renderOptions()],
    ['tools.md', renderTools()],
    ['bpftrace-language.md', renderLanguage()],
  ]);

const page = (title: string, source: string, ...parts: readonly string[]): string =>
  `# ${title}\n\n<!-- Made from ${source} by \`npm run reference\`. Do not edit. -->\n\n${parts.join('\n\n')}\n`;

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.map(cell).join(' | ')} |`).join('\n');

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

const code = (text: string): string => (text.includes('`') ? `\`\` ${text} \`\`` : `\`${text}\``);

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, '')}.`;

function renderErrors(): string {
  const areas = Map.groupBy(Object.entries(ERRORS), ([name]) => name.split('.')[0] ?? name);
  return page(
    'Errors',
    '`src/errors.ts`',
    'A code is `area.what` and stays what it is. The message beside it is one sentence that names the value, the remedy says what to do.',
    'A tool answers with `isError` and the text `code: message remedy`. `/v1` answers with the status and `{"error": {"code", "message", "remedy"}}`. The command line prints message and remedy; it exits with 78 for `start.*` and with 1 for the others.',
    ...[...areas].map(
      ([area, errors]) =>
        `## ${area}\n\n${table(
          ['code', 'status', 'what to do'],
          errors.map(([name, { status, remedy }]) => [code(name), String(status), remedy]),
        )}`,
    ),
  );
}

function renderOptions(): string {
  const rows = Object.entries<Flag>(OPTIONS).map(([flag, row]) => {
    const takers = COMMANDS.filter(({ options }) => options.some((name) => name === flag));
    return [flagText(flag, row), code(environmentName(flag)), presetText(row), row.help, listed(takers)];
  });
  return page(
    'Commands and options',
    '`src/config.ts` and `src/cli/`',
    'The command line wins over the environment, which wins over the preset. In the environment a flag without a value is `true` or `1`.',
    table(['option', 'environment', 'preset', 'what it does', 'of'], rows),
    ...COMMANDS.map(renderCommand),
  );
}

interface Flag {
  readonly value?: string;
  readonly preset?: string;
  readonly help: string;
  readonly short?: string;
}

const flagText = (flag: string, { value, short }: Flag): string =>
  code(`${short === undefined ? '' : `-${short}, `}--${flag}${value === undefined ? '' : ` ${value}`}`);

const presetText = ({ preset = '' }: Flag): string => (preset === '' || preset === 'false' ? '' : code(preset));

const listed = (takers: readonly Command[]): string => takers.map(({ name }) => name).join(', ');

function renderCommand({ name, usage, summary, notes = [], own = {} }: Command): string {
  const flags = Object.entries<Flag>(own).map(([flag, row]) => [flagText(flag, row), presetText(row), row.help]);
  return [
    `## kerntap ${name}`,
    `    ${`kerntap ${name} ${usage}`.trimEnd()}`,
    [sentence(summary), ...notes].join(' '),
    ...(flags.length > 0 ? [table(['of its own', 'preset', 'what it does'], flags)] : []),
  ].join('\n\n');
}

const EFFECTS: Readonly<Record<Effect, string>> = {
  reads: 'changes nothing',
  traces: 'attaches probes, changes nothing else',
  stops: 'may end a run or delete one',
};

function renderTools(): string {
  return page(
    'Tools',
    '`src/mcp/tools/`',
    'In the order in which clients list them. An argument that is not named here is refused. [Answers](../answers.md) says how results read.',
    ...TOOLS.map(renderTool),
  );
}

interface ArgumentSchema {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly default?: unknown;
  readonly description?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
}

function renderTool({ name, effect, description, input }: Tool): string {
  const schema = wireSchema(input)['~standard'].jsonSchema.input({ target: 'draft-2020-12' });
  const required = new Set(schema.required as readonly string[] | undefined);
  const rows = Object.entries(schema.properties as Readonly<Record<string, ArgumentSchema>>).map(
    ([argument, property]) => [
      code(argument),
      allowed(property),
      required.has(argument)
        ? 'required'
        : property.default === undefined
          ? ''
          : code(JSON.stringify(property.default)),
      property.description ?? '',
    ],
  );
  const hints = Object.entries(HINTS[effect]).map(([hint, value]) => code(`${hint}: ${value}`));
  return [
    `## ${name}`,
    description,
    `Effect: \`${effect}\`, it ${EFFECTS[effect]} (${hints.join(', ')}).`,
    table(['argument', 'value', 'default', 'meaning'], rows),
  ].join('\n\n');
}

function allowed({ type, enum: values, minimum, maximum, minLength, maxLength }: ArgumentSchema): string {
  if (values !== undefined) return values.map((value) => code(value)).join(', ');
  if (type === 'boolean') return '`true`, `false`';
  if (type === 'string') return maxLength === undefined ? 'text' : `text, ${minLength ?? 0} to ${maxLength} characters`;
  return `${type === 'integer' ? 'whole number' : 'number'}, ${minimum} to ${maximum}`;
}

function renderLanguage(): string {
  return page(
    'The bpftrace language, as kerntap takes it',
    '`src/program/builtins.ts`',
    'Functions, builtins, map functions and statements, with an example of each that bpftrace compiles. `list_helpers` says the same of one node, where some may be missing. *node* marks what needs the right to trace the whole node, as every program does today; *refused* marks what no caller may use.',
    ...[...Map.groupBy(BUILTINS, ({ kind }) => kind)].map(
      ([kind, entries]) => `## ${sentence(`${kind}s`).slice(0, -1)}\n\n${entries.map(renderBuiltin).join('\n')}`,
    ),
  );
}

function renderBuiltin({ signature, summary, example, tier, probes, trap, refused, needs, since }: Builtin): string {
  const marks = [tier === 'node' && '*node*', refused !== undefined && '*refused*'].filter((mark) => mark !== false);
  return [
    `- ${code(signature)}${marks.length > 0 ? ` (${marks.join(', ')})` : ''}: ${summary}`,
    ...(refused === undefined ? [code(example.replaceAll('\n', ' '))] : [sentence(`refused: ${refused}`)]),
    ...(trap === undefined ? [] : [sentence(`trap: ${trap}`)]),
    ...(probes === undefined ? [] : [sentence(`only in ${probes.join(', ')}`)]),
    ...(needs === undefined ? [] : [sentence(`needs the kernel helper ${code(needs)}`)]),
    ...(since === undefined ? [] : [sentence(`needs bpftrace ${since}`)]),
  ].join('\n  - ');
}

if (import.meta.main) {
  const folder = join(import.meta.dirname, '../docs/reference');
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of renderReference()) writeFileSync(join(folder, name), text);
}
