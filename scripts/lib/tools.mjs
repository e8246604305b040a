// The tools a build needs: which there are, whether they will do, and how to get the missing ones. Shared by
// scripts/build-native.mjs, which stops before anything else when one is missing, and by `fltac doctor`.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ask } from './process.mjs';

/** Least versions, as [major, minor]. */
export const MINIMUM = {
  node: [20, 17],
  cmake: [3, 18],
  'g++': [11, 0],
  'clang++': [14, 0],
};

/** Compilers tried in this order after $CXX. */
const COMPILERS = ['g++', 'c++', 'clang++', 'g++-14', 'g++-13', 'g++-12', 'g++-11', 'clang++-18', 'clang++-16'];

/** How to get each tool, by platform. */
const FIXES = {
  linux: {
    node: 'install Node 20.17 or newer (https://nodejs.org/en/download)',
    packages: 'npm ci',
    cmake: 'sudo apt-get install cmake   (too old there: python3 -m pip install --user cmake)',
    compiler: 'sudo apt-get install g++   (too old there: sudo apt-get install g++-12; CXX=g++-12 chooses it)',
    generator: 'sudo apt-get install ninja-build',
  },
  darwin: {
    node: 'brew install node@20',
    packages: 'npm ci',
    cmake: 'brew install cmake',
    compiler: 'xcode-select --install',
    generator: 'brew install ninja',
  },
};

/** First dotted number of a text, as numbers: "cmake version 3.25.1" gives [3, 25, 1]. */
export function parseVersion(text) {
  const found = /(\d+)\.(\d+)(?:\.(\d+))?/.exec(text ?? '') ?? /(\d+)()()/.exec(text ?? '');
  return found ? [Number(found[1]), Number(found[2] || 0), Number(found[3] || 0)] : undefined;
}

/** Whether version a is at least version b; missing parts count as 0. */
export function atLeast(a, b) {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** "g++" or "clang++", by what `--version` prints. */
export function compilerKind(banner) {
  return /clang/i.test(banner) ? 'clang++' : 'g++';
}

function findCompiler(env) {
  const names = env.CXX ? [env.CXX] : COMPILERS;
  let best;
  for (const name of names) {
    const banner = ask(name, ['--version']);
    if (banner === undefined) continue;
    const kind = compilerKind(banner);
    const version = parseVersion(
      kind === 'clang++' ? /clang version (\S+)/i.exec(banner)?.[1] : (ask(name, ['-dumpfullversion']) ?? banner),
    );
    const compiler = { command: name, kind, version };
    if (version && atLeast(version, MINIMUM[kind])) return compiler;
    best ??= compiler;
  }
  return best;
}

function findGenerator() {
  if (ask('ninja', ['--version']) !== undefined) return { name: 'Ninja', command: 'ninja' };
  if (ask('make', ['--version']) !== undefined) return { name: 'Unix Makefiles', command: 'make' };
  return undefined;
}

/** Whether the packages that a build uses can be found from `root`, in its own node_modules or one above. */
function havePackages(root) {
  const require = createRequire(join(root, 'package.json'));
  try {
    return ['node-addon-api', 'node-api-headers', 'cmake-js'].every(
      (name) => require.resolve(`${name}/package.json`) !== '',
    );
  } catch (error) {
    if (error.code === 'MODULE_NOT_FOUND') return false;
    throw error;
  }
}

/** What there is on this machine. `root` is the folder of package.json. */
export function gatherTools(root, env = process.env) {
  const cmake = ask('cmake', ['--version']);
  return {
    platform: process.platform,
    node: process.versions.node,
    packages: havePackages(root),
    cmake: cmake === undefined ? undefined : { version: parseVersion(cmake) },
    compiler: findCompiler(env),
    generator: findGenerator(),
    cxx: env.CXX,
  };
}

const text = (version) => (version ? version.join('.') : 'of unknown version');
const passes = (version, minimum) => version !== undefined && atLeast(version, minimum);

/** One row per tool; pure, so that every combination can be tested. */
export function checkTools(facts) {
  const { compiler, cmake, generator } = facts;
  const rows = [
    {
      name: 'Node',
      ok: passes(parseVersion(facts.node), MINIMUM.node),
      found: facts.node,
      required: '20.17 or newer',
      fix: 'node',
    },
    {
      name: 'npm packages',
      ok: facts.packages,
      found: facts.packages ? 'installed' : 'not installed',
      required: 'node_modules',
      fix: 'packages',
    },
    {
      name: 'CMake',
      ok: passes(cmake?.version, MINIMUM.cmake),
      found: cmake ? text(cmake.version) : 'not found',
      required: '3.18 or newer',
      fix: 'cmake',
    },
    {
      name: 'C++ compiler',
      ok: compiler !== undefined && passes(compiler.version, MINIMUM[compiler.kind]),
      found: compiler ? `${compiler.command} ${text(compiler.version)}` : `${facts.cxx ?? 'g++ or clang++'} not found`,
      required: 'C++20: g++ 11 or newer, or clang++ 14 or newer',
      fix: 'compiler',
    },
    {
      name: 'build tool',
      ok: generator !== undefined,
      found: generator ? generator.command : 'not found',
      required: 'ninja or make',
      fix: 'generator',
    },
  ];
  const fixes = FIXES[facts.platform] ?? FIXES.linux;
  return rows.map((row) => ({ ...row, fix: fixes[row.fix] }));
}

/** The message naming every tool that will not do, each with its fix; undefined when there is none. */
export function missingToolsMessage(checks) {
  const missing = checks.filter((check) => !check.ok);
  if (missing.length === 0) return undefined;
  const lines = missing.map(
    (check) => `  ${check.name}: ${check.required} is required, found: ${check.found}\n    fix: ${check.fix}`,
  );
  return `The native build needs ${missing.length === 1 ? 'one more tool' : `${missing.length} more tools`}:\n${lines.join('\n')}`;
}
