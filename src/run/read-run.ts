/** What a run's folder tells of the run: its settings, scores and costs, from config.yaml and metrics.jsonl alone. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { CONFIG_KEYS, camelName, keyRow, type ConfigKey, type RunConfig } from '../config/index.js';
import { FltacError, messageOf } from '../errors.js';
import { METHODS } from '../federation/methods.js';
import { RUN_FILES } from './folder.js';
import { readRunConfig } from './saved.js';

/** What all rounds of a run cost together. */
export interface RunCosts {
  /** of all clients */
  readonly optimizerSteps: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** wall-clock time of the rounds */
  readonly seconds: number;
}

export interface ReadTask {
  readonly task: string;
  readonly metric: number;
  /** share of the most frequent label of the evaluated rows; null for a language model's task */
  readonly majorityFloor: number | null;
  /** before any training */
  readonly untuned: number;
}

/** A finished run. */
export interface ReadRun {
  /** after the last round, in listed order */
  readonly tasks: readonly ReadTask[];
  readonly costs: RunCosts;
  /** of the last round; null where the method does not cluster by task */
  readonly clusteringAccuracy: number | null;
  /** relative error of averaging factors, of the last round; null where nothing was averaged */
  readonly factorError: number | null;
}

/** `absent`: no run was begun there; `unfinished`: its last round is not complete, or the files of its end are not. */
export type RunStatus = 'absent' | 'unfinished' | 'finished';

interface MetricsRecord {
  round: number;
  phase: string;
  task?: string;
  metric?: number;
  majority_floor?: number | null;
  optimizer_steps?: number;
  seconds?: number;
  clustering_accuracy?: number | null;
  factor_error?: number | null;
  up?: number;
  down?: number;
}

/**
 * Looks at the folder of a planned run.
 *
 * @throws FltacError USAGE for a run of other settings; FORMAT for records that are not those of a run
 */
export async function statusOf(config: RunConfig): Promise<RunStatus> {
  const text = await readIfThere(path.join(config.outputDir, RUN_FILES.config));
  if (text === undefined) return 'absent';
  assertSameSettings(readRunConfig(config.outputDir), config);
  // The manifest is written last: without it the last round may lack its checkpoint, or the run its final adapters.
  const manifest = await readIfThere(path.join(config.outputDir, RUN_FILES.manifest));
  return manifest === undefined || (await readRun(config)) === undefined ? 'unfinished' : 'finished';
}

/**
 * Reads the run of a configuration from its folder; undefined where its last round is not complete.
 *
 * @throws FltacError IO, FORMAT
 */
export async function readRun(config: RunConfig): Promise<ReadRun | undefined> {
  const file = path.join(config.outputDir, RUN_FILES.metrics);
  const records = parseRecords((await readIfThere(file)) ?? '', file);
  const rounds = METHODS[config.method].adapters === 'none' ? 0 : config.rounds;
  const last = records.filter((record) => record.phase === 'round_done' && record.round === rounds).at(-1);
  const scores = evaluated(records, rounds);
  const complete = config.tasks.every((task) => scores.has(task)) && (rounds === 0 || last !== undefined);
  if (!complete) return undefined;
  const before = evaluated(records, 0);
  return {
    tasks: config.tasks.map((task): ReadTask => {
      const { metric, majority_floor: floor } = scores.get(task)!;
      return { task, metric: metric!, majorityFloor: floor ?? null, untuned: before.get(task)!.metric! };
    }),
    costs: costsOf(records),
    clusteringAccuracy: last?.clustering_accuracy ?? null,
    factorError: last?.factor_error ?? null,
  };
}

/** The costs in a run's records. */
function costsOf(records: readonly MetricsRecord[]): RunCosts {
  const sum = (phase: string, value: (record: MetricsRecord) => number | undefined) =>
    records.filter((record) => record.phase === phase).reduce((total, record) => total + (value(record) ?? 0), 0);
  return {
    optimizerSteps: sum('round_done', (record) => record.optimizer_steps),
    bytesUp: sum('communication', (record) => record.up),
    bytesDown: sum('communication', (record) => record.down),
    seconds: sum('round_done', (record) => record.seconds),
  };
}

/** @throws FltacError IO, FORMAT */
export async function readCosts(folder: string): Promise<RunCosts> {
  const file = path.join(folder, RUN_FILES.metrics);
  return costsOf(parseRecords((await readIfThere(file)) ?? '', file));
}

function evaluated(records: readonly MetricsRecord[], round: number): Map<string, MetricsRecord> {
  const own = records.filter((record) => record.phase === 'eval' && record.round === round);
  return new Map(own.map((record) => [record.task!, record]));
}

/** What follows the last newline was cut off by a kill or a full disk, and belongs to a round that is not complete. */
function parseRecords(text: string, file: string): MetricsRecord[] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line, i) => {
      try {
        return JSON.parse(line) as MetricsRecord;
      } catch (cause) {
        throw new FltacError('FORMAT', `${file}, line ${i + 1} is not JSON: delete the run's folder`, { cause });
      }
    });
}

/** Keys that a resumed run may change, but that decide what it reports: a finished run of others would pass for this one. */
const DECIDE_RESULTS: readonly ConfigKey[] = [
  'rounds',
  'min_clients',
  'on_client_failure',
  'max_eval_batches',
  'eval_batch_size',
];

function assertSameSettings(there: RunConfig, wanted: RunConfig): void {
  const different = CONFIG_KEYS.filter((key) => {
    const name = camelName(key);
    const compared = keyRow(key).resume === 'fixed' || DECIDE_RESULTS.includes(key);
    return compared && JSON.stringify(there[name]) !== JSON.stringify(wanted[name]);
  });
  if (different.length === 0) return;
  const named = different
    .map((key) => `${key} ${JSON.stringify(there[camelName(key)])}, not ${JSON.stringify(wanted[camelName(key)])}`)
    .join('; ');
  throw new FltacError(
    'USAGE',
    `${wanted.outputDir} holds a run with ${named}: choose another --output-dir, or delete that folder`,
  );
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new FltacError('IO', `${file} cannot be read: ${messageOf(cause)}`, { cause });
  }
}
