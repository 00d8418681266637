import { renderOptions } from '../config.ts';
import { KerntapError } from '../errors.ts';
import { check } from './check.ts';
import type { Command } from './commands.ts';
import { run } from './run.ts';
import { serve } from './serve.ts';
import { setup } from './setup.ts';
import { stdio } from './stdio.ts';
import type { Terminal } from './terminal.ts';
import { version } from './version.ts';

const COMMANDS: readonly Command[] = [serve, run, check, stdio, setup, version];

/** What a start that cannot work exits with: the caller has to change something first (sysexits.h, EX_CONFIG). */
const EX_CONFIG = 78;

/** Runs one command and answers with its exit code. What goes wrong is one sentence with a remedy, never a stack. */
export async function runCli(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help' || rest.includes('--help')) {
    terminal.out(
      help(
        terminal,
        COMMANDS.find((command) => command.name === name),
      ),
    );
    return 0;
  }
  const command = COMMANDS.find((one) => one.name === name || (one === version && name === '--version'));
  try {
    if (!command) {
      const known = COMMANDS.map((one) => one.name).join(', ');
      throw new KerntapError('start.option', `There is no command ${JSON.stringify(name)}; there are: ${known}.`);
    }
    return await command.run(rest, terminal);
  } catch (error) {
    return tell(error, terminal);
  }
}

function tell(error: unknown, terminal: Terminal): number {
  const bold = terminal.styleErr(['bold', 'red'], 'kerntap:');
  if (error instanceof KerntapError) {
    terminal.err(`${bold} ${error.message} ${error.remedy.charAt(0).toUpperCase()}${error.remedy.slice(1)}.`);
    return error.code.startsWith('start.') ? EX_CONFIG : 1;
  }
  terminal.err(`${bold} something unforeseen happened: ${error instanceof Error ? error.message : String(error)}.`);
  if (process.env.KERNTAP_DEBUG && error instanceof Error) terminal.err(error.stack ?? '');
  return 1;
}

function help(terminal: Terminal, only: Command | undefined): string {
  const bold = (text: string) => terminal.style('bold', text);
  if (only)
    return `${bold('usage:')} kerntap ${only.usage}\n\n${only.summary}.\n\n${bold('options')}\n${renderOptions()}`;
  const width = Math.max(...COMMANDS.map(({ usage }) => usage.length));
  const rows = COMMANDS.map(({ usage, summary }) => `  ${usage.padEnd(width)}  ${summary}`);
  return [
    `${bold('kerntap')} asks the Linux kernel about what runs here, for an AI agent or a person.`,
    '',
    bold('commands'),
    ...rows,
    '',
    `${bold('options')} (each also as an environment variable: --data-dir is KERNTAP_DATA_DIR)`,
    renderOptions(),
  ].join('\n');
}
