/** Whether a run may go on from a checkpoint: with the same settings, from the same model, data and partition. */
import { readdir } from 'node:fs/promises';
import { camelName, CONFIG_KEYS, defaultOf, keyRow, type RunConfig } from '../config/schema.js';
import { resolveThreads } from '../engine/threads.js';
import { FltacError } from '../errors.js';
import { redactor } from '../net/secrets.js';
import { partitionRecord, savedRoundsOf } from './artifacts.js';
import { readCheckpoint, type CheckpointRecord } from './checkpoint.js';
import { digestOfText } from './digest.js';
import { engineFacts } from './environment.js';
import type { JsonValue } from './journal.js';
import type { Log } from './log.js';
import type { Began, OpenRun } from './open.js';

/** How a run takes what is in its folder: goes on with it, or (auto) begins where there is nothing to go on with. */
export type Resume = boolean | 'auto';

/**
 * The checkpoint that a run goes on from; undefined where it is to begin from the start.
 *
 * @throws FltacError USAGE for a folder without a run, or whose rounds have no checkpoint, and for a configuration that
 *   is not the run's, naming every key that differs; IO or FORMAT for a checkpoint that cannot be read
 */
export async function findCheckpoint(
  folder: string,
  config: RunConfig,
  { resume, log }: { resume: Resume; log: Log },
): Promise<CheckpointRecord | undefined> {
  const record = await readCheckpoint(folder);
  if (record !== undefined) {
    assertSameConfig(folder, record, config);
    return record;
  }
  const names = await readdir(folder);
  if (savedRoundsOf(names).some((round) => round > 0)) {
    throw new FltacError(
      'USAGE',
      `${folder} holds saved rounds but no checkpoint, so the run in it cannot be resumed: ` +
        'choose another output_dir, or give --overwrite to begin anew',
    );
  }
  if (names.includes('config.yaml')) {
    log.info(`the run in ${folder} was broken before its first checkpoint: it begins from the start`);
  } else if (resume !== 'auto') {
    throw new FltacError(
      'USAGE',
      `there is no run to resume in ${folder}: leave --resume out to begin one, or give --resume auto to do either`,
    );
  }
  return undefined;
}

/** The keys that a continuation may not change, with their values. */
export function fixedConfig(config: RunConfig): Record<string, JsonValue> {
  const fixed = CONFIG_KEYS.filter((key) => keyRow(key).resume === 'fixed');
  return Object.fromEntries(fixed.map((key) => [key, config[camelName(key)] as JsonValue]));
}

/** The keys that a continuation may not change and that are other than they were when the checkpoint was written. */
export function changedSettings(
  record: CheckpointRecord,
  config: RunConfig,
): { key: string; before: JsonValue; now: JsonValue }[] {
  const context = { ...config, env: {} };
  return Object.entries(fixedConfig(config)).flatMap(([key, now]) => {
    // A key that the run's version did not have yet had its default's meaning.
    const before = key in record.config ? record.config[key]! : (defaultOf(key as never, context) as JsonValue);
    return same(before, now) ? [] : [{ key, before, now }];
  });
}

function assertSameConfig(folder: string, record: CheckpointRecord, config: RunConfig): void {
  const differences = changedSettings(record, config).map(
    ({ key, before, now }) => `  ${key}: ${JSON.stringify(before)} there, ${JSON.stringify(now)} now`,
  );
  if (differences.length > 0) {
    throw new FltacError(
      'USAGE',
      `the run in ${folder} has other settings:\n${differences.join('\n')}\n` +
        'Give the same to resume it, choose another output_dir, or give --overwrite to begin anew',
    );
  }
  const { round, complete } = record;
  if (config.rounds > round || (config.rounds === round && complete)) return;
  throw new FltacError(
    'USAGE',
    `the run in ${folder} has done ${round} rounds${complete ? '' : ' of more'}: expected rounds of at least ` +
      `${complete ? round : round + 1}, found ${config.rounds}`,
  );
}

