/** What the full command line will have and this version has not: asked for, it ends with exit code 2 and says so. */
import type { Command } from 'commander';
import { FltacError } from '../errors.js';

/** Commands by name, each with what there is in its place. */
export const PLANNED_COMMANDS = {
  verify: 'fltac evaluate computes the metric of a saved round anew',
} as const;

/** Adds the planned commands, hidden from help and from suggestions. */
export function addPlanned(program: Command): void {
  for (const [name, instead] of Object.entries(PLANNED_COMMANDS)) {
    program
      .command(name, { hidden: true })
      .helpOption(false)
      .allowUnknownOption()
      .allowExcessArguments()
      .action(() => {
        throw notYet(`fltac ${name}`, instead);
      });
  }
}

function notYet(what: string, instead: string): FltacError {
  return new FltacError('USAGE', `${what} is not in this version yet; what there is: ${instead}`);
}
