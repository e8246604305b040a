/** From arguments to an exit code: the one place where a command's errors end. */
import { CommanderError } from 'commander';
import { ExitCode, FltacError, exitCodeOf } from '../errors.js';
import { redactor } from '../net/secrets.js';
import type { Io } from './io.js';
import { buildProgram } from './program.js';

/** Runs the command line of this process. A reader that closes stdout early (`| head`) ends it quietly. */
export async function main(argv: readonly string[]): Promise<number> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(ExitCode.done);
    throw error;
  });
  return runCli(argv, { stdout: process.stdout, stderr: process.stderr, env: process.env });
}

/** Parses and runs one command. @returns the exit code: 0 done, 1 failed, 2 usage, 130 interrupted */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  let exitCode: number = ExitCode.done;
  const program = buildProgram(io, (code) => (exitCode = code));
  try {
    await program.parseAsync(withDashes(argv), { from: 'user' });
    return exitCode;
  } catch (error) {
    return report(error, io);
  }
}

/** Flags may be spelt with `_`: `--n_clients=5` is `--n-clients=5`. What follows a lone `--` is left alone. */
export function withDashes(argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  return argv.map((argument, index) => {
    if (end >= 0 && index >= end) return argument;
    return argument.replace(/^--[\w-]+/, (name) => name.replaceAll('_', '-'));
  });
}

function report(error: unknown, io: Io): number {
  if (error instanceof CommanderError) {
    // Commander has printed its help, version or message already.
    return error.exitCode === 0 ? ExitCode.done : ExitCode.usage;
  }
  io.stderr.write(`fltac: ${redactor(io.env)(describe(error, io))}\n`);
  return exitCodeOf(error);
}

function describe(error: unknown, io: Io): string {
  const message = error instanceof Error ? error.message : String(error);
  const wantsStack = !['', '0', undefined].includes(io.env['FLTAC_DEBUG']);
  const stack = wantsStack && error instanceof Error ? `\n${stackOf(error)}` : '';
  if (error instanceof FltacError && error.code !== 'INTERNAL') return message + stack;
  const hint = wantsStack ? '' : '\nThis is a fault of fltac. FLTAC_DEBUG=1 shows where it happened; please report it.';
  return `${message}${stack}${hint}`;
}

function stackOf(error: Error): string {
  const own = error.stack ?? String(error);
  return error.cause instanceof Error ? `${own}\ncaused by: ${stackOf(error.cause)}` : own;
}
