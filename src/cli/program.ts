/** The command line's shape: one file a command, put together here. */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { tellAllFaults } from './all-faults.js';
import { addBench } from './commands/bench.js';
import { addBuild } from './commands/build.js';
import { addCompare } from './commands/compare.js';
import { addCompletion } from './commands/completion.js';
import { addDoctor } from './commands/doctor.js';
import { addEvaluate } from './commands/evaluate.js';
import { addExport } from './commands/export.js';
import { addGenerate } from './commands/generate.js';
import { addHelp } from './commands/help.js';
import { addJudge } from './commands/judge.js';
import { addParams } from './commands/params.js';
import { addPartition } from './commands/partition.js';
import { addReport } from './commands/report.js';
import { addStudy } from './commands/study.js';
import { addTensorboard } from './commands/tensorboard.js';
import { addTrain } from './commands/train.js';
import { addVerify } from './commands/verify.js';
import type { Io } from './io.js';

const EXAMPLES = `
Examples:
  fltac train                                        the quickstart: offline, about a minute
  fltac train --config configs/glue_bert.yaml        the published GLUE settings
  fltac train --scenario glue --method fedit --rounds 5
  fltac compare                                      methods beside each other, over seeds
  fltac generate results/dolly_fltac                 answers of a trained language model, then: fltac judge
  fltac report results/glue_fltac                    the run as one page to look at
  fltac export results/glue_fltac                    its adapters for PEFT, or merged into the backbone
  fltac verify results/quickstart_fltac              whether a run's files are what the run made
  fltac partition --scenario glue                    who holds how many rows of which task
  fltac doctor                                       what this machine lacks, and how to mend it
  fltac build                                        compiles the native engine, once after an install

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. FLTAC_DEBUG=1 prints stacks of errors.
Environment: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE,
HF_HUB_DOWNLOAD_TIMEOUT, HTTPS_PROXY, OMP_NUM_THREADS, NO_COLOR;
for judge OPENAI_API_KEY and OPENAI_BASE_URL.`;

/** What a command's file adds to the program. */
export interface CommandContext {
  io: Io;
  /** sets the exit code of a command that ends without an error */
  setExitCode: (code: number) => void;
}

/** The whole command line. Commander's own ends (help, version, wrong usage) are thrown as CommanderError. */
export function buildProgram(io: Io, setExitCode: (code: number) => void): Command {
  const program = new Command('fltac');
  program
    .description(
      'Federated fine-tuning with LoRA: a low-rank adapter for each task and client, clustered by the server (FL-TAC)',
    )
    .version(packageVersion())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'fltac: ')),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .showSuggestionAfterError()
    .addHelpText('after', EXAMPLES);
  const context = { io, setExitCode };
  const commands = [
    addTrain,
    addCompare,
    addReport,
    addEvaluate,
    addVerify,
    addGenerate,
    addJudge,
    addExport,
    addTensorboard,
    addPartition,
    addParams,
    addDoctor,
    addBuild,
    addBench,
    addStudy,
    addCompletion,
  ];
  for (const add of commands) add(program, context);
  addHelp(program);
  tellAllFaults(program);
  return program;
}

function packageVersion(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
