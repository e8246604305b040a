/** `fltac verify` */
import type { Command } from 'commander';
import { ExitCode } from '../../errors.js';
import { createLog } from '../../run/log.js';
import type { VerifyOutcome } from '../../run/verify/index.js';
import type { FormatOptions } from '../arguments.js';
import { formatOption } from '../arguments.js';
import { interruptible } from '../interrupt.js';
import { printResult } from '../io.js';
import type { CommandContext } from '../program.js';

const EXAMPLES = `
Exit code 1 where a check fails, 2 while a run is still working in the folder.

Examples:
  fltac verify results/quickstart_fltac
  fltac verify results/glue_fltac --evaluate          opens model and data and evaluates saved rounds anew
  fltac verify results/glue_fltac --format json`;

export function addVerify(program: Command, { io, setExitCode }: CommandContext): void {
  program
    .command('verify')
    .summary("check a run's folder from its files")
    .description(
      'Checks a finished or interrupted run: digests, partition, journals, scores, saved adapters and what they were ' +
        'trained from. A line for each check; needs neither model nor data.',
    )
    .argument('<run>', "a run's folder, as train leaves it")
    .option('--evaluate', 'evaluate the saved rounds anew and compare; needs model and data')
    .addOption(formatOption())
    .addHelpText('after', EXAMPLES)
    .action(async (folder: string, { format, evaluate = false }: FormatOptions & { evaluate?: boolean }) => {
      const log = createLog({ stream: io.stderr, env: io.env });
      const { verifyRun } = await import('../../run/verify/index.js');
      const outcome = await interruptible(log, (signal) => verifyRun({ folder, evaluate }, { log, signal }));
      printResult(io, format, outcome, formatVerification);
      if (!outcome.passed) setExitCode(ExitCode.failed);
    });
}

const WORDS = { pass: 'pass', fail: 'FAIL', skip: 'skip' } as const;

/** A line for each check and one for all. */
export function formatVerification({ folder, findings }: VerifyOutcome): string {
  const width = Math.max(...findings.map(({ check }) => check.length));
  const lines = findings.map(({ check, status, detail }) => `${WORDS[status]}  ${check.padEnd(width)}  ${detail}`);
  const count = (status: keyof typeof WORDS) => findings.filter((finding) => finding.status === status).length;
  const failed = count('fail');
  const verdict = failed === 0 ? `${count('pass')} checks passed` : `${failed} of ${findings.length} checks FAILED`;
  return [...lines, '', `${folder}: ${verdict}, ${count('skip')} skipped`].join('\n');
}
