/** Gathers what the doctor judges. Nothing here throws for a fault of the machine: faults are facts. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { readdir, statfs } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { chooseLibtorch, gatherLibtorch } from '../../scripts/lib/libtorch.mjs';
import type { LibtorchChoice, PythonFacts } from '../../scripts/lib/libtorch.mjs';
import { checkTools, gatherTools } from '../../scripts/lib/tools.mjs';
import type { ToolCheck } from '../../scripts/lib/tools.mjs';
import { cacheFromEnvironment, hubSettings } from '../data/hub/settings.js';
import { chooseWaitPolicy, loadFailure, NATIVE_ABI, packageRoot } from '../engine/load.js';
import { memoryLimit } from '../engine/memory.js';
import { askHub, type HubAnswer } from './hub.js';

/** What a child process found when it loaded the addon. */
export type AddonFacts =
  | { state: 'loaded'; abiVersion: number; libtorch: string; cuda: boolean; threads: number; cpu: string }
  | { state: 'failed'; reason: string };

export type HubFacts =
  | { state: 'read'; endpoint: string; cacheDir: string; offline: boolean; token: boolean; proxy: boolean }
  | { state: 'failed'; reason: string };

export interface DoctorFacts {
  platform: string;
  arch: string;
  tools: readonly ToolCheck[];
  /** the Python that would fetch libtorch; undefined where there is none or libtorch is here already */
  python: PythonFacts | undefined;
  libtorch: LibtorchChoice;
  requiredAbi: number;
  addon: AddonFacts;
  cpu: { model: string; level: string; cores: number; ompThreads: string | undefined };
  memoryBytes: number;
  disk: { folder: string; freeBytes: number };
  hub: HubFacts;
  /** what the Hub said; absent where it was not asked */
  hubAnswer?: HubAnswer;
  /** files of the embedded quickstart, relative to quickstart/ */
  quickstart: readonly string[];
}

const CHILD_TIMEOUT_MS = 60_000;

/** Loads the addon and prints what it says of itself; a process of its own, so that a crash stays there. */
const PROBE = `
const addon = require('bindings')({ bindings: 'fltac', module_root: process.argv[1] });
process.stdout.write(JSON.stringify({ abiVersion: addon.abiVersion, ...addon.buildInfo() }));
`;

/** @param asksHub whether the network may be used, to ask the Hub */
export async function gatherFacts(env: NodeJS.ProcessEnv = process.env, asksHub = false): Promise<DoctorFacts> {
  const libtorch = gatherLibtorch(packageRoot, env);
  const hub = hubFacts(env);
  const asks = asksHub && hub.state === 'read' && !hub.offline;
  const [addon, disk, quickstart, hubAnswer] = await Promise.all([
    probeAddon(env),
    diskFacts(),
    quickstartFiles(),
    asks ? askHub(env, hub.cacheDir) : undefined,
  ]);
  return {
    platform: process.platform,
    arch: process.arch,
    tools: checkTools(gatherTools(packageRoot, env)),
    python: libtorch.python,
    libtorch: chooseLibtorch(libtorch),
    requiredAbi: NATIVE_ABI,
    addon,
    cpu: cpuFacts(env),
    memoryBytes: memoryLimit(),
    disk,
    hub,
    ...(hubAnswer && { hubAnswer }),
    quickstart,
  };
}

function probeAddon(env: NodeJS.ProcessEnv): Promise<AddonFacts> {
  const childEnv = { ...env };
  chooseWaitPolicy(childEnv);
  return new Promise((resolve) => {
    const options = { cwd: packageRoot, env: childEnv, timeout: CHILD_TIMEOUT_MS };
    execFile(process.execPath, ['-e', PROBE, packageRoot], options, (error, stdout, stderr) => {
      if (error) resolve({ state: 'failed', reason: failureOf(error, stderr) });
      else resolve({ state: 'loaded', ...(JSON.parse(stdout) as Omit<AddonFacts & { state: 'loaded' }, 'state'>) });
    });
  });
}

/** Why the process that loaded the addon failed. */
export function failureOf(
  error: { killed?: boolean | undefined; signal?: NodeJS.Signals | null | undefined },
  stderr: string,
) {
  if (error.killed) return `does not answer within ${CHILD_TIMEOUT_MS / 1000} s`;
  if (error.signal) return `crashes while it is loaded (${error.signal})`;
  const detail = /Error: (.*)/.exec(stderr)?.[1];
  return detail === undefined ? 'cannot be loaded' : loadFailure(detail);
}

async function diskFacts(): Promise<DoctorFacts['disk']> {
  const folder = process.cwd();
  const { bavail, bsize } = await statfs(folder);
  return { folder, freeBytes: bavail * bsize };
}

async function quickstartFiles(): Promise<string[]> {
  const folder = join(packageRoot, 'quickstart');
  return existsSync(folder) ? await readdir(folder, { recursive: true }) : [];
}

/** Instruction sets the hot loops have versions for, best first, with a flag that stands for each. */
const X86_LEVELS = [
  ['avx512bw', 'AVX-512 (x86-64-v4)'],
  ['avx2', 'AVX2 (x86-64-v3)'],
] as const;

function cpuFacts(env: NodeJS.ProcessEnv): DoctorFacts['cpu'] {
  return {
    model: cpus()[0]?.model.trim() ?? 'unknown',
    level: process.arch === 'x64' && process.platform === 'linux' ? x86Level(readCpuinfo()) : process.arch,
    cores: availableParallelism(),
    ompThreads: env['OMP_NUM_THREADS'],
  };
}

function readCpuinfo(): string {
  return existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '';
}

/** The best instruction set of a /proc/cpuinfo text. */
export function x86Level(cpuinfo: string): string {
  const flags = new Set(/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim().split(/\s+/));
  return X86_LEVELS.find(([flag]) => flags.has(flag))?.[1] ?? 'no AVX2';
}

function hubFacts(env: NodeJS.ProcessEnv): HubFacts {
  try {
    const settings = hubSettings(cacheFromEnvironment(env) ?? './hf_cache', env);
    return {
      state: 'read',
      endpoint: settings.endpoint,
      cacheDir: settings.cacheDir,
      offline: settings.offline,
      token: settings.token !== undefined,
      proxy: settings.proxy.httpProxy !== '' || settings.proxy.httpsProxy !== '',
    };
  } catch (error) {
    return { state: 'failed', reason: error instanceof Error ? error.message : String(error) };
  }
}
