/**
 * environment.json: on what a run was made. No variable of the process environment goes in, and what comes from elsewhere (a
 * mirror's address, a revision) is told without secrets.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { deviceRuns } from '../engine/placement.js';
import { resolveThreads } from '../engine/threads.js';
import { redactor } from '../net/secrets.js';
import type { OpenRun } from './open.js';

const require = createRequire(import.meta.url);
const PACKAGE_FILE = new URL('../../package.json', import.meta.url);

interface PackageFile {
  version: string;
  dependencies?: Record<string, string>;
}

/** Versions, machine, device, threads, backbone and data of a run. `fltac` marks the folder as a run's. */
export function environmentRecord(run: OpenRun): Record<string, unknown> {
  const own = readPackage(PACKAGE_FILE);
  const { info } = run.engine;
  const record = {
    fltac: own.version,
    started: new Date().toISOString(),
    node: process.versions.node,
    packages: packageVersions(Object.keys(own.dependencies ?? {})),
    engine: engineFacts(run),
    platform: `${os.platform()} ${os.release()}`,
    arch: os.arch(),
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.availableParallelism(),
    memory_bytes: os.totalmem(),
    threads: resolveThreads(run.config.threads),
    device: info.device,
    placement: deviceRuns(info.placement),
    dtype: info.dtype,
    dtype_reason: info.dtypeReason,
    cohort: run.cohort.size,
    cohort_reason: run.cohort.reason,
    adapter_values: run.engine.layout(run.spec).size,
    model: { id: run.model.id, revision: run.model.revision, family: info.family, parameters: info.parameters },
    head: { output: info.output, labels: run.spec.numLabels, trained: run.spec.trainHead },
    data: run.scenario.provenance,
  };
  return JSON.parse(redactor(process.env)(JSON.stringify(record))) as Record<string, unknown>;
}

/**
 * What a run's numbers may depend on of the engine's build and the CPU's instructions. The product in bfloat16 is among it
 * only where weights are held in the type: what older records lack says nothing of other runs.
 */
export function engineFacts({ engine, face }: Pick<OpenRun, 'engine' | 'face'>): Record<string, string | number> {
  const { bfloat16, ...facts } = face.environment();
  return engine.info.dtype === 'bfloat16' && bfloat16 !== undefined ? { ...facts, bfloat16 } : facts;
}

/** The version of fltac that runs. */
export function ownVersion(): string {
  return readPackage(PACKAGE_FILE).version;
}

/**
 * The record of a run that goes on: the one it began with, and in `resumed` for each continuation when it started, after
 * which round, and what was different then.
 */
export function resumedEnvironment(
  before: unknown,
  now: Readonly<Record<string, unknown>>,
  round: number,
): Record<string, unknown> {
  const { resumed, ...first } = before as Record<string, unknown>;
  const other = Object.entries(now).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(first[name]));
  const earlier: unknown[] = Array.isArray(resumed) ? resumed : [];
  return { ...first, resumed: [...earlier, { after_round: round, ...Object.fromEntries(other) }] };
}

function readPackage(file: URL | string): PackageFile {
  return JSON.parse(readFileSync(file, 'utf8')) as PackageFile;
}

/** Installed versions, found where Node would look for the packages. */
function packageVersions(names: readonly string[]): Record<string, string> {
  const versions: Record<string, string> = {};
  for (const name of names) {
    const places = (require.resolve.paths(name) ?? []).map((folder) => path.join(folder, name, 'package.json'));
    const file = places.find((place) => existsSync(place));
    if (file !== undefined) versions[name] = readPackage(file).version;
  }
  return versions;
}
