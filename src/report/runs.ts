/** Runs as the report sees them: what a folder's journals and records say, complete rounds only. */
import { access, readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { RunConfig } from '../config/schema.js';
import { scenarioRow } from '../config/scenarios.js';
import { FltacError, messageOf } from '../errors.js';
import type { MetricName } from '../data/scenario.js';
import { METHODS } from '../federation/methods.js';
import { isRunning, RUN_FILES } from '../run/folder.js';
import { readRunConfig } from '../run/saved.js';
import {
  ASSIGNMENT_RECORD,
  GEOMETRY_RECORD,
  METRIC_RECORD,
  isKnownPhase,
  readJournal,
  type AssignmentRecord,
  type GeometryRecord,
  type MetricRecord,
} from './journals.js';

export type Evaluation = Extract<MetricRecord, { phase: 'eval' }>;
export type Local = Extract<MetricRecord, { phase: 'local' }>;
export type Communication = Extract<MetricRecord, { phase: 'communication' }>;
export type RoundDone = Extract<MetricRecord, { phase: 'round_done' }>;

/** Where a round's submissions lay. */
export interface RoundGeometry {
  readonly round: number;
  /** indices into the round's assignment */
  readonly submissions: readonly number[];
  /** squared distance of submissions i and j, by their places in `submissions` */
  squared: (i: number, j: number) => number;
}

export interface Run {
  /** short and unique within a report */
  readonly name: string;
  /** absolute path */
  readonly folder: string;
  readonly config: RunConfig;
  readonly metric: MetricName;
  /** in listed order */
  readonly tasks: readonly string[];
  /** rows[client][task] that clients train on; tasks as in `tasks` */
  readonly allocation: readonly (readonly number[])[];
  /** rounds that the method takes; 0 where nothing is trained */
  readonly plannedRounds: number;
  /** complete rounds, ascending */
  readonly rounds: readonly RoundDone[];
  /** of complete rounds and of round 0 */
  readonly evaluations: readonly Evaluation[];
  readonly local: readonly Local[];
  /** bytes of each client and round; empty for runs that did not record them */
  readonly communication: readonly Communication[];
  readonly assignments: readonly AssignmentRecord[];
  readonly geometry: readonly RoundGeometry[];
  readonly environment: Environment;
  /** a process works in the folder now, or was killed in it */
  readonly locked: boolean;
}

const ENVIRONMENT = z.looseObject({
  fltac: z.string().optional(),
  started: z.string().optional(),
  cpu: z.string().optional(),
  cores: z.number().optional(),
  threads: z.number().optional(),
  device: z.string().optional(),
  dtype: z.string().optional(),
  adapter_values: z.number().optional(),
  model: z.looseObject({ id: z.string(), family: z.string().optional(), parameters: z.number().optional() }).optional(),
});
export type Environment = z.infer<typeof ENVIRONMENT>;

const PARTITION = z.looseObject({
  tasks: z.array(z.string()),
  rows: z.array(z.array(z.number())),
});

/**
 * Reads the runs of a report: the folders, in order, each followed by the baseline that was trained beside it.
 *
 * @throws FltacError USAGE for a folder that is no run's or holds nothing to show yet, for none, and for runs that cannot
 *   be compared; FORMAT naming the file and the line or field; IO
 */
export async function readRuns(folders: readonly string[]): Promise<Run[]> {
  if (folders.length === 0) throw new FltacError('USAGE', 'a report needs at least one run folder');
  const absolute = [...new Set(folders.map((folder) => path.resolve(folder)))];
  const runs: Omit<Run, 'name'>[] = [];
  for (const folder of absolute) {
    runs.push(await readRun(folder));
    for (const baseline of await baselineFolders(folder)) {
      // A baseline that has only begun has nothing to show, and the run beside it has.
      if (!absolute.includes(baseline) && (await exists(path.join(baseline, RUN_FILES.metrics)))) {
        runs.push(await readRun(baseline));
      }
    }
  }
  assertComparable(runs);
  const names = nameRuns(runs);
  return runs.map((run, i) => ({ ...run, name: names[i]! }));
}

async function baselineFolders(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => /^baseline_[a-z]+$/.test(name)).sort();
  return names.map((name) => path.join(folder, name));
}

