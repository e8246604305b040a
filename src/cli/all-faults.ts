/** A command line's faults, told all at once as those of a configuration are; commander itself stops at the first. */
import type { Command } from 'commander';
import { throwFaults, type Fault } from '../config/faults.js';
import { didYouMean } from '../suggest.js';
import { gatherValues, pathOf } from './arguments.js';
import { takesConfig } from './config-options.js';

/** Has all commands below `program` tell all faults at once; those that take a configuration do so themselves. */
export function tellAllFaults(program: Command): void {
  for (const command of program.commands) {
    if (command.commands.length > 0) tellAllFaults(command);
    else if (!takesConfig(command)) gatherFaults(command);
  }
}

function gatherFaults(command: Command): void {
  const faults = gatherValues(command);
  const needed = command.options.filter((option) => option.mandatory);
  for (const option of needed) option.makeOptionMandatory(false);
  command.allowUnknownOption().allowExcessArguments();
  command.hook('preAction', () => {
    const given = command.opts<Record<string, unknown>>();
    const absent = needed.filter((option) => given[option.attributeName()] === undefined);
    throwFaults(
      [
        ...strangers(command),
        ...faults.splice(0),
        ...absent.map(({ flags }) => ({ origin: flags, message: 'is missing, and is needed' })),
      ],
      `The flags: ${pathOf(command)} --help`,
    );
  });
}

/** Unknown flags, without the words after them that look like their values, and words beyond the arguments. */
function strangers(command: Command): Fault[] {
  const { args } = command;
  const flags = args.filter((word) => word.startsWith('-'));
  const words = args.filter((word, i) => !word.startsWith('-') && !/^-[^=]*$/.test(args[i - 1] ?? ''));
  const { registeredArguments } = command;
  const most = registeredArguments.some(({ variadic }) => variadic) ? Infinity : registeredArguments.length;
  const known = command.options.flatMap(({ long, hidden }) => (long === undefined || hidden ? [] : long));
  return [
    ...flags
      .map((word) => word.replace(/=.*$/s, ''))
      .map((origin) => ({
        origin,
        message: `is not a flag of this command${didYouMean(origin, known)}`,
      })),
    ...words.slice(most).map((origin) => ({ origin, message: 'is not expected here' })),
  ];
}
