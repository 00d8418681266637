import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface ListeningSocket extends AsyncDisposable {
  readonly path: string;
}

/** Lets a server, of whatever protocol, listen at a unix socket in a folder of its own. Disposing cuts its connections. */
export async function listenAtSocket(server: Server): Promise<ListeningSocket> {
  const folder = mkdtempSync(join(tmpdir(), 'kerntap-socket-'));
  const path = join(folder, 'runtime.sock');
  const open = new Set<Socket>();
  server.on('connection', (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket)).on('error', () => {});
  });
  await once(server.listen(path), 'listening');
  return {
    path,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** What a peer does who speaks no protocol at all. */
export const HOSTILE = {
  'never answers': (socket: Socket) => socket.resume(),
  'closes at once': (socket: Socket) => socket.destroy(),
  'closes when it is asked': (socket: Socket) => socket.once('data', () => socket.destroy()),
  'sends rubbish': (socket: Socket) => socket.resume().write(randomBytes(4096)),
} as const;

export const hostileSocket = (behaviour: keyof typeof HOSTILE): Promise<ListeningSocket> =>
  listenAtSocket(createServer(HOSTILE[behaviour]));
