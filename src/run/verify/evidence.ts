/** What a run's folder says of itself, opened once for all checks; what cannot be read is each check's own fault. */
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import type { RunConfig } from '../../config/schema.js';
import { FltacError, messageOf } from '../../errors.js';
import type { EngineFace } from '../../federation/engine.js';
import { aggregationOf, type Aggregation } from '../../federation/aggregation.js';
import { METHODS, stepsPerTask, type Method } from '../../federation/methods.js';
import { partitionTasks } from '../../federation/partition.js';
import { drawParticipants, participationOf, stepsDone } from '../../federation/participation.js';
import { planAdapters, type Plan, type PlannedAdapter } from '../../federation/plan.js';
import { partitionRecord, savedRoundsOf } from '../artifacts.js';
import { RUN_FILES } from '../folder.js';
import type { Faults } from './findings.js';
import {
  readAssignments,
  readGeometry,
  readMetrics,
  type AssignmentLine,
  type GeometryLine,
  type Metrics,
  type RoundLines,
} from './journals.js';

export interface Evidence {
  /** absolute */
  folder: string;
  face: EngineFace;
  config: RunConfig;
  method: Method;
  aggregation: Aggregation;
  /** rounds that the configuration asks for */
  plannedRounds: number;
  /** rounds with adapters_round_<t>.pt, in order */
  savedRounds: readonly number[];
  /** in order */
  continuations: readonly Continuation[];
}

/** One of `resumed` in environment.json: after which round a run went on, and what was different then. */
export interface Continuation {
  readonly after_round: number;
  readonly [fact: string]: unknown;
}

export async function gatherEvidence(folder: string, face: EngineFace, config: RunConfig): Promise<Evidence> {
  const method = METHODS[config.method];
  const savedRounds = savedRoundsOf(await readdir(folder));
  const plannedRounds = method.adapters === 'none' ? 0 : config.rounds;
  const aggregation = aggregationOf(method.grouping, config.aggregation);
  const continuations = await continuationsOf(path.join(folder, RUN_FILES.environment));
  return { folder, face, config, method, aggregation, plannedRounds, savedRounds, continuations };
}

/** None where the record cannot be read, which is the fault of checks that need it. */
async function continuationsOf(environment: string): Promise<Continuation[]> {
  const { resumed }: Record<string, unknown> = await readJson(environment).catch(() => ({}));
  const isContinuation = (entry: unknown): entry is Continuation =>
    typeof entry === 'object' && entry !== null && 'after_round' in entry && Number.isSafeInteger(entry.after_round);
  return Array.isArray(resumed) ? resumed.filter(isContinuation) : [];
}

/** How often a run had been resumed before a round; round 0 is evaluated within the first. */
export function partOf({ continuations }: Pick<Evidence, 'continuations'>, round: number): number {
  return continuations.filter(({ after_round }) => after_round < Math.max(1, round)).length;
}

/** The partition and the plan that follow from config.yaml and the number of rows in partition.json. */
export interface PlanEvidence {
  plan: Plan;
  /** partition.json as the configuration makes it */
  expected: Record<string, unknown>;
  /** partition.json as it stands */
  found: Record<string, unknown>;
}

/** @throws FltacError IO or FORMAT for a partition.json that cannot be read, USAGE for rows that make no partition */
export async function planEvidence({ folder, config, method }: Evidence): Promise<PlanEvidence> {
  const file = path.join(folder, RUN_FILES.partition);
  const found = await readJson(file);
  const { tasks, rows } = found;
  const isCounts = (line: unknown): line is number[] => Array.isArray(line) && line.every(Number.isSafeInteger);
  if (!Array.isArray(tasks) || !Array.isArray(rows) || !rows.every(isCounts)) {
    throw new FltacError('FORMAT', `${file} lacks its tasks or its rows of each client`);
  }
  // A task's rows are all given to someone, so that its column tells how many there were.
  const sizes = config.tasks.map((name, task) => ({
    name,
    rows: rows.reduce((sum, line) => sum + (line[task] ?? 0), 0),
  }));
  const partition = partitionTasks(sizes, {
    nClients: config.nClients,
    dirichletAlpha: config.dirichletAlpha,
    minFrac: config.minFrac,
    seed: config.seed,
    order: config.partitionOrder,
  });
  const plan = planAdapters({
    adapters: method.adapters,
    data: method.data,
    tasks: config.tasks,
    counts: partition.rows.map((client) => client.map((part) => part.length)),
    seed: config.seed,
  });
  return { plan, found, expected: partitionRecord(partition, config) };
}

/** @throws FltacError IO; FORMAT for text that is no JSON object */
export async function readJson(file: string): Promise<Record<string, unknown>> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new FltacError('IO', `${file} cannot be read: ${messageOf(cause)}`, { cause });
  });
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Told below: what it is instead does not matter.
  }
  throw new FltacError('FORMAT', `${file} does not hold a JSON object`);
}

export interface Journals {
  metrics: Metrics;
  assignments: AssignmentLine[];
  geometry: GeometryLine[];
  /** names of the journals of one record a round whose last one was cut off */
  cut: string[];
}

/** @throws FltacError IO or FORMAT; lines out of order are faults */
export async function readJournals({ folder, plannedRounds }: Evidence, faults: Faults): Promise<Journals> {
  const metrics = await readMetrics(path.join(folder, RUN_FILES.metrics), faults);
  // A method that trains nothing makes neither assignments nor geometry.
  if (plannedRounds === 0) return { metrics, assignments: [], geometry: [], cut: [] };
  const assignments = await readAssignments(path.join(folder, RUN_FILES.assignments));
  const geometry = await readGeometry(path.join(folder, RUN_FILES.geometry));
  const cut = [...(assignments.cut ? [RUN_FILES.assignments] : []), ...(geometry.cut ? [RUN_FILES.geometry] : [])];
  return { metrics, assignments: assignments.lines, geometry: geometry.lines, cut };
}

/** What one client's local training of one task should say. */
export interface ExpectedLocal {
  client: number;
  task: string;
  n: number;
  steps: number;
}

/** The local records of a round, by client and listed task. */
export function expectedLocals(plan: Plan, run: Evidence, lines: RoundLines): ExpectedLocal[] {
  const { method, config } = run;
  const { stragglers } = drawParticipants(participationOf(method, config), holders(plan), lines.round);
  return arrivedAdapters(plan, run, lines).flatMap(({ client, parts }) =>
    parts.map(({ task, samples, holders: shared }) => {
      const full = stepsPerTask(method, config, { tasks: parts.length, holders: shared });
      return { client, task: plan.tasks[task]!, n: samples, steps: stepsDone(stragglers.get(client), full) };
    }),
  );
}

/** The adapters of a round that came in: of clients that took part and whose training did not fail. */
export function arrivedAdapters(
  plan: Plan,
  { method, config }: Evidence,
  { round, clients, local }: RoundLines,
): PlannedAdapter[] {
  // Too few may have been asked to train at all; min_clients may have been another than it is now.
  if (clients?.aggregated === false && local.length === 0) return [];
  const { selected, dropped } = drawParticipants(participationOf(method, config), holders(plan), round);
  const absent = new Set([...dropped, ...(clients?.failed ?? []).map(({ client }) => client)]);
  return plan.adapters.filter(({ client }) => selected.includes(client) && !absent.has(client));
}

/** Clients with data, ascending. */
export function holders(plan: Plan): number[] {
  return [...new Set(plan.adapters.map(({ client }) => client))];
}
