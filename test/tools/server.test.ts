import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { createMcpHandler } from '@modelcontextprotocol/server';
import { describe, expect, test } from 'vitest';
import type { CallContext, Caller } from '../../src/trace/ports.ts';
import { recordOf } from '../render/records.ts';
import { connect, createFactory } from './connect.ts';
import { createFakeNode } from './fake-node.ts';

const PROGRAM = 'begin { exit(); }';

describe('arguments', () => {
  test.each([
    [
      'exec_program',
      { program: PROGRAM, duration_s: 5 },
      'unknown argument "duration_s". Expected: program, target, timeout, unscoped, control, check, rows, wait, format.',
    ],
    ['exec_program', { program: PROGRAM, timeout: 'x' }, 'timeout is "x". Expected: timeout a number from 1 to 600.'],
    ['exec_program', { program: PROGRAM, timeout: 0 }, 'timeout is 0. Expected: timeout a number from 1 to 600.'],
    ['exec_program', { program: PROGRAM, timeout: -1 }, 'timeout is -1. Expected: timeout a number from 1 to 600.'],
    ['exec_program', { program: PROGRAM, timeout: 601 }, 'timeout is 601. Expected: timeout a number from 1 to 600.'],
    ['exec_program', {}, 'program is missing. Expected: program text.'],
    [
      'exec_program',
      { program: PROGRAM, rows: 1.5, wait: 'no' },
      'rows is 1.5, wait is "no". Expected: rows an integer from 1 to 500; wait true or false.',
    ],
    ['exec_program', { program: PROGRAM, format: 'csv' }, 'format is "csv". Expected: format one of table, json.'],
    ['get_result', { run_id: 'x'.repeat(400) }, 'Expected: run_id text of 0 to 300 characters.'],
    ['get_result', {}, 'run_id is missing. Pass the run_id of an earlier answer'],
    ['manage_runs', { action: 'stop' }, 'run_id is missing: action "stop" needs it.'],
    ['manage_runs', { action: 'rename', run_id: 'a' }, 'name is missing: action "rename" needs it.'],
    ['list_probes', { filter: '', limit: 101 }, 'filter is "", limit is 101.'],
    ['bpf_info', { refresh: '\u202e' }, 'refresh is "\\u{202e}". Expected: refresh true or false.'],
  ])('%s %j is answered with what is wrong and what was expected', async (name, args, said) => {
    const { node, asked } = createFakeNode();
    await using server = await connect(node);
    const answer = await server.call(name, args);
    expect(answer.isError).toBe(true);
    expect(answer.text).toMatch(/^argument\.invalid: /);
    expect(answer.text).toContain(said);
    expect(answer.text.length).toBeLessThan(480);
    expect(asked).toEqual([]);
  });
});

describe('errors', () => {
  test('of ours are told with their code and remedy', async () => {
    await using server = await connect(createFakeNode().node);
    const answer = await server.call('exec_program', { program: '' });
    expect(answer.isError).toBe(true);
    expect(answer.text).toMatch(/^program\.empty: The program is empty\. Send a program such as: .*\.$/);
  });

  test('of others are logged under a request id, and only that id is told', async () => {
    await using server = await connect(createFakeNode().node);
    const answer = await server.call('exec_program', { program: 'crash' });
    const request = /request ([0-9a-f]{8})\./.exec(answer.text)?.[1];
    expect(answer).toMatchObject({
      isError: true,
      text: `internal: The server failed at exec_program, request ${request}. See the log of the server under this request id.`,
    });
    const line = server.lines.find((logged) => logged.includes('tool.failed')) ?? '';
    expect(JSON.parse(line)).toMatchObject({ level: 'error', request, tool: 'exec_program' });
    expect(line).toContain('ENOENT /var/lib/secret/token');
  });

  test('leave no program text in the log', async () => {
    await using server = await connect(createFakeNode({ next: recordOf() }).node);
    await server.call('exec_program', { program: 'begin { print("in the program"); }' });
    expect(server.lines.join('')).toContain('tool.called');
    expect(server.lines.join('')).not.toContain('in the program');
  });
});

describe('the caller', () => {
  const caller: Caller = { name: 'ci', source: 'token', tiers: ['node'], namespaces: ['*'] };

  async function callOverHttp(extra: Record<string, unknown>) {
    const { node, asked } = createFakeNode();
    const handler = createMcpHandler(createFactory(node).factory);
    const authInfo = { token: '', clientId: 'x', scopes: [], expiresAt: Date.now() / 1_000 + 60, extra };
    const client = new Client({ name: 'test', version: '0' }, { versionNegotiation: { mode: 'auto' } });
    const fetch = (url: string | URL, init?: RequestInit) => handler.fetch(new Request(url, init), { authInfo });
    await client.connect(new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), { fetch }));
    const { content } = await client.callTool({ name: 'bpf_info' });
    await client.close();
    return { asked, text: JSON.stringify(content) };
  }

  test('is the one of the request', async () => {
    const { asked } = await callOverHttp({ caller });
    expect(asked.map(({ call }) => call.caller)).toEqual([caller]);
  });

  test('is nobody for a request over HTTP without one', async () => {
    const { asked, text } = await callOverHttp({});
    expect(text).toContain('access.unauthenticated');
    expect(asked).toEqual([]);
  });

  test('is the local one over stdio', async () => {
    const { node, asked } = createFakeNode();
    await using server = await connect(node);
    await server.call('bpf_info');
    expect(asked[0]?.call.caller).toMatchObject({ name: 'local', source: 'local', tiers: ['pod', 'node'] });
  });
});

describe('a call that is given up', () => {
  /** Resolves with the reason for which the call of a waiting run was aborted. */
  async function reasonWhen(giveUp: (server: Awaited<ReturnType<typeof connect>>, abort: AbortController) => void) {
    const { node, whileRunning } = createFakeNode({ next: recordOf() });
    const server = await connect(node);
    const abort = new AbortController();
    const reason = new Promise<unknown>((resolve) => {
      whileRunning(async ({ signal }: CallContext) => {
        const aborted = new Promise<void>((done) => signal.addEventListener('abort', () => done()));
        giveUp(server, abort);
        await aborted;
        resolve(signal.reason);
      });
    });
    const answer = server.call('exec_program', { program: PROGRAM }, abort.signal);
    await expect(answer).rejects.toThrow();
    return reason;
  }

  test('is aborted as cancelled when its client cancels it', async () => {
    expect(await reasonWhen((_server, abort) => abort.abort('changed my mind'))).toBe('cancelled');
  });

  test('is aborted as client_gone when the connection ends', async () => {
    expect(await reasonWhen(({ client }) => void client.close())).toBe('client_gone');
  });
});
