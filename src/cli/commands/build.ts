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
    .action(async () => setExitCode(await runBuild()));
}

/** The build writes to this process's own streams. @returns its exit code */
function runBuild(): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(packageRoot, 'scripts', 'build-native.mjs')], { stdio: 'inherit' });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}
