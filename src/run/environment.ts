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
    engine: run.face.environment(),
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
    model: { id: run.model.id, revision: run.model.revision, family: info.family, parameters: info.parameters },
    data: run.scenario.provenance,
  };
  return JSON.parse(redactor(process.env)(JSON.stringify(record))) as Record<string, unknown>;
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
