import { existsSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import * as z from 'zod';
import { KerntapError } from './errors.ts';
import { nodeNameOf } from './ids.ts';

/** Where a listener stands. A unix socket has only a path. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

const LISTEN = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/;

const AddressText = z.string().transform((text, context): Address => {
  const match = LISTEN.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host !== undefined && port <= 65_535) return { host, port };
  context.addIssue({ code: 'custom', message: 'must be HOST:PORT, such as 127.0.0.1:7337 or [::1]:7337' });
  return z.NEVER;
});

const List = z.string().transform((text) => text.split(',').flatMap((part) => part.trim() || []));
const Flag = z.enum(['true', 'false', '1', '0']).transform((text) => text === 'true' || text === '1');

interface Option {
  readonly schema: z.ZodType<unknown, string>;
  /** What stands after the flag in the help; absent for a flag that takes no value. */
  readonly value?: string;
  readonly help: string;
  readonly preset?: string;
}

/** One row an option: `--data-dir` on the command line is `KERNTAP_DATA_DIR` in the environment and `dataDir` in `Config`. */
export const OPTIONS = {
  listen: {
    schema: AddressText,
    value: 'HOST:PORT',
    preset: '127.0.0.1:7337',
    help: 'where MCP and the HTTP API are served',
  },
  'health-listen': {
    schema: AddressText,
    value: 'HOST:PORT',
    help: 'serve health and metrics there instead, without authentication',
  },
  'data-dir': {
    schema: z.string().min(1),
    value: 'DIR',
    help: 'where runs are kept (default /var/lib/kerntap as root, else $XDG_STATE_HOME/kerntap)',
  },
  'node-name': {
    schema: z.string().min(1).transform(nodeNameOf),
    value: 'NAME',
    help: 'first part of every run id (default: the host name)',
  },
  'max-timeout': {
    schema: z.coerce.number<string>().int().min(1).max(600),
    value: 'SECONDS',
    preset: '600',
    help: 'the longest run that a caller may ask for',
  },
  'token-file': {
    schema: z.string().min(1),
    value: 'FILE',
    help: 'callers and their rights; with it every request needs a token',
  },
  'tls-terminated-by-proxy': {
    schema: Flag,
    preset: 'false',
    help: 'a proxy in front speaks TLS; needed to listen beyond loopback',
  },
  'allowed-hosts': {
    schema: List,
    value: 'NAME,…',
    preset: '',
    help: 'names beside localhost under which callers may reach the server',
  },
  'allowed-origins': {
    schema: List,
    value: 'HOST,…',
    preset: '',
    help: 'web pages that may call the server (host names; default: none)',
  },
  bpftrace: { schema: z.string().min(1), value: 'PATH', help: 'the bpftrace to use (0.24.2 or newer)' },
  watchdog: {
    schema: z.enum(['on', 'off']),
    value: 'on|off',
    preset: 'on',
    help: 'stop a run whose probes cost more than 25 % of one CPU',
  },
  spare: {
    schema: z.enum(['on', 'off']),
    value: 'on|off',
    preset: 'on',
    help: 'keep one bpftrace started ahead, so that runs are attached sooner',
  },
} as const satisfies Record<string, Option>;

type Flags = typeof OPTIONS;
type Camel<T extends string> = T extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : T;
type Values = { readonly [K in keyof Flags as Camel<K>]: z.output<Flags[K]['schema']> | Absent<Flags[K]> };
type Absent<T> = T extends { preset: string } ? never : undefined;

/** Every option with its value; `dataDir` and `nodeName` have theirs from the machine when nobody gave them. */
export interface Config extends Omit<Values, 'dataDir' | 'nodeName'> {
  readonly dataDir: string;
  readonly nodeName: string;
  /** True inside a pod, where a forwarded port makes everybody look like the loopback caller. */
  readonly inKubernetes: boolean;
}

