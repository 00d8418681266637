import { createHash, timingSafeEqual } from 'node:crypto';
import { type FileHandle, open, stat } from 'node:fs/promises';
import * as z from 'zod';
import { KerntapError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Tier } from '../trace/ports.ts';

/** One line of the token file: who holds the token with this SHA-256, and what it is good for. */
export interface TokenEntry {
  readonly name: string;
  readonly sha256: Buffer;
  readonly namespaces: readonly string[];
  readonly tiers: readonly Tier[];
  readonly payload: boolean;
  readonly notAfterMs: number | undefined;
}

const Entry = z
  .strictObject({
    // Runs belong to a name, so that nobody may be called like the caller of the loopback listener.
    name: z
      .string()
      .regex(/^[\w.@:-]{1,100}$/, 'must be 1 to 100 of letters, digits and . @ : _ -')
      .refine((name) => name !== 'local', 'is reserved'),
    sha256: z.string().regex(/^[0-9a-f]{64}$/i, 'must be 64 hexadecimal digits (printf %s TOKEN | sha256sum)'),
    namespaces: z.array(z.string().min(1)),
    tiers: z.array(z.enum(['pod', 'node'])),
    payload: z.boolean().default(false),
    notAfter: z.iso.datetime({ offset: true }).optional(),
  })
  .transform(
    ({ sha256, notAfter, ...same }): TokenEntry => ({
      ...same,
      sha256: Buffer.from(sha256, 'hex'),
      notAfterMs: notAfter === undefined ? undefined : Date.parse(notAfter),
    }),
  );

/** Reads a JSON array of entries, or one entry a line. Throws `start.option` with the place. */
export function parseTokenFile(text: string): readonly TokenEntry[] {
  const rows: (readonly [place: string, json: unknown])[] = text.trimStart().startsWith('[')
    ? asList(parseJson(text, 'it')).map((json, index) => [`entry ${index + 1}`, json])
    : text.split('\n').flatMap((line, index) => {
        const place = `line ${index + 1}`;
        return line.trim() === '' ? [] : [[place, parseJson(line, place)] as const];
      });
  const entries = rows.map(([place, json]) => {
    const parsed = Entry.safeParse(json);
    if (parsed.success) return parsed.data;
    const why = parsed.error.issues.map(({ path, message }) => [path.join('.'), message].join(' ').trim());
    throw refused(`${place}: ${why.join('; ')}`);
  });
  if (entries.length === 0) throw refused('it has no entry');
  return entries;
}

const asList = (json: unknown): readonly unknown[] => (Array.isArray(json) ? json : []);

function parseJson(text: string, place: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw refused(`${place} is no JSON`); // the parser's own message would quote the file
  }
}

const refused = (why: string): KerntapError =>
  new KerntapError('start.option', `The token file cannot be used: ${why}.`, {
    remedy: 'give --token-file a file of {"name", "sha256", "namespaces", "tiers"}, readable by its owner only',
  });

/** The entries of a token file and the version of the file that they are from. */
interface Loaded {
  readonly entries: readonly TokenEntry[];
  readonly version: string;
}

/** Reads the file by one handle, so that what was checked is what is read. Throws `start.option`. */
async function load(path: string): Promise<Loaded> {
  let file: FileHandle;
  try {
    file = await open(path);
  } catch (error) {
    throw refused(`${path} cannot be opened (${(error as NodeJS.ErrnoException).code})`);
  }
  await using handle = file;
  const facts = await handle.stat({ bigint: true });
  if (!facts.isFile()) throw refused(`${path} is no file`);
  const mode = Number(facts.mode & 0o777n);
  if ((mode & 0o026) !== 0)
    throw refused(`${path} has mode 0${mode.toString(8)}; group and others must not write it, others must not read it`);
  return { entries: parseTokenFile(await handle.readFile('utf8')), version: versionOf(facts) };
}

const versionOf = (facts: { ino: bigint; dev: bigint; size: bigint; mtimeNs: bigint; ctimeNs: bigint }): string =>
  [facts.dev, facts.ino, facts.size, facts.mtimeNs, facts.ctimeNs].join(':');

export interface TokenFile {
  /** The entry whose token this is; undefined for a token that nobody holds. */
  find(token: string): Promise<TokenEntry | undefined>;
}

/**
 * Opens the token file and follows its changes, looking at most every `recheckMs`. A version that cannot be used lets
 * nobody in until it is mended: an old version that stays in force would keep alive what the new one was to revoke.
 * Throws `start.option` when the first version cannot be used.
 */
export async function openTokenFile(path: string, log: Log, recheckMs: number): Promise<TokenFile> {
  let loaded = await load(path);
  let lookedMs = performance.now();
  let looking: Promise<void> | undefined;

  async function look(): Promise<void> {
    const version = await stat(path, { bigint: true }).then(versionOf, () => 'absent');
    if (version === loaded.version) return;
    try {
      loaded = await load(path);
      log.info('access.token_file', { entries: loaded.entries.length });
    } catch (error) {
      loaded = { entries: [], version };
      log.error('access.token_file', error);
    }
  }

  return {
    async find(token) {
      if (performance.now() - lookedMs >= recheckMs) {
        looking ??= look().finally(() => {
          lookedMs = performance.now();
          looking = undefined;
        });
        await looking;
      }
      const digest = createHash('sha256').update(token).digest();
      // Every entry is compared, each in constant time: the time tells nothing of the entries.
      return loaded.entries.reduce<TokenEntry | undefined>(
        (found, entry) => (timingSafeEqual(entry.sha256, digest) ? entry : found),
        undefined,
      );
    },
  };
}
