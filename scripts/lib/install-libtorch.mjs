// Installs a libtorch into .libtorch/install. Everything is made in .libtorch/partial-<pid> and renamed when it is
// whole, so an interrupted install leaves nothing that a later build could take for a libtorch.
import {
  closeSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import {
  INSTALL_FOLDER,
  INSTALL_VERSION,
  MANIFEST,
  OWN_FOLDER,
  SUPPORTED,
  inspectPrefix,
  libraryEnding,
  unfit,
} from './libtorch.mjs';
import { processAlive } from './lock.mjs';
import { run } from './process.mjs';

/** Free disk space an install of a CPU libtorch needs: the wheel, unpacked beside it for a moment. */
const NEEDED_BYTES = 2.5e9;

/** Pythons torch has wheels for. libtorch itself is the same in all of them, so any will do where ours has none. */
const WHEEL_PYTHONS = ['3.12', '3.11', '3.13', '3.10', '3.14'];

/** A zip's last record and the longest comment that may follow it. */
const ZIP_TAIL_BYTES = 22 + 65_535;

const NETWORK_TROUBLE =
  /Retrying \(|NewConnectionError|ConnectTimeout|Temporary failure in name resolution|ProxyError|SSLError/;

/**
 * Installs what `choice` (of chooseLibtorch, kind "install") says and returns the new folder as a candidate.
 * Throws an Error whose message says what failed and what helps.
 */
export async function installLibtorch(root, choice, { cuda, log }) {
  const own = join(root, OWN_FOLDER);
  mkdirSync(own, { recursive: true });
  removeLeftovers(own, log);
  const free = statfsSync(own);
  if (free.bavail * free.bsize < NEEDED_BYTES) {
    throw new Error(
      `an install of libtorch needs ${(NEEDED_BYTES / 1e9).toFixed(1)} GB of free space in ${own}, ` +
        `there are ${((free.bavail * free.bsize) / 1e9).toFixed(1)} GB: free some, or set LIBTORCH to one you have`,
    );
  }
  const partial = join(own, `partial-${process.pid}`);
  try {
    const inner =
      choice.method === 'pip'
        ? await installByPip(partial, choice.python, cuda, log)
        : await installArchive(partial, choice.url, log);
    const candidate = inspectPrefix(join(partial, inner));
    const problem = unfit(candidate, { cuda });
    if (problem !== undefined) throw new Error(`what was installed ${problem}`);
    writeManifest(partial, inner, choice.method === 'pip' ? `pip torch==${INSTALL_VERSION}` : choice.url, candidate);
    const target = join(root, INSTALL_FOLDER);
    rmSync(target, { recursive: true, force: true });
    renameSync(partial, target);
    return { ...candidate, prefix: join(target, inner) };
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** Deletes what interrupted installs left, unless the process that makes it is still at work. */
function removeLeftovers(own, log) {
  for (const name of readdirSync(own)) {
    const pid = /^partial-(\d+)$/.exec(name)?.[1];
    if (pid === undefined || (Number(pid) !== process.pid && processAlive(Number(pid)))) continue;
    log(`removing ${join(own, name)}, left by an interrupted install`);
    rmSync(join(own, name), { recursive: true, force: true });
  }
}

function writeManifest(folder, inner, source, candidate) {
  const ending = libraryEnding(process.platform);
  const names = ['libtorch_cpu', 'libc10'].map((name) => `${inner}/lib/${name}.${ending}`);
  const manifest = {
    source,
    version: candidate.version.join('.'),
    files: Object.fromEntries(names.map((name) => [name, statSync(join(folder, name)).size])),
  };
  writeFileSync(join(folder, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** The pip calls tried one after another, as [what it is, arguments]; pure. */
export function pipAttempts(folder, python, cuda) {
  const base = [
    '-m',
    'pip',
    'install',
    '--target',
    folder,
    '--no-compile',
    '--disable-pip-version-check',
    '--no-input',
  ];
  const own = [...base, '--only-binary=:all:'];
  const foreign = WHEEL_PYTHONS.filter((version) => version !== python.version).map((version) => [
    `torch ${INSTALL_VERSION} as built for Python ${version} (libtorch is the same)`,
    [...own, '--no-deps', '--python-version', version, '--implementation', 'cp', `torch==${INSTALL_VERSION}`],
  ]);
  const plain = [`torch ${INSTALL_VERSION}`, [...own, '--no-deps', `torch==${INSTALL_VERSION}`]];
  if (cuda === 'on')
    return [[`torch ${INSTALL_VERSION} with its CUDA libraries`, [...own, `torch==${INSTALL_VERSION}`]]];
  return [
    [`torch ${INSTALL_VERSION} for CPU`, [...own, '--no-deps', `torch==${INSTALL_VERSION}+cpu`]],
    plain,
    ...foreign,
  ];
}

async function installByPip(partial, python, cuda, log) {
  let failure = '';
  for (const [what, args] of pipAttempts(partial, python, cuda)) {
    log(`installing ${what} with ${python.command} -m pip into ${OWN_FOLDER}/`);
    const { status, tail } = await run(python.command, args, { quiet: !process.stdout.isTTY });
    if (status === 0) {
      await completeCudaWheel(partial, python, cuda, log);
      return 'torch';
    }
    rmSync(partial, { recursive: true, force: true });
    failure = tail.trim();
    log(`  pip did not: ${failure.split('\n').findLast((line) => line.startsWith('ERROR')) ?? 'see below'}`);
    if (!failure.includes('No matching distribution') || (NETWORK_TROUBLE.test(failure) && !args.at(-1).includes('+')))
      break;
  }
  throw new Error(
    `pip could not install torch ${INSTALL_VERSION}:\n${failure}\n` +
      "  fix: check the network and pip's settings (`python3 -m pip config list`: index-url, proxy), or set LIBTORCH to a " +
      `libtorch ${SUPPORTED.text} you have, or LIBTORCH_URL to the address or file of its zip`,
  );
}

/** A wheel with CUDA loads only with NVIDIA's libraries beside it, also for CPU work: they are fetched too. */
async function completeCudaWheel(partial, python, cuda, log) {
  if (cuda === 'on' || !existsSync(join(partial, 'torch', 'lib', `libtorch_cuda.${libraryEnding(process.platform)}`)))
    return;
  log(
    "pip's index offers only the CUDA build of torch; the CUDA libraries it needs follow (gigabytes). For the far smaller CPU " +
      "build, stop here and point PIP_EXTRA_INDEX_URL at PyTorch's CPU wheel index, or set LIBTORCH or LIBTORCH_URL",
  );
  const args = [
    '-m',
    'pip',
    'install',
    '--target',
    partial,
    '--upgrade',
    '--no-compile',
    '--disable-pip-version-check',
  ];
  const { status, tail } = await run(python.command, [...args, `torch==${INSTALL_VERSION}`], {
    quiet: !process.stdout.isTTY,
  });
  if (status !== 0) throw new Error(`pip could not install the CUDA libraries of torch ${INSTALL_VERSION}:\n${tail}`);
}

/** Unpacks a libtorch zip, given by address or as a file. */
async function installArchive(partial, source, log) {
  mkdirSync(partial);
  const file = /^https?:/.test(source) ? await download(source, join(partial, 'libtorch.zip'), log) : localFile(source);
  if (!endsLikeZip(file)) throw new Error(`${source} is no zip file, or only the beginning of one`);
  log(`unpacking ${file} into ${OWN_FOLDER}/`);
  const { status, tail } = await run('cmake', ['-E', 'tar', 'xf', file], { cwd: partial, quiet: true });
  if (status !== 0) throw new Error(`${source} cannot be unpacked; a libtorch zip was expected:\n${tail}`);
  rmSync(join(partial, 'libtorch.zip'), { force: true });
  if (!existsSync(join(partial, 'libtorch'))) {
    throw new Error(`${source} holds no folder libtorch/: LIBTORCH_URL should name PyTorch's C++ archive (a zip)`);
  }
  return 'libtorch';
}

/** A zip ends with a directory of its contents; a file that was cut off does not (CMake unpacks it without complaint). */
function endsLikeZip(path) {
  const size = statSync(path).size;
  const tail = Buffer.alloc(Math.min(size, ZIP_TAIL_BYTES));
  const file = openSync(path, 'r');
  try {
    readSync(file, tail, 0, tail.length, size - tail.length);
  } finally {
    closeSync(file);
  }
  return tail.includes(Buffer.from('PK\x05\x06', 'latin1'));
}

function localFile(source) {
  const path = source.startsWith('file:') ? fileURLToPath(source) : resolve(source);
  if (!existsSync(path)) throw new Error(`LIBTORCH_URL names ${source}, which is neither an address nor a file`);
  return path;
}

async function download(url, path, log) {
  log(`downloading ${url}`);
  // Node's own fetch passes over HTTPS_PROXY; undici's agent follows it.
  const { EnvHttpProxyAgent, fetch: fetchThroughProxy } = await import('undici');
  const response = await fetchThroughProxy(url, { dispatcher: new EnvHttpProxyAgent() }).catch((error) => {
    throw new Error(`${url} cannot be downloaded: ${error.cause?.message ?? error.message}`);
  });
  if (!response.ok || !response.body) throw new Error(`${url} answered ${response.status} ${response.statusText}`);
  const total = Number(response.headers.get('content-length') ?? 0);
  let done = 0;
  let told = 0;
  const counter = new Transform({
    transform(chunk, _encoding, next) {
      done += chunk.length;
      if (total > 0 && done / total >= told + 0.1)
        log(`  ${Math.floor(100 * (told = done / total))} % of ${(total / 1e6).toFixed(0)} MB`);
      next(null, chunk);
    },
  });
  await pipeline(Readable.fromWeb(response.body), counter, createWriteStream(path)).catch((error) => {
    throw new Error(`the download of ${url} broke off after ${done} bytes: ${error.message}`);
  });
  if (total > 0 && done !== total) throw new Error(`the download of ${url} ended after ${done} of ${total} bytes`);
  return path;
}