async function readRun(folder: string): Promise<Omit<Run, 'name'>> {
  await assertRunFolder(folder);
  const config = readRunConfig(folder);
  const file = (name: string) => path.join(folder, name);
  const records = await readJournal(file(RUN_FILES.metrics), METRIC_RECORD, { optional: true, keep: isKnownPhase });
  if (records.length === 0) {
    throw new FltacError(
      'USAGE',
      `${folder} has nothing to show yet: its ${RUN_FILES.metrics} is empty or absent, so the run has not come to its ` +
        'first evaluation; try again later, or choose another run',
    );
  }
  const partition = await readJson(file(RUN_FILES.partition), PARTITION);
  const environment = await readJson(file(RUN_FILES.environment), ENVIRONMENT);
  const rounds = records.filter((record) => record.phase === 'round_done');
  const done = new Set([0, ...rounds.map((record) => record.round)]);
  const complete = <T extends { round: number }>(all: readonly T[]) => all.filter((record) => done.has(record.round));
  const assignments = complete(await readJournal(file(RUN_FILES.assignments), ASSIGNMENT_RECORD, { optional: true }));
  if (rounds.length > 0 && assignments.length === 0) {
    throw new FltacError(
      'IO',
      `${file(RUN_FILES.assignments)} is missing or has no complete round, though ${RUN_FILES.metrics} has ` +
        `${rounds.length}: put it back, or leave the run out`,
    );
  }
  const geometry = complete(await readJournal(file(RUN_FILES.geometry), GEOMETRY_RECORD, { optional: true }));
  const evaluations = complete(records.filter((record) => record.phase === 'eval'));
  const tasks = config.tasks;
  return {
    folder,
    config,
    metric: scenarioRow(config).output === 'next_token' ? 'loss' : 'accuracy',
    tasks,
    allocation: allocationOf(partition, tasks, file(RUN_FILES.partition)),
    plannedRounds: METHODS[config.method].adapters === 'none' ? 0 : config.rounds,
    rounds,
    evaluations,
    communication: complete(records.filter((record) => record.phase === 'communication')),
    local: complete(records.filter((record) => record.phase === 'local')),
    assignments: checked(assignments, file(RUN_FILES.assignments)),
    geometry: geometry.map((record) => geometryOf(record, file(RUN_FILES.geometry), assignments)),
    environment,
    locked: await isRunning(folder),
  };
}

async function assertRunFolder(folder: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (cause) {
    throw new FltacError('USAGE', `${folder} is not a run's folder: ${messageOf(cause)}`, { cause });
  }
  if (names.includes(RUN_FILES.config)) return;
  if (names.length === 0) {
    throw new FltacError('USAGE', `${folder} is empty: give the output_dir of a run, such as results/glue_fltac`);
  }
  const inside: string[] = [];
  for (const name of names.sort()) {
    if (await exists(path.join(folder, name, RUN_FILES.config))) inside.push(path.join(folder, name));
  }
  const hint = inside.length === 0 ? 'give the output_dir of a run' : `it holds runs; give them: ${inside.join(' ')}`;
  throw new FltacError('USAGE', `${folder} is not a run's folder: it has no ${RUN_FILES.config}; ${hint}`);
}

async function readJson<T>(file: string, schema: z.ZodType<T>): Promise<T> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    const code = cause instanceof SyntaxError ? 'FORMAT' : 'IO';
    throw new FltacError(code, `${file} cannot be read: ${messageOf(cause)}`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new FltacError('FORMAT', `${file}: ${z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, ' ')}`);
}

