import { existsSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import * as z from 'zod';
import { KerntapError } from './errors.ts';
import { nodeNameOf } from './ids.ts';

/** Where a listener stands. */
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
const YesNo = z.enum(['true', 'false', '1', '0']).transform((text) => text === 'true' || text === '1');

/** A flag as the help shows it. */
interface Flag {
  /** What stands after the flag; absent for one that takes no value. */
  readonly value?: string;
  readonly help: string;
  /** The value that it has when nobody gives one. */
  readonly preset?: string;
}

interface Option extends Flag {
  readonly schema: z.ZodType<unknown, string>;
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
    help: 'where runs are kept (default as root: /var/lib/kerntap)',
  },
  'node-name': {
    schema: z.string().min(1).transform(nodeNameOf),
    value: 'NAME',
    help: 'first part of every run id (default: the host name)',
  },
  'host-root': {
    schema: z.string().regex(/^(?:\/.*[^/])?$/, 'must be an absolute path without a slash at its end'),
    value: 'DIR',
    preset: '',
    help: "where the host's /proc and cgroups are mounted (default: /)",
  },
  'cri-sockets': {
    schema: List,
    value: 'PATH,…',
    preset: '',
    help: 'sockets of CRI runtimes (default: where they usually are)',
  },
  'docker-socket': {
    schema: z.string().min(1),
    value: 'PATH',
    help: 'socket of the Docker daemon (default: /var/run/docker.sock)',
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
    schema: YesNo,
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
    help: 'web pages that may call the server, by host name (default none)',
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
    help: 'start one bpftrace ahead, to attach the next run sooner',
  },
} as const satisfies Record<string, Option>;

export type OptionName = keyof typeof OPTIONS;
export const OPTION_NAMES = Object.keys(OPTIONS) as readonly OptionName[];

type Options = typeof OPTIONS;
type Camel<T extends string> = T extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : T;
type Values = { readonly [K in OptionName as Camel<K>]: z.output<Options[K]['schema']> | Absent<Options[K]> };
type Absent<T> = T extends { preset: string } ? never : undefined;

/** Every option with its value; `dataDir` and `nodeName` have theirs from the machine when nobody gave them. */
export interface Config extends Omit<Values, 'dataDir' | 'nodeName'> {
  readonly dataDir: string;
  readonly nodeName: string;
  /** True inside a pod, where a forwarded port makes everybody look like the loopback caller. */
  readonly inKubernetes: boolean;
}

/** A flag of one command alone: it has no environment variable and is no part of `Config`. */
export interface OwnFlag extends Flag {
  readonly short?: string;
}

/** What a command takes. Options that it does not take keep their presets. */
export interface Accepted {
  readonly options: readonly OptionName[];
  readonly own?: Readonly<Record<string, OwnFlag>>;
  /** True for a command that takes more than flags. */
  readonly positionals?: boolean;
}

export interface CommandLine {
  readonly config: Config;
  /** The flags that were given; one without a value is `true`. */
  readonly given: Readonly<Record<string, string | undefined>>;
  readonly positionals: readonly string[];
}

/** Reads a command line: it wins over the environment, which wins over the presets. Throws `start.option`. */
export function parseCommandLine(args: readonly string[], env: NodeJS.ProcessEnv, accepted: Accepted): CommandLine {
  const { given, positionals } = parseFlags(args, accepted);
  const [stray] = positionals;
  if (stray !== undefined && !accepted.positionals) throw strayArgument(stray, env);
  const values: Record<string, unknown> = {};
  for (const [flag, option] of Object.entries<Option>(OPTIONS)) {
    const taken = accepted.options.some((name) => name === flag);
    const text = (taken ? (given[flag] ?? env[environmentName(flag)]) : undefined) ?? option.preset;
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
  return { config, given, positionals };
}

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

const camel = (flag: string): string => flag.replace(/-([a-z])/g, (_dash, letter: string) => letter.toUpperCase());
/** `data-dir` as `KERNTAP_DATA_DIR`. */
export const environmentName = (flag: string): string => `KERNTAP_${flag.replaceAll('-', '_').toUpperCase()}`;

/** The rows of the help: own flags first, since they are what the command is about. */
const flagsOf = ({ options, own = {} }: Accepted): readonly (readonly [flag: string, row: OwnFlag])[] => [
  ...Object.entries(own),
  ...options.map((name) => [name, OPTIONS[name] as Flag] as const),
];

function parseFlags(args: readonly string[], accepted: Accepted) {
  const options = flagsOf(accepted).map(([flag, { value, short }]) => {
    const type = value === undefined ? 'boolean' : 'string';
    return [flag, { type, ...(short !== undefined && { short }) }] as const;
  });
  try {
    const parsed = parseArgs({ args: [...args], options: Object.fromEntries(options), allowPositionals: true });
    const given = Object.entries(parsed.values).map(([flag, value]) => [flag, String(value)] as const);
    return { given: Object.fromEntries<string | undefined>(given), positionals: parsed.positionals };
  } catch (error) {
    // Node's first sentence names the flag; what follows it explains Node's own conventions.
    throw new KerntapError('start.option', `${(error as Error).message.split(/\.\s/)[0]?.replace(/\.$/, '')}.`);
  }
}

// npm keeps `--listen` for itself and passes its value alone unless `--` stands before it.
function strayArgument(stray: string, { npm_lifecycle_event: script }: NodeJS.ProcessEnv): KerntapError {
  const remedy = script === 'start' && { remedy: `write: npm start -- --listen ${stray}` };
  return new KerntapError('start.option', `${JSON.stringify(stray)} belongs to no option.`, { ...remedy });
}

function defaultDataDir(env: NodeJS.ProcessEnv): string {
  if (process.getuid?.() === 0) return '/var/lib/kerntap';
  return join(env.XDG_STATE_HOME || join(homedir(), '.local/state'), 'kerntap');
}

/** What a command takes as a help text, a line each. */
export function renderOptions(accepted: Accepted): string {
  const rows = flagsOf(accepted).map(([flag, { value, help, preset, short }]) => {
    const shown = preset === undefined || preset === '' || preset === 'false' ? '' : ` (default ${preset})`;
    const name = `${short === undefined ? '' : `-${short}, `}--${flag}${value === undefined ? '' : ` ${value}`}`;
    return [name, `${help}${shown}`] as const;
  });
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, help]) => `  ${name.padEnd(width)}  ${help}`).join('\n');
}