/** What a run is made from: its model, its data and who holds which rows; told without secrets. */
export function originOf(run: OpenRun): Record<string, JsonValue> {
  const { model, scenario, partition, config } = run;
  const data = scenario.provenance.map(({ repo, revision, files }) => ({ repo, revision, files: [...files] }));
  const rows = partitionRecord(partition, config);
  const digests = scenario.provenance.flatMap(({ files, sha256 = [] }) => sha256.map((hash, i) => [files[i]!, hash]));
  const origin = {
    model: { id: model.id, revision: model.revision },
    data,
    ...(digests.length > 0 && { files: Object.fromEntries(digests) as Record<string, string> }),
    partition: digestOfText(JSON.stringify(rows)),
  };
  return JSON.parse(redactor(process.env)(JSON.stringify(origin))) as Record<string, JsonValue>;
}

/** @throws FltacError USAGE naming what a checkpoint was made from and what there is now, where they differ */
export function assertSameOrigin(folder: string, record: CheckpointRecord, run: OpenRun): void {
  const now = originOf(run);
  const differences = Object.keys(now).flatMap((name) => {
    // Checkpoints of versions before it do not say what the files held.
    const [there, here] = [record.origin[name] ?? (name === 'files' ? now[name]! : null), now[name]!];
    return same(there, here) ? [] : [`  ${name}: ${JSON.stringify(there)} there, ${JSON.stringify(here)} now`];
  });
  if (differences.length === 0) return;
  throw new FltacError(
    'USAGE',
    `the run in ${folder} was made from other model files or data:\n${differences.join('\n')}\n` +
      'Restore them to resume it, choose another output_dir, or give --overwrite to begin anew',
  );
}

/** What the rounding of a run's floats may depend on. */
export function machineOf(run: OpenRun): Record<string, JsonValue> {
  const { info } = run.engine;
  return {
    cohort: run.cohort.size,
    threads: resolveThreads(run.config.threads),
    device: info.device,
    dtype: info.dtype,
    ...engineFacts(run),
  };
}

/** The type of the weights that the run began with, which a measurement may have chosen: now it may choose another. */
export function beganWith(record: CheckpointRecord | undefined): Began {
  const dtype = record?.machine['dtype'];
  return typeof dtype === 'string' ? { dtype } : {};
}

/**
 * The run with the cohort that it began with, where it is left to fltac to choose: another one, for another amount of
 * memory, would round otherwise.
 */
export function keepCohort(run: OpenRun, record: CheckpointRecord | undefined): OpenRun {
  const before = record?.machine['cohort'];
  if (run.config.cohort !== 'auto' || typeof before !== 'number' || before === run.cohort.size) return run;
  return { ...run, cohort: { size: before, reason: 'the run began with it; cohort=N chooses another' } };
}

/** Tells of a machine, settings or a version that may round otherwise than those that the run began with. */
export function tellOfDifferences(record: CheckpointRecord, run: OpenRun, version: string, log: Log): void {
  const now: Record<string, JsonValue> = { fltac: version, ...machineOf(run) };
  const before: Readonly<Record<string, JsonValue>> = { fltac: record.fltac, ...record.machine };
  const differences = [...new Set([...Object.keys(before), ...Object.keys(now)])].flatMap((name) =>
    same(before[name] ?? null, now[name] ?? null)
      ? []
      : [`${name} was ${JSON.stringify(before[name])}, is ${JSON.stringify(now[name])}`],
  );
  if (differences.length === 0) return;
  log.warn(
    `${differences.join('; ')}: the run goes on, but its numbers may differ in their last digits from those of a run ` +
      'that was not interrupted',
  );
}

/** JSON values alike, whatever the order of an object's keys. */
function same(a: JsonValue, b: JsonValue): boolean {
  return JSON.stringify(a, sorted) === JSON.stringify(b, sorted);
}

function sorted(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