function allocationOf(partition: z.infer<typeof PARTITION>, tasks: readonly string[], file: string): number[][] {
  const columns = tasks.map((task) => partition.tasks.indexOf(task));
  const absent = tasks.find((_, i) => columns[i] === -1);
  if (absent !== undefined) {
    throw new FltacError('FORMAT', `${file} lacks the task ${absent} of the run's ${RUN_FILES.config}`);
  }
  const short = partition.rows.findIndex((counts) => counts.length !== partition.tasks.length);
  if (short >= 0) {
    throw new FltacError(
      'FORMAT',
      `${file}: client ${short} has ${partition.rows[short]!.length} counts for ${partition.tasks.length} tasks`,
    );
  }
  return partition.rows.map((counts) => columns.map((column) => counts[column]!));
}

function checked(assignments: readonly AssignmentRecord[], file: string): readonly AssignmentRecord[] {
  for (const { round, labels, true_tasks: tasks, clients, samples } of assignments) {
    const lengths = [labels.length, tasks.length, clients.length, samples.length];
    if (new Set(lengths).size === 1) continue;
    const found = `${lengths.join(', ')} labels, true_tasks, clients and samples`;
    throw new FltacError('FORMAT', `${file}: round ${round} has ${found}; they must be equally many`);
  }
  return assignments;
}

function geometryOf(record: GeometryRecord, file: string, assignments: readonly AssignmentRecord[]): RoundGeometry {
  const { round, submissions } = record;
  const bytes = Buffer.from(record.squared_distances, 'base64');
  const n = submissions.length;
  const pairs = (n * (n - 1)) / 2;
  if (bytes.length !== pairs * 4) {
    throw new FltacError(
      'FORMAT',
      `${file}: round ${round} has ${bytes.length} bytes of distances, expected ${pairs * 4} for ${n} submissions`,
    );
  }
  const sent = assignments.find((assignment) => assignment.round === round)?.labels.length ?? 0;
  if (submissions.some((index) => index >= sent)) {
    throw new FltacError('FORMAT', `${file}: round ${round} names a submission beyond the ${sent} that were assigned`);
  }
  const squared = (i: number, j: number): number => {
    if (i === j) return 0;
    const [low, high] = i < j ? [i, j] : [j, i];
    return bytes.readFloatLE(4 * (low * n - (low * (low + 1)) / 2 + high - low - 1));
  };
  return { round, submissions, squared };
}

/** Runs can stand in one report where one score means the same in all of them. */
function assertComparable(runs: readonly Omit<Run, 'name'>[]): void {
  const kinds = new Map<string, Omit<Run, 'name'>[]>();
  for (const run of runs) {
    const kind = `${run.config.scenario} (${run.metric})`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), run]);
  }
  const first = runs[0]!;
  const stranger = runs.find((run) => !run.tasks.some((task) => first.tasks.includes(task)));
  if (kinds.size === 1 && stranger === undefined) return;
  const shown = runs.map((run) => `  ${run.folder}: ${run.config.scenario} (${run.metric}), ${run.tasks.join(', ')}`);
  throw new FltacError(
    'USAGE',
    `one report takes runs of one scenario that share tasks; these are of different ones:\n${shown.join('\n')}\n` +
      'make a report of each group, with --out for its place',
  );
}

/**
 * The method where that tells runs apart, else with the seed, else with the folder's name; a number where even that is
 * not enough.
 */
function nameRuns(runs: readonly Omit<Run, 'name'>[]): string[] {
  const forms: ((run: Omit<Run, 'name'>) => string)[] = [
    ({ config }) => config.method,
    ({ config }) => `${config.method}, seed ${config.seed}`,
    ({ folder }) => path.basename(folder),
    ({ config, folder }) => `${path.basename(folder)} (${config.method})`,
    ({ folder }) => path.join(path.basename(path.dirname(folder)), path.basename(folder)),
  ];
  for (const form of forms) {
    const names = runs.map(form);
    if (new Set(names).size === names.length) return names;
  }
  return runs.map(({ folder }, i) => `${i + 1} ${path.basename(folder)}`);
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
