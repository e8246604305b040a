/** `fltac doctor` */
import type { Command } from 'commander';
import { ExitCode } from '../../errors.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption } from '../arguments.js';
import { printResult } from '../io.js';
import type { CommandContext } from '../program.js';

const EXAMPLES = `
Exit code 1 where a check fails.

Examples:
  fltac doctor
  fltac doctor --hub             and whether the Hub answers and takes HF_TOKEN
  fltac doctor --format json`;

export function addDoctor(program: Command, { io, setExitCode }: CommandContext): void {
  program
    .command('doctor')
    .summary('check what this machine has and lacks')
    .description('Checks Node, the build tools, libtorch and the native engine, and names the fix of each fault.')
    .option('--hub', 'ask the Hub whether it answers and takes the token; without this no network is used')
    .addOption(formatOption())
    .addHelpText('after', EXAMPLES)
    .action(async ({ format, hub }: FormatOptions & { hub?: boolean }) => {
      const { formatDoctorReport, isHealthy, runDoctor } = await import('../../doctor/index.js');
      const report = await runDoctor(io.env, { hub: hub ?? false });
      printResult(io, format, report, formatDoctorReport);
      if (!isHealthy(report)) setExitCode(ExitCode.failed);
    });
}
