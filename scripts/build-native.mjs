#!/usr/bin/env node
// Builds the native engine: `npm run build:native`. Checks the tools first, finds or installs libtorch, compiles into
// build/Release/fltac.node. `--tests` also builds test/native into build/native-tests. A second run takes seconds.
//
// Environment: LIBTORCH, Torch_DIR, LIBTORCH_URL (which libtorch), FLTAC_CUDA=auto|on|off, FLTAC_WERROR=off, CXX,
// CMAKE_BUILD_PARALLEL_LEVEL, FLTAC_BUILD_TESTS=1 (the same as --tests).
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cmakeVariables, compile, publishAddon } from './lib/compile.mjs';
import { installLibtorch } from './lib/install-libtorch.mjs';
import { chooseLibtorch, gatherLibtorch } from './lib/libtorch.mjs';
import { takeLock } from './lib/lock.mjs';
import { checkTools, gatherTools, missingToolsMessage } from './lib/tools.mjs';

const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');
const log = (message) => console.error(`[fltac build] ${message}`);

/** The tools, or an Error that names all missing ones at once. */
function requireTools() {
  const tools = gatherTools(root);
  const message = missingToolsMessage(checkTools(tools));
  if (message !== undefined) throw new Error(message);
  const { compiler, cmake, generator } = tools;
  log(
    `Node ${tools.node}, CMake ${cmake.version.join('.')}, ${compiler.command} ${compiler.version.join('.')}, ${generator.command}`,
  );
  return tools;
}

/** The libtorch to build against, installed first where there is none. */
async function provideLibtorch() {
  const facts = gatherLibtorch(root);
  const choice = chooseLibtorch(facts);
  choice.notes?.forEach(log);
  if (choice.kind === 'error') throw new Error(choice.message);
  if (choice.kind === 'use') {
    log(`libtorch ${choice.version} (${choice.cuda ? 'CUDA' : 'CPU'}) from ${choice.source}: ${choice.prefix}`);
    return choice;
  }
  const installed = await installLibtorch(root, choice, { cuda: facts.cuda, log });
  const version = installed.version.join('.');
  log(`libtorch ${version} (${installed.cuda ? 'CUDA' : 'CPU'}) installed in ${installed.prefix}`);
  return { ...installed, version };
}

async function main() {
  const unknown = process.argv.slice(2).filter((argument) => argument !== '--tests');
  if (unknown.length > 0) throw new Error(`unknown argument ${unknown.join(' ')}; the only one is --tests`);
  const tests = process.argv.includes('--tests') || /^(1|on|true|yes)$/i.test(process.env.FLTAC_BUILD_TESTS ?? '');
  const tools = requireTools();
  const release = await takeLock(join(root, 'build', 'fltac-build.lock'), log);
  try {
    const libtorch = await provideLibtorch();
    const variables = cmakeVariables(root, libtorch, tools, process.env);
    const kind = { version: libtorch.version, cuda: libtorch.cuda };
    await compile(root, variables, tools, kind, { tests, env: process.env, log });
    log(`ready: ${publishAddon(root)}`);
  } finally {
    release();
  }
}

try {
  await main();
} catch (error) {
  console.error(`\n[fltac build] ${error.message}`);
  process.exitCode = 1;
}
