import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';
import { rawSocket, tokenOf } from '../helpers/http.ts';
import { until } from '../helpers/until.ts';

const program = new URL('../helpers/work-server.ts', import.meta.url).pathname;

/** A server in a process of its own, whose memory the kernel tells. */
async function startProcess(): Promise<{ port: number; memoryMb(what: 'VmRSS' | 'VmHWM'): number } & AsyncDisposable> {
  const child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return {
    port: Number(line),
    memoryMb(what) {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      return Number(new RegExp(`^${what}:\\s*(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
    },
    async [Symbol.asyncDispose]() {
      const exited = once(child, 'exit');
      child.stdin.end();
      await exited;
    },
  };
}

const chunk = Buffer.concat([Buffer.from('100000\r\n'), Buffer.alloc(1 << 20, '['), Buffer.from('\r\n')]);

it.each([
  ['POST without a token', {}, 401],
  ['POST with a token', tokenOf('ann'), 413],
  ['GET', {}, 405],
])('200 MB in chunks as the body of a %s cost the server less than 50 MB', async (what, headers, status) => {
  await using server = await startProcess();
  const warmUp = await fetch(`http://127.0.0.1:${server.port}/mcp`, { method: 'POST', headers, body: '{}' });
  await warmUp.text();
  const beforeMb = server.memoryMb('VmRSS');

  const head = [
    `${what.split(' ')[0]} /mcp HTTP/1.1`,
    'Host: 127.0.0.1',
    'Content-Type: application/json',
    'Transfer-Encoding: chunked',
  ];
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  using client = rawSocket(server.port, [...head, ...fields]);
  const closed = new Promise((resolve) => client.socket.once('close', resolve));
  for (let sent = 0; sent < 200 && !client.socket.destroyed; sent++) {
    if (!client.socket.write(chunk))
      await Promise.race([new Promise((resolve) => client.socket.once('drain', resolve)), closed]);
  }
  await until(() => client.text().includes(`HTTP/1.1 ${status} `), 'the refusal is read');
  expect(server.memoryMb('VmHWM') - beforeMb).toBeLessThan(50);
});
