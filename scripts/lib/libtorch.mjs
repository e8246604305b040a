// Which libtorch the build uses. Facts are gathered here and judged by `chooseLibtorch`, which is pure.
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { ask } from './process.mjs';
import { atLeast } from './tools.mjs';

/** Versions whose headers and ABI the engine is written for: from `from`, below `below`. */
export const SUPPORTED = { from: [2, 11], below: [2, 14], text: '2.11 to 2.13' };

/** The version that is installed where none is found. */
export const INSTALL_VERSION = '2.13.0';

/** Folder of the project's own libtorch, and the file that marks an install of ours as finished. */
export const OWN_FOLDER = '.libtorch';
export const INSTALL_FOLDER = join(OWN_FOLDER, 'install');
export const MANIFEST = 'fltac-install.json';

/** Places inside .libtorch/: an install of ours (pip, archive), then what a user may have put there. */
const OWN_PLACES = ['install/torch', 'install/libtorch', 'torch', 'libtorch', '.'];

const VERSION_HEADERS = ['include/torch/headeronly/version.h', 'include/torch/csrc/api/include/torch/version.h'];

/** Written by a configured build beside CMake's cache: the variables it was made with. */
export const STAMP = join('build', 'cmake', 'fltac-configured.json');

/** File name ending of shared libraries. */
export const libraryEnding = (platform) => (platform === 'darwin' ? 'dylib' : 'so');

function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

/** Version of a libtorch folder by its headers, e.g. [2, 13, 0]. */
function headerVersion(prefix) {
  for (const name of VERSION_HEADERS) {
    const header = readIfThere(join(prefix, name));
    if (header === undefined) continue;
    const parts = ['MAJOR', 'MINOR', 'PATCH'].map((part) =>
      Number(new RegExp(`#define TORCH_VERSION_${part}\\s+(\\d+)`).exec(header)?.[1]),
    );
    if (parts.every((part) => Number.isInteger(part))) return parts;
  }
  return undefined;
}

/** Whether the file starts like a shared library (ELF or Mach-O); catches empty and half-written files. */
function looksLikeLibrary(path) {
  const head = Buffer.alloc(4);
  const file = openSync(path, 'r');
  try {
    readSync(file, head, 0, 4, 0);
  } finally {
    closeSync(file);
  }
  return ['7f454c46', 'cffaedfe', 'cafebabe'].includes(head.toString('hex'));
}

/** What lies in a folder that should be a libtorch (the one with lib/ and include/). */
export function inspectPrefix(prefix, platform = process.platform) {
  const ending = libraryEnding(platform);
  const found = { prefix: resolve(prefix), version: undefined, cuda: false, problem: undefined };
  if (!existsSync(prefix)) return { ...found, problem: 'does not exist' };
  const needed = [
    `lib/libtorch_cpu.${ending}`,
    `lib/libc10.${ending}`,
    'include/ATen/ATen.h',
    'include/torch/csrc/api/include/torch/torch.h',
  ];
  const missing = needed.filter((name) => !existsSync(join(prefix, name)));
  if (missing.length > 0) return { ...found, problem: `has no ${missing[0]}` };
  const broken = needed.slice(0, 2).find((name) => !looksLikeLibrary(join(prefix, name)));
  if (broken !== undefined) return { ...found, problem: `${broken} is not a shared library` };
  return { ...found, version: headerVersion(prefix), cuda: existsSync(join(prefix, 'lib', `libtorch_cuda.${ending}`)) };
}

/** The manifest of a finished install, or what is wrong with the folder. */
export function readManifest(folder) {
  const source = readIfThere(join(folder, MANIFEST));
  if (source === undefined) return { problem: 'its install was not finished' };
  let manifest;
  try {
    manifest = JSON.parse(source);
  } catch {
    return { problem: `its ${MANIFEST} is not JSON` };
  }
  const wrong = Object.entries(manifest.files ?? {}).find(
    ([name, size]) => !existsSync(join(folder, name)) || statSync(join(folder, name)).size !== size,
  );
  return wrong ? { ...manifest, problem: `its ${wrong[0]} is missing or has changed` } : manifest;
}

/** The candidate in .libtorch/, if there is anything. */
function inspectOwn(root, platform) {
  for (const place of OWN_PLACES) {
    const prefix = join(root, OWN_FOLDER, place);
    if (!existsSync(join(prefix, 'lib'))) continue;
    const candidate = inspectPrefix(prefix, platform);
    if (!place.startsWith('install/')) return candidate;
    const { problem, source } = readManifest(join(root, INSTALL_FOLDER));
    return { ...candidate, problem: candidate.problem ?? problem, source };
  }
  return existsSync(join(root, INSTALL_FOLDER))
    ? { prefix: join(root, INSTALL_FOLDER), version: undefined, cuda: false, problem: 'its install was not finished' }
    : undefined;
}

/** The libtorch of the build that is there, which was named by a variable that may no longer be set. */
function inspectPrevious(root, platform) {
  const stamp = readIfThere(join(root, STAMP));
  const prefix = /"LIBTORCH":"([^"]+)"/.exec(stamp ?? '')?.[1];
  return prefix === undefined ? undefined : inspectPrefix(prefix, platform);
}

const PYTHON_PROBE = `
import importlib.util, sys
try:
    spec = importlib.util.find_spec("torch")
except (ImportError, ValueError):
    spec = None
pip = importlib.util.find_spec("pip") is not None
print("%d.%d" % sys.version_info[:2], "pip" if pip else "-", (spec.origin if spec and spec.origin else "") , sep="\\n")
`;

