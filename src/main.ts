#!/usr/bin/env node
import { runCli } from './cli/index.ts';
import { createTerminal } from './cli/terminal.ts';

// A reader of our output that went away, such as `head` or a closed terminal, is no fault.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
  });

process.exitCode = await runCli(process.argv.slice(2), createTerminal(process.stdout, process.stderr));
