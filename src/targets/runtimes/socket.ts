import { once } from 'node:events';
import { connect } from 'node:net';

/** Whether a process listens at a unix socket: the file alone may be left over from one that is gone. */
export async function isListening(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch (error) {
    // EAGAIN: it listens and has too much to do (unix(7)).
    return error instanceof Error && 'code' in error && error.code === 'EAGAIN';
  } finally {
    socket.destroy();
  }
}
