import { environmentName, parseCommandLine, renderOptions } from '../config.ts';
import { ERRORS, KerntapError, remedySentence } from '../errors.ts';
import { escapeText } from '../render/escape.ts';
import { check } from './check.ts';
import { type Command, EX_CONFIG } from './commands.ts';
import { run } from './run.ts';
import { serve } from './serve.ts';
import { setup } from './setup.ts';
import { stdio } from './stdio.ts';
import { targets } from './targets.ts';
import type { Terminal } from './terminal.ts';
import { version } from './version.ts';

export const COMMANDS: readonly Command[] = [serve, run, targets, check, stdio, setup, version];

const isHelp = (word: string | undefined): boolean => word === '--help' || word === '-h' || word === 'help';
const commandOf = (word: string | undefined): Command | undefined =>
  COMMANDS.find(({ name }) => name === (word === '--version' ? 'version' : word));

/** Runs one command and answers with its exit code. What goes wrong is one sentence with a remedy, never a stack. */
export async function runCli(args: readonly string[], terminal: Terminal): Promise<number> {
  const [word, ...rest] = args;
  const command = commandOf(word);
  try {
    if (word === undefined || isHelp(word)) terminal.out(help(terminal, commandOf(rest[0])));
    else if (!command) throw unknownCommand(word);
    else if (rest.includes('--help') || rest.includes('-h')) terminal.out(help(terminal, command));
    else return await command.run(parseCommandLine(rest, process.env, command), terminal);
    return 0;
  } catch (error) {
    return tell(error, terminal, command);
  }
}

function unknownCommand(word: string): KerntapError {
  const known = COMMANDS.map(({ name }) => name).join(', ');
  return new KerntapError('start.option', `There is no command ${JSON.stringify(word)}; there are: ${known}.`);
}

function tell(error: unknown, terminal: Terminal, command: Command | undefined): number {
  const say = (text: string) => terminal.err(`${terminal.styleErr(['bold', 'red'], 'kerntap:')} ${escapeText(text)}`);
  if (!(error instanceof KerntapError)) {
    say(`something unforeseen happened: ${error instanceof Error ? error.message : String(error)}.`);
    if (process.env.KERNTAP_DEBUG && error instanceof Error) terminal.err(error.stack ?? '');
    return 1;
  }
  const general = command && error.remedy === ERRORS['start.option'].remedy;
  const remedy = general ? `see kerntap ${command.name} --help` : error.remedy;
  say(`${error.message} ${remedySentence(remedy)}`);
  return error.code.startsWith('start.') ? EX_CONFIG : 1;
}

function help(terminal: Terminal, command: Command | undefined): string {
  const bold = (text: string) => terminal.style('bold', text);
  if (command) {
    const { name, usage, summary, notes = [], options } = command;
    const [first] = options;
    return [
      `${bold('usage:')} kerntap ${name} ${usage}`.trimEnd(),
      '',
      `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`,
      ...notes,
      ...(usage === '' ? [] : ['', bold('options'), renderOptions(command)]),
      ...(first === undefined
        ? []
        : ['', `--${first} and what stands below it may be in the environment, as ${environmentName(first)}.`]),
    ].join('\n');
  }
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  return [
    `${bold('kerntap')} asks the Linux kernel about what runs here, for an AI agent or a person.`,
    '',
    `${bold('usage:')} kerntap COMMAND [options]`,
    '',
    bold('commands'),
    ...COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    '',
    'kerntap COMMAND --help tells what a command takes.',
  ].join('\n');
}