/** The first Python 3 on PATH: version, whether it has pip, and its torch (found without importing it: that is slow). */
function inspectPython(platform) {
  for (const command of ['python3', 'python']) {
    // From a neutral folder: Python looks for modules in the current one first.
    const answer = ask(command, ['-c', PYTHON_PROBE], { cwd: tmpdir() });
    if (answer === undefined) continue;
    const [version, pip, origin] = answer.split('\n');
    if (!version.startsWith('3.')) continue;
    const torch = origin ? inspectPrefix(dirname(origin), platform) : undefined;
    return { command, version, pip: pip === 'pip', torch };
  }
  return undefined;
}

/** Everything the choice depends on. */
export function gatherLibtorch(root, env = process.env, platform = process.platform) {
  const named = (value, suffix = '') => (value ? inspectPrefix(join(value, suffix), platform) : undefined);
  const facts = {
    platform,
    cuda: (env.FLTAC_CUDA || 'auto').toLowerCase(),
    url: env.LIBTORCH_URL || undefined,
    libtorch: named(env.LIBTORCH),
    torchDir: named(env.Torch_DIR, '../../..'),
    own: inspectOwn(root, platform),
    previous: inspectPrevious(root, platform),
    python: undefined,
  };
  // Asking Python takes a moment: only where nothing before it decides.
  if (!facts.libtorch && !facts.torchDir && (facts.own === undefined || unfit(facts.own, facts))) {
    facts.python = inspectPython(platform);
  }
  return facts;
}

/** Why a candidate cannot be used; undefined when it can. */
export function unfit(candidate, facts) {
  if (candidate.problem !== undefined) return candidate.problem;
  const { version } = candidate;
  if (version === undefined) return 'does not say its version';
  if (!atLeast(version, SUPPORTED.from) || atLeast(version, SUPPORTED.below)) {
    return `is version ${version.join('.')}; ${SUPPORTED.text} is required`;
  }
  if (facts.cuda === 'on' && !candidate.cuda) return 'has no CUDA, which FLTAC_CUDA=on asks for';
  return undefined;
}

const use = (source, candidate, notes) => ({
  kind: 'use',
  source,
  prefix: candidate.prefix,
  version: candidate.version.join('.'),
  cuda: candidate.cuda,
  notes,
});

/** A folder the user named: used, or an error; never passed over. */
function chooseNamed(name, candidate, facts) {
  const problem = unfit(candidate, facts);
  if (problem === undefined) return use(name, candidate, []);
  return {
    kind: 'error',
    message:
      `${name} names ${candidate.prefix}, which ${problem}.\n` +
      `  fix: set ${name === 'LIBTORCH' ? 'LIBTORCH to the folder with lib/ and include/' : 'Torch_DIR to the folder with TorchConfig.cmake'} ` +
      `of a libtorch ${SUPPORTED.text}, or unset it to have one found or installed`,
  };
}

/**
 * What to do about libtorch: `use` a folder, `install` one into .libtorch/, or stop with an `error` that names the fix.
 * Order: LIBTORCH, Torch_DIR, .libtorch/ (from LIBTORCH_URL if that is set), Python's torch, the one the
 * last build used, an install.
 */
export function chooseLibtorch(facts) {
  if (!['auto', 'on', 'off'].includes(facts.cuda)) {
    return { kind: 'error', message: `FLTAC_CUDA must be auto, on or off, not "${facts.cuda}"` };
  }
  if (facts.libtorch) return chooseNamed('LIBTORCH', facts.libtorch, facts);
  if (facts.torchDir) return chooseNamed('Torch_DIR', facts.torchDir, facts);

  const notes = [];
  if (facts.own) {
    const otherUrl = facts.url !== undefined && facts.own.source !== facts.url;
    const problem = unfit(facts.own, facts) ?? (otherUrl ? 'is not from LIBTORCH_URL' : undefined);
    if (problem === undefined) return use('.libtorch', facts.own, notes);
    notes.push(`passing over ${facts.own.prefix}: it ${problem}`);
  }
  if (facts.url !== undefined) return { kind: 'install', method: 'archive', url: facts.url, notes };
  if (facts.python?.torch) {
    const problem = unfit(facts.python.torch, facts);
    if (problem === undefined) return use(`${facts.python.command}'s torch`, facts.python.torch, notes);
    notes.push(`passing over ${facts.python.command}'s torch in ${facts.python.torch.prefix}: it ${problem}`);
  }
  if (facts.previous && unfit(facts.previous, facts) === undefined) {
    return use('the last build', facts.previous, notes);
  }
  if (facts.python?.pip) return { kind: 'install', method: 'pip', python: facts.python, notes };
  return { kind: 'error', message: noWayMessage(facts), notes };
}

function noWayMessage(facts) {
  const lack = facts.python ? `${facts.python.command} has no pip` : 'there is no python3 on PATH';
  const install = facts.platform === 'darwin' ? 'brew install python' : 'sudo apt-get install python3 python3-pip';
  return (
    `No libtorch ${SUPPORTED.text} was found, and none can be installed because ${lack}. One of these helps:\n` +
    `  ${install}   (then run this again: torch ${INSTALL_VERSION} goes into .libtorch/)\n` +
    `  LIBTORCH=<folder with lib/ and include/>   for a libtorch you have\n` +
    `  LIBTORCH_URL=<address or file of a libtorch zip>   for PyTorch's C++ archive (cxx11 ABI)`
  );
}