const camel = (flag: string): string => flag.replace(/-([a-z])/g, (_dash, letter: string) => letter.toUpperCase());
export const environmentName = (flag: string): string => `KERNTAP_${flag.replaceAll('-', '_').toUpperCase()}`;

/** What a command takes beside the common options. */
export interface OwnFlags {
  readonly [flag: string]: { readonly type: 'string' | 'boolean'; readonly short?: string };
}

export interface CommandLine {
  readonly config: Config;
  /** The command's own flags that were given; one without a value is `true`. */
  readonly own: Readonly<Record<string, string | undefined>>;
  readonly positionals: readonly string[];
}

/** Reads the options of a command that takes no other arguments. Throws `start.option`. */
export function loadConfig(args: readonly string[], env: NodeJS.ProcessEnv): Config {
  const { config, positionals } = parseCommandLine(args, env);
  const [stray] = positionals;
  if (stray === undefined) return config;
  // npm keeps `--listen` for itself and passes its value alone unless `--` stands before it.
  const npmScript = env.npm_lifecycle_event;
  const remedy = npmScript === undefined ? 'see kerntap --help' : `write: npm ${npmScript} -- --listen ${stray}`;
  throw new KerntapError('start.option', `${JSON.stringify(stray)} belongs to no option.`, { remedy });
}

/** Reads a command line: it wins over the environment, which wins over the presets. Throws `start.option`. */
export function parseCommandLine(args: readonly string[], env: NodeJS.ProcessEnv, own: OwnFlags = {}): CommandLine {
  const { given, positionals } = parseFlags(args, own);
  const values: Record<string, unknown> = {};
  for (const [flag, option] of Object.entries<Option>(OPTIONS)) {
    const text = given[flag] ?? env[environmentName(flag)] ?? option.preset;
    if (text === undefined) continue;
    const parsed = option.schema.safeParse(text);
    if (!parsed.success) {
      const from = given[flag] === undefined ? environmentName(flag) : `--${flag}`;
      const why = parsed.error.issues.map((issue) => issue.message).join('; ');
      throw new KerntapError('start.option', `${from} is ${JSON.stringify(text)}: ${why}.`);
    }
    values[camel(flag)] = parsed.data;
  }
  const config = {
    nodeName: nodeNameOf(hostname()),
    dataDir: defaultDataDir(env),
    inKubernetes: env.KUBERNETES_SERVICE_HOST !== undefined || existsSync(SERVICE_ACCOUNT_TOKEN),
    ...values,
  } as Config;
  return { config, own: given, positionals };
}

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

function parseFlags(args: readonly string[], own: OwnFlags) {
  const common = Object.entries<Option>(OPTIONS).map(
    ([flag, { value }]) => [flag, { type: value === undefined ? 'boolean' : 'string' } as const] as const,
  );
  try {
    const options = { ...Object.fromEntries(common), ...own };
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
    const given: Record<string, string | undefined> = Object.fromEntries(
      Object.entries(values).map(([flag, value]) => [flag, String(value)]),
    );
    return { given, positionals };
  } catch (error) {
    throw new KerntapError('start.option', `${(error as Error).message.split('. ')[0]}.`);
  }
}

function defaultDataDir(env: NodeJS.ProcessEnv): string {
  if (process.getuid?.() === 0) return '/var/lib/kerntap';
  return join(env.XDG_STATE_HOME ?? join(homedir(), '.local/state'), 'kerntap');
}

/** The options as a help text, one or two lines each. */
export function renderOptions(): string {
  const rows = Object.entries<Option>(OPTIONS).map(([flag, { value, help, preset }]) => {
    const shown = preset === undefined || preset === '' || preset === 'false' ? '' : ` (default ${preset})`;
    return [`--${flag}${value === undefined ? '' : ` ${value}`}`, `${help}${shown}`] as const;
  });
  const width = Math.max(...rows.map(([flag]) => flag.length));
  return rows.map(([flag, help]) => `  ${flag.padEnd(width)}  ${help}`).join('\n');
}
