/** `fltac build` */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { packageRoot } from '../../engine/load.js';
import type { CommandContext } from '../program.js';

const EXAMPLES = `
Environment: LIBTORCH or Torch_DIR (a libtorch that is there), LIBTORCH_URL (the archive to fetch),
FLTAC_CUDA=auto|on|off, FLTAC_WERROR=on|off, CXX, CMAKE_BUILD_PARALLEL_LEVEL.

Examples:
  fltac build                                   a few minutes; fetches libtorch (700 MB on disk) where there is none
  LIBTORCH=/opt/libtorch fltac build            with a libtorch that is there
  FLTAC_CUDA=on fltac build`;

export function addBuild(program: Command, { setExitCode }: CommandContext): void {
  program
    .command('build')
    .summary('compile the native engine, once after an install')
    .description(
      "Checks the build tools, finds or fetches libtorch, and compiles the native engine into fltac's own folder: what " +
        '`npm run build:native` does in a checkout.',
    )
    .addHelpText('after', EXAMPLES)
    .action(async () => setExitCode(await runScript(join(packageRoot, 'scripts', 'build-native.mjs'))));
}

/** What asks a build to stop. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The script writes to this process's own streams, and takes the signals to this process. @returns its exit code */
export function runScript(script: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script], { stdio: 'inherit' });
    const stop = (signal: NodeJS.Signals) => void child.kill(signal);
    for (const signal of SIGNALS) process.on(signal, stop);
    const release = () => SIGNALS.forEach((signal) => process.off(signal, stop));
    child.on('error', (error) => {
      release();
      reject(error);
    });
    child.on('close', (code, signal) => {
      release();
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}
