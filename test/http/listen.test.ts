import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { KerntapError } from '../../src/errors.ts';
import { listen } from '../../src/http/listen.ts';
import { rawSocket } from '../helpers/http.ts';
import { until } from '../helpers/until.ts';

const anyPort = { host: '127.0.0.1', port: 0 };
const hello = new Hono().get('/', (c) => c.text('hello'));

describe('a listener', () => {
  it('says in one sentence that its port is taken', async () => {
    const first = await listen(hello, anyPort);
    const second = listen(hello, { host: '127.0.0.1', port: first.port });
    await expect(second).rejects.toThrow(
      new KerntapError('start.port', `Cannot listen on 127.0.0.1:${first.port}: it is taken.`),
    );
    await first.close(0);
  });

  it('says that the machine has no such address', async () => {
    await expect(listen(hello, { host: '192.0.2.1', port: 0 })).rejects.toMatchObject({ code: 'start.port' });
  });

  it('closes at once when nobody waits for an answer, idle connections or not', async () => {
    const listener = await listen(hello, anyPort);
    await (await fetch(listener.url)).text();
    using idle = rawSocket(listener.port, ['GET / HTTP/1.1', 'Host: localhost']);
    await until(() => idle.text().includes('hello'), 'the answer');
    await listener.close(60_000);
    await until(() => idle.socket.destroyed || idle.socket.readableEnded, 'the idle connection is ended');
    await expect(fetch(listener.url)).rejects.toThrow();
  });

  it('lets an answer under way end, and cuts one that does not', async () => {
    const gate = Promise.withResolvers<void>();
    const app = new Hono()
      .get('/slow', async (c) => {
        await gate.promise;
        return c.text('at last');
      })
      .get('/never', () => new Promise<Response>(() => {}));

    const patient = await listen(app, anyPort);
    const slow = fetch(`${patient.url}/slow`);
    await until(() => true, 'the request is sent');
    using never = rawSocket(patient.port, ['GET /never HTTP/1.1', 'Host: localhost']);
    await new Promise((resolve) => never.socket.once('connect', resolve));
    await new Promise((resolve) => setTimeout(resolve, 200));
    const closing = patient.close(1_500);
    gate.resolve();
    expect(await (await slow).text()).toBe('at last');
    await closing;
    await until(() => never.socket.destroyed, 'what does not end is cut');
  });

  it('answers what is no request with 400, and closes what is one connection too many', async () => {
    const listener = await listen(hello, anyPort);
    using broken = rawSocket(listener.port, ['GET / HTTP/1.1', 'Host: a b']);
    await until(() => broken.text().startsWith('HTTP/1.1 400 '), 'the refusal');
    const sockets = Array.from({ length: 520 }, () => rawSocket(listener.port, ['GET / HTTP/1.1', 'Host: localhost']));
    const served = () => sockets.filter((it) => it.text().includes('hello')).length;
    await until(() => served() === 511 && sockets.filter((it) => it.socket.destroyed).length === 9, '512 are served');
    for (const it of sockets) it.socket.destroy();
    await listener.close(0);
  });

  it('refuses headers that are too long with 431', async () => {
    const listener = await listen(hello, anyPort);
    const response = await fetch(listener.url, { headers: { 'x-long': 'x'.repeat(17_000) } });
    expect(response.status).toBe(431);
    await listener.close(0);
  });

  it('ends a connection that does not get its headers together, and goes on streaming to others', async () => {
    const app = new Hono().get('/stream', () => {
      let timer: NodeJS.Timeout;
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          timer = setInterval(() => controller.enqueue(Buffer.from('tick\n')), 500);
        },
        cancel: () => clearInterval(timer),
      });
      return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
    });
    const listener = await listen(app, anyPort);
    using slow = rawSocket(listener.port, [], 'GET /stream HTTP/1.1\r\nHost: local');
    using stream = rawSocket(listener.port, ['GET /stream HTTP/1.1', 'Host: localhost']);
    await until(() => slow.socket.destroyed, 'the slow one is closed', 30_000);
    expect(slow.text()).toMatch(/^HTTP\/1.1 408 /);
    const received = stream.text().length;
    await until(() => stream.text().length > received, 'the stream goes on');
    await listener.close(0);
  }, 40_000);
});
