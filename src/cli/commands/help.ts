/** `fltac help`, and `fltac bench help` alike: commander's own passes over a command that there is not. */
import type { Command } from 'commander';
import { didYouMean } from '../../suggest.js';
import { FltacError } from '../../errors.js';

/** Replaces the help command of `command` and of the groups below it. */
export function addHelp(command: Command): void {
  if (command.commands.length === 0) return;
  for (const child of command.commands) addHelp(child);
  command
    .helpCommand(false)
    .command('help')
    .summary('display help for command')
    .argument('[command...]')
    .action((words: string[]) => words.reduce(childOf, command).help());
}

/** @throws FltacError USAGE for a name that it does not have */
function childOf(command: Command, name: string): Command {
  const child = command.commands.find((known) => known.name() === name);
  if (child) return child;
  const names = command.commands.map((known) => known.name());
  throw new FltacError('USAGE', `unknown command '${name}'${didYouMean(name, names)}\nAll commands: fltac --help`);
}
