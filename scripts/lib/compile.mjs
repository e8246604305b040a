// Configures (through cmake-js, which knows each platform's flags for addons) and compiles the engine.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { STAMP } from './libtorch.mjs';
import { run } from './process.mjs';

/** Memory one compiler process takes with libtorch's headers. */
const BYTES_PER_JOB = 1.5e9;

/** What is known about failures: a sign in the compiler's output, and what helps. */
const KNOWN_FAILURES = [
  [
    /\[-Werror|-Werror=/,
    'a warning of this compiler counts as an error: with FLTAC_WERROR=off set it is built all the same',
  ],
  [
    /Killed|internal compiler error|cannot allocate memory|virtual memory exhausted/i,
    'memory ran out: with CMAKE_BUILD_PARALLEL_LEVEL=1 set one file at a time is compiled',
  ],
  [/No space left on device/, 'the disk is full: free some space'],
  [
    /unrecognized command-line option '-std=c\+\+20'|requires at least C\+\+20|does not support C\+\+20/,
    'the compiler has no C++20: install g++ 11 or newer and set CXX to it',
  ],
  [
    /undefined reference to .*(c10|at|torch)::/,
    'libtorch does not fit its headers: remove build/ and .libtorch/ and build again',
  ],
  [
    /napi\.h: No such file|node_api\.h: No such file/,
    'the npm packages are incomplete: install again (in a checkout: npm ci)',
  ],
];

/** Where the linker writes, beside the place that running processes load from. */
const LINKED = join('build', 'linked');

/**
 * Puts the addon that was linked in its place, build/Release/fltac.node, by renaming: a process that runs the one
 * before keeps it, where writing into the same file would crash it. Returns the place.
 */
export function publishAddon(root) {
  const linked = join(root, LINKED, 'fltac.node');
  const addon = join(root, 'build', 'Release', 'fltac.node');
  if (!existsSync(linked)) throw new Error(`the build ended without ${linked}`);
  if (existsSync(addon) && readFileSync(addon).equals(readFileSync(linked))) return addon;
  mkdirSync(dirname(addon), { recursive: true });
  const beside = `${addon}.${process.pid}.new`;
  copyFileSync(linked, beside);
  renameSync(beside, addon);
  return addon;
}

/** The advice for a failed step's output, or undefined. */
export function adviceFor(output) {
  return KNOWN_FAILURES.find(([sign]) => sign.test(output))?.[1];
}

/** Compiler processes at once: as many as cores, fewer where memory is short. */
export function jobCount(env, cores = availableParallelism(), memory = totalmem()) {
  const asked = Number(env.CMAKE_BUILD_PARALLEL_LEVEL);
  if (Number.isInteger(asked) && asked > 0) return asked;
  return Math.max(1, Math.min(cores, Math.floor(memory / BYTES_PER_JOB)));
}

/** A switch that a user may have set, as CMake writes it. */
function asked(value = '') {
  if (/^(on|1|true|yes)$/i.test(value)) return 'ON';
  return /^(off|0|false|no)$/i.test(value) ? 'OFF' : undefined;
}

/**
 * The CMake variables of a build, as a plain table. Where the tests are (in a checkout) a warning is an error; whoever
 * installed the package, with whatever compiler, is not to be stopped by one.
 */
export function cmakeVariables(root, libtorch, tools, env) {
  const nativeTests = join(root, 'test', 'native');
  const haveTests = existsSync(nativeTests) && readdirSync(nativeTests).some((name) => name.endsWith('.cc'));
  return {
    CMAKE_LIBRARY_OUTPUT_DIRECTORY: join(root, LINKED),
    CMAKE_CXX_COMPILER: tools.compiler.command,
    LIBTORCH: libtorch.prefix,
    FLTAC_CUDA: (env.FLTAC_CUDA || 'auto').toLowerCase(),
    FLTAC_WERROR: asked(env.FLTAC_WERROR) ?? (haveTests ? 'ON' : 'OFF'),
    // The tests' build rules are always there; their programs are made only when asked for.
    FLTAC_BUILD_TESTS: haveTests ? 'ON' : 'OFF',
  };
}

function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

/**
 * Brings build/cmake up to date with `variables` (skipped when nothing changed: CMake itself notices edited CMake files
 * and new sources) and builds the addon, with `tests` also the native tests' programs.
 * `libtorch` ({version, cuda}) tells a libtorch that was exchanged in its place.
 * Throws an Error with the end of the output, and the fix where it is known.
 */
export async function compile(root, variables, tools, libtorch, { tests, env, log }) {
  const folder = join(root, 'build', 'cmake');
  const stampPath = join(root, STAMP);
  const stamp = JSON.stringify({
    root,
    generator: tools.generator.name,
    compiler: tools.compiler,
    libtorch,
    variables,
  });
  if (readIfThere(stampPath) !== stamp) {
    // A cache made for another compiler, generator, libtorch or place is not to be mixed with this one.
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    log('configuring');
    await step(process.execPath, configureArguments(root, folder, tools.generator.name, variables), {
      cwd: root,
      env,
      quiet: true,
    });
    writeFileSync(stampPath, stamp);
  }
  const jobs = jobCount(env);
  log(`compiling (${jobs} at a time)${tests ? ', with the native tests' : ''}`);
  const target = tests ? [] : ['--target', 'fltac'];
  await step('cmake', ['--build', folder, '--parallel', String(jobs), ...target], { cwd: root, env });
}

function configureArguments(root, folder, generator, variables) {
  const cmakeJs = createRequire(join(root, 'package.json')).resolve('cmake-js/bin/cmake-js');
  const defines = Object.entries(variables).map(([name, value]) => `--CD${name}=${value}`);
  return [cmakeJs, 'configure', '--directory', root, '--out', folder, '--generator', generator, ...defines];
}

async function step(command, args, options) {
  const { status, tail } = await run(command, args, options);
  if (status === 0) return;
  const advice = adviceFor(tail);
  // What was passed on already is not printed twice.
  throw new Error(
    `${command === 'cmake' ? 'compiling' : 'configuring'} failed (exit status ${status})` +
      (options.quiet ? `; the end of its output:\n${tail.trimEnd()}` : "; the compiler's messages are above") +
      (advice ? `\n  fix: ${advice}` : ''),
  );
}
