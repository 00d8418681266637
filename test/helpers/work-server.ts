import { startServer, tokenAccess } from './http.ts';
import { createWorkTools } from './work-tools.ts';

/** Run as a program, so that a test can watch the memory of a server that is nothing else. Ends with its stdin. */
await using server = await startServer({
  ...createWorkTools(),
  access: tokenAccess(['ann']),
  authentication: 'bearer',
});
process.stdout.write(`${server.port}\n`);
await new Promise((resolve) => process.stdin.on('end', resolve).resume());
