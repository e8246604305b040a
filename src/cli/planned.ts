/** What the full command line will have and this version has not: asked for, it ends with exit code 2 and says so. */
import type { Command } from 'commander';
import { Option } from 'commander';
import { FltacError } from '../errors.js';

/** Commands by name, each with what there is in its place. */
export const PLANNED_COMMANDS = {
  report: "a run's folder has its numbers in metrics.jsonl and cluster_assignments.jsonl",
  export: "train leaves each task's adapter as a PEFT directory in the run's folder, under final/",
} as const;

/** Flags of train by name, each with what there is in its place. */
export const PLANNED_TRAIN_FLAGS = {
  resume:
    'a run starts anew, in another --output-dir or with --overwrite; saved rounds stay usable with fltac evaluate',
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

/** Adds the planned flags to train, hidden from help; `refusePlannedFlags` answers them. */
export function addPlannedFlags(train: Command): void {
  for (const name of Object.keys(PLANNED_TRAIN_FLAGS)) {
    train.addOption(new Option(`--${name} [value]`).hideHelp());
  }
}

/** @throws FltacError USAGE for a planned flag among the options that train was given */
export function refusePlannedFlags(options: object): void {
  for (const [name, instead] of Object.entries(PLANNED_TRAIN_FLAGS)) {
    if (name in options) throw notYet(`--${name}`, instead);
  }
}

function notYet(what: string, instead: string): FltacError {
  return new FltacError('USAGE', `${what} is not in this version yet; what there is: ${instead}`);
}
