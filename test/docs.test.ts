import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { renderReference } from '../scripts/reference.ts';
import { COMMANDS } from '../src/cli/index.ts';
import { environmentName, OPTION_NAMES } from '../src/config.ts';
import { ERRORS } from '../src/errors.ts';
import { createMetrics } from '../src/http/metrics.ts';
import { createOpenApi } from '../src/http/openapi.ts';
import { TOOLS } from '../src/mcp/tools/index.ts';
import { REASONS } from '../src/render/sentences.ts';
import { projectRoot } from './helpers/machine.ts';

const read = (path: string) => readFileSync(join(projectRoot, path), 'utf8');
const PAGES = globSync(['*.md', 'docs/**/*.md'], { cwd: projectRoot }).sort();
const README = read('README.md');

/** Everything that a pattern's first group finds in a text, each once, sorted. */
const allIn = (text: string, pattern: RegExp): string[] =>
  [...new Set(Array.from(text.matchAll(pattern), ([, found = '']) => found))].sort();

/** What the pages say and is not known, as `page: word`. */
const unknownIn = (pages: readonly string[], pattern: RegExp, known: readonly string[]): string[] =>
  pages.flatMap((page) =>
    allIn(read(page), pattern)
      .filter((word) => !known.includes(word))
      .map((word) => `${page}: ${word}`),
  );

describe('the generated pages', () => {
  test.each([...renderReference()])('docs/reference/%s is what `npm run reference` writes', (name, text) => {
    expect(read(`docs/reference/${name}`), 'run: npm run reference').toBe(text);
  });

  test('are all there are', () => {
    const there = globSync('*', { cwd: join(projectRoot, 'docs/reference') });
    expect(there.sort()).toEqual([...renderReference().keys()].sort());
  });
});

describe('links', () => {
  const LINK = /\]\((?!\w+:)([^)\s]+)\)/g;
  const withoutCode = (text: string) => text.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, 'code');

  /** As GitHub names headings: lower case, without punctuation, dashes for spaces. */
  const anchorsOf = (path: string): string[] =>
    allIn(read(path).replace(/^```[\s\S]*?^```/gm, ''), /^#+ (.*)$/gm).map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    );

  test.each(PAGES)('of %s lead somewhere', (page) => {
    const lost = allIn(withoutCode(read(page)), LINK).filter((link) => {
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? page : join(dirname(page), file);
      return !existsSync(join(projectRoot, target)) || (anchor !== undefined && !anchorsOf(target).includes(anchor));
    });
    expect(lost).toEqual([]);
  });

  test('from the README reach every page', () => {
    const reached = new Set(['README.md', 'CHANGELOG.md']);
    const follow = (page: string) => {
      for (const link of allIn(withoutCode(read(page)), LINK)) {
        const target = join(dirname(page), link.replace(/#.*/, ''));
        if (!target.endsWith('.md') || reached.has(target) || !existsSync(join(projectRoot, target))) continue;
        reached.add(target);
        follow(target);
      }
    };
    follow('README.md');
    expect(PAGES.filter((page) => !reached.has(page))).toEqual([]);
  });
});

describe('names', () => {
  test('of tools in the README are those that clients list, in their order', () => {
    const [, table = ''] = /^## The tools\n([\s\S]*?)^## /m.exec(README) ?? [];
    const named = Array.from(table.matchAll(/^\| `(\w+)` \|/gm), ([, name]) => name);
    expect(named).toEqual(TOOLS.map(({ name }) => name));
  });

  test('of options exist', () => {
    const own = COMMANDS.flatMap((command) => Object.keys(command.own ?? {}));
    const client = ['transport', 'server-url', 'name'];
    const setpriv = [
      'nnp',
      'pdeathsig',
      'bounding-set',
      'inh-caps',
      'seccomp-filter',
      'landlock-access',
      'landlock-rule',
      'memlock',
    ];
    const bpftrace = ['traceable-functions', 'unsafe', 'info', 'mode', 'dry-run'];
    const known = [...OPTION_NAMES, ...own, 'help', ...client, ...setpriv, ...bpftrace];
    expect(unknownIn(PAGES, /(?<![\w-])--([a-z][a-z-]+)/g, known)).toEqual([]);
  });

  test('of environment variables exist', () => {
    const known = [...OPTION_NAMES.map(environmentName), 'KERNTAP_TOKEN', 'KERNTAP_DEBUG'];
    expect(unknownIn(PAGES, /\b(KERNTAP_[A-Z_]+)\b/g, known)).toEqual([]);
  });

  test('of errors exist', () => {
    const areas = [...new Set(Object.keys(ERRORS).map((code) => code.split('.')[0]))].join('|');
    const code = new RegExp(`\`((?:${areas})\\.(?!ts\\b)[a-z_]+)\``, 'g');
    expect(unknownIn(PAGES, code, Object.keys(ERRORS))).toEqual([]);
  });

  test('of npm scripts exist', () => {
    const { scripts } = JSON.parse(read('package.json'));
    expect(unknownIn(PAGES, /\bnpm run (?:-s )?([\w-]+)/g, Object.keys(scripts))).toEqual([]);
  });

  test('of commands exist', () => {
    const known = COMMANDS.map(({ name }) => name);
    expect(unknownIn(PAGES, /(?:`|\$ )kerntap (?!COMMAND)([\w-]+)/g, known)).toEqual([]);
  });
});

describe('tables', () => {
  /** The words in the first cells of all tables of a page. */
  const firstColumn = (page: string): string[] => {
    const cells = allIn(read(page), /^\| (`.*?) \|/gm);
    return cells.flatMap((cell) => allIn(cell, /`([^`]+)`/g)).sort();
  };

  test('docs/answers.md explains every reason', () => {
    expect(firstColumn('docs/answers.md')).toEqual(expect.arrayContaining(Object.keys(REASONS)));
  });

  test('docs/operations.md explains every metric', async () => {
    const metrics = createMetrics({ version: '0' });
    metrics.watch({ slots: () => ({ taken: 0, total: 0 }), store: () => ({ runs: 0, bytes: 0, maxBytes: 0 }) });
    const types = await (await metrics.routes.request('/metrics')).text();
    const names = Array.from(types.matchAll(/^# TYPE (\w+) (\w+)$/gm), ([, name, type]) =>
      type === 'counter' ? `${name}_total` : name,
    );
    const explained = firstColumn('docs/operations.md').filter((name) => name.startsWith('kerntap_'));
    expect(explained).toEqual(names.sort());
  });

  test('docs/http-api.md names every request', () => {
    const requests = Object.entries(createOpenApi('0').paths ?? {}).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(firstColumn('docs/http-api.md')).toEqual(requests.sort());
  });
});
