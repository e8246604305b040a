/** Checks of a run's partition and journals: they need neither model nor data. */
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { GROUPINGS } from '../../federation/server.js';
import { adjustedRandIndex, clusteringAccuracy } from '../../federation/scoring.js';
import { drawParticipants, participationOf } from '../../federation/participation.js';
import { trueTask, type Plan } from '../../federation/plan.js';
import { roundFile } from '../artifacts.js';
import { digestOfFile, digestOfText } from '../digest.js';
import { RUN_FILES } from '../folder.js';
import { entryOf, listedFiles, type ManifestEntry } from '../manifest.js';
import {
  arrivedAdapters,
  expectedLocals,
  holders,
  partOf,
  readJson,
  type Evidence,
  type Journals,
  type PlanEvidence,
} from './evidence.js';
import { skipped, type Faults, type Finding } from './findings.js';
import type { AssignmentLine, EvalLine, LocalLine, RoundLines } from './journals.js';

/** Sizes and digests of the files that manifest.json lists, and no others. */
export async function checkManifest({ folder }: Evidence, complete: boolean, faults: Faults): Promise<Finding> {
  const file = path.join(folder, RUN_FILES.manifest);
  const present = await listedFiles(folder);
  const manifest = await readJson(file).catch((error: unknown) => {
    if ((error as Error & { cause?: NodeJS.ErrnoException }).cause?.code === 'ENOENT') return undefined;
    throw error;
  });
  if (manifest === undefined) {
    const why = complete ? 'it was removed, or the run is of a version before it' : 'a run writes it at its end';
    return skipped('manifest', `there is no ${RUN_FILES.manifest} (${why}): digests are not compared`);
  }
  const files = (manifest['files'] ?? {}) as Readonly<Record<string, Partial<ManifestEntry>>>;
  for (const name of present.filter((found) => !(found in files))) faults.add(`${name} is not listed`);
  for (const [name, entry] of Object.entries(files)) {
    if (!present.includes(name)) {
      faults.add(`${name} is missing`);
      continue;
    }
    const found = await entryOf(path.join(folder, name));
    if (found.bytes !== entry.bytes) faults.add(`${name} has ${found.bytes} bytes, not ${String(entry.bytes)}`);
    else if (found.sha256 !== entry.sha256) faults.add(`${name} has another SHA-256`);
  }
  return faults.finding('manifest', `${Object.keys(files).length} files have their size and SHA-256`);
}

/** That partition.json is what the configuration's seed and the tasks' sizes give. */
export function checkPartition({ found, expected, plan }: PlanEvidence, faults: Faults): Finding {
  for (const [field, value] of Object.entries(expected)) {
    if (!isDeepStrictEqual(found[field], value))
      faults.add(`${RUN_FILES.partition}: ${field} is not what the seed gives`);
  }
  const right = `${plan.tasks.length} tasks over ${plan.nClients} clients, split anew from the seed: counts and digests equal`;
  return faults.finding('partition', right);
}

/** Complete rounds in order, with the records that configuration and partition ask for. */
export function checkMetrics(run: Evidence, plan: Plan, { metrics }: Journals, faults: Faults): Finding {
  const held = new Set(plan.adapters.flatMap(({ parts }) => parts.map(({ task }) => plan.tasks[task]!)));
  const untuned = { round: 0, evals: metrics.untuned };
  if (metrics.rounds.length > 0 || run.plannedRounds === 0) checkEvals(untuned, held, untuned, faults);
  // A resumed run may be evaluated on other rows than before.
  const evaluated = [untuned, ...metrics.rounds.filter(({ evals }) => evals.length > 0)];
  const firstOf = new Map([...evaluated].reverse().map((entry) => [partOf(run, entry.round), entry]));
  for (const lines of metrics.rounds) {
    checkClients(run, plan, lines, faults);
    checkLocals(run, plan, lines, faults);
    if (lines.evals.length > 0) checkEvals(lines, held, firstOf.get(partOf(run, lines.round))!, faults);
  }
  const { length } = metrics.rounds;
  if (length > run.plannedRounds) faults.add(`${length} rounds are recorded, config.yaml has ${run.plannedRounds}`);
  const last = metrics.rounds.at(-1);
  if (length === run.plannedRounds && last?.evals.length === 0)
    faults.add(`round ${length}, the last, has no evaluation`);
  if (length === run.plannedRounds && metrics.unfinished > 0) {
    faults.add(`${metrics.unfinished} lines follow the last round`);
  }
  if (length === 0 && run.plannedRounds > 0 && !faults.any) return skipped('metrics', roundsText(0, run.plannedRounds));
  return faults.finding('metrics', `${roundsText(length, run.plannedRounds)}, records as partition and config ask for`);
}

/** That those took part whom the seed draws. */
function checkClients({ config, method }: Evidence, plan: Plan, { round, clients }: RoundLines, faults: Faults): void {
  const all = holders(plan);
  const { selected, dropped, stragglers } = drawParticipants(participationOf(method, config), all, round);
  const drawn = { selected, dropped, stragglers: [...stragglers.keys()] };
  const told = clients ?? { selected: all, dropped: [], stragglers: [] };
  for (const [field, value] of Object.entries(drawn)) {
    if (!isDeepStrictEqual(told[field as keyof typeof drawn], value)) {
      faults.add(`round ${round}: ${field} clients are not those that the seed draws (${value.join(', ') || 'none'})`);
    }
  }
}

function checkLocals(run: Evidence, plan: Plan, lines: RoundLines, faults: Faults): void {
  const { round, local, done, clients } = lines;
  const expected = new Map<string, object>(
    expectedLocals(plan, run, lines).map((entry) => [`${entry.client}/${entry.task}`, entry]),
  );
  const seen = new Set<string>();
  for (const { client, task, n, steps, ...losses } of local) {
    const key = `${client}/${task}`;
    const who = `round ${round}, client ${client}, ${task}`;
    checkLosses(who, steps, losses, faults);
    if (seen.has(key)) faults.add(`${who}: two local records`);
    seen.add(key);
    const own = expected.get(key);
    if (own === undefined) faults.add(`${who}: the client holds no rows of the task`);
    else if (!isDeepStrictEqual(own, { client, task, n, steps })) {
      faults.add(`${who}: n ${n} and steps ${steps} are not what partition and config give`);
    }
  }
  if (seen.size !== expected.size) faults.add(`round ${round}: ${seen.size} local records, not ${expected.size}`);
  const steps = local.reduce((sum, record) => sum + record.steps, 0);
  // Clients that failed took steps too, and have no record.
  const failed = (clients?.failed.length ?? 0) > 0;
  if (failed ? steps > done.optimizer_steps : steps !== done.optimizer_steps)
    faults.add(`round ${round}: optimizer_steps is ${done.optimizer_steps}, not ${steps}`);
}

/** The mean of losses that are not negative is at least that of the first and the last, and theirs where there are no others. */
function checkLosses(
  who: string,
  steps: number,
  { loss, first_loss, last_loss }: Pick<LocalLine, 'loss' | 'first_loss' | 'last_loss'>,
  faults: Faults,
): void {
  const least = (steps === 1 ? first_loss : first_loss + last_loss) / steps;
  const rounding = 1e-9 * least;
  if (loss < least - rounding || (steps <= 2 && loss > least + rounding) || (steps === 1 && first_loss !== last_loss)) {
    faults.add(`${who}: ${loss} is not the mean of ${steps} losses from ${first_loss} to ${last_loss}`);
  }
}

interface Evaluated {
  round: number;
  evals: readonly EvalLine[];
}

/** @param first an evaluation on the same rows */
function checkEvals({ round, evals }: Evaluated, held: ReadonlySet<string>, first: Evaluated, faults: Faults): void {
  const when = first.round === 0 ? 'before any training' : `in round ${first.round}`;
  const tasks = evals.map(({ task }) => task);
  if (tasks.length !== held.size || !tasks.every((task) => held.has(task)) || new Set(tasks).size !== tasks.length) {
    faults.add(`round ${round}: evaluated are ${tasks.join(', ') || 'no tasks'}, not ${[...held].join(', ')}`);
  }
  for (const { task, metric, loss, rows, adapters, ...rest } of evals) {
    const who = `round ${round}, ${task}`;
    const before = first.evals.find((line) => line.task === task);
    for (const [field, value] of Object.entries({
      rows,
      majority_floor: rest['majority_floor'],
      tokens: rest['tokens'],
    })) {
      if (before?.[field] !== value)
        faults.add(`${who}: ${field} is ${String(value)}, ${when} it was ${String(before?.[field])}`);
    }
    // A language model's records have tokens and its metric is a loss; all others' metric is a share of rows.
    if ('tokens' in rest) continue;
    if (metric > 1) faults.add(`${who}: the accuracy is ${metric}`);
    else if (adapters === 1 && Math.abs(metric * rows - Math.round(metric * rows)) > 1e-6) {
      faults.add(`${who}: the accuracy ${metric} is no whole number of ${rows} rows`);
    } else if (!Number.isFinite(loss)) faults.add(`${who}: the loss is ${loss}`);
  }
}

/** Submissions, labels and scores of each round, recomputed from the plan and the labels. */
export function checkAssignments(run: Evidence, plan: Plan, journals: Journals, faults: Faults): Finding {
  const { assignments, metrics } = journals;
  const complete = metrics.rounds.length;
  if (complete === run.plannedRounds)
    for (const name of journals.cut) faults.add(`${name} ends in the middle of a line`);
  const allowed = complete === run.plannedRounds ? [complete] : [complete, complete + 1];
  if (!allowed.includes(assignments.length))
    faults.add(`${assignments.length} rounds, but metrics.jsonl has ${complete}`);
  assignments.forEach((line, i) => {
    if (line.round !== i + 1) faults.add(`line ${i + 1} is of round ${line.round}`);
    const lines = metrics.rounds[i];
    // Of a round that broke off after this line nothing tells who failed.
    const columns = lines === undefined ? {} : submittedColumns(plan, run, lines);
    for (const [field, value] of Object.entries(columns)) {
      if (!isDeepStrictEqual(line[field], value))
        faults.add(`round ${line.round}: ${field} differ from the partition's`);
    }
    checkLabels(line, faults);
    checkScores(run, line, lines, faults);
  });
  if (assignments.length === 0 && !faults.any) return skipped('assignments', 'no round was assigned yet');
  return faults.finding('assignments', `${assignments.length} rounds, labels and scores recomputed: equal`);
}

/** Of the adapters that were averaged. */
function submittedColumns(plan: Plan, run: Evidence, lines: RoundLines) {
  const sent = lines.clients?.aggregated === false ? [] : arrivedAdapters(plan, run, lines);
  return {
    true_tasks: sent.map((adapter) => trueTask(plan, adapter)),
    clients: sent.map(({ client }) => client),
    samples: sent.map(({ samples }) => samples),
  };
}

function checkLabels({ round, labels, true_tasks, clusters }: AssignmentLine, faults: Faults): void {
  const used = new Set(labels);
  if (labels.length !== true_tasks.length)
    faults.add(`round ${round}: ${labels.length} labels, ${true_tasks.length} tasks`);
  if (used.size !== clusters || Math.max(-1, ...labels) !== clusters - 1) {
    faults.add(`round ${round}: ${clusters} clusters, but labels ${[...used].sort((a, b) => a - b).join(', ')}`);
  }
}

function checkScores(run: Evidence, line: AssignmentLine, lines: RoundLines | undefined, faults: Faults): void {
  const { round, labels, true_tasks } = line;
  if (labels.length !== true_tasks.length) return;
  const scored = GROUPINGS[run.method.grouping].scored && labels.length > 0;
  const expected = {
    clustering_accuracy: scored ? clusteringAccuracy(labels, true_tasks) : null,
    ari: scored ? adjustedRandIndex(labels, true_tasks) : null,
  };
  for (const [field, value] of Object.entries(expected)) {
    if (line[field] !== value)
      faults.add(`round ${round}: ${field} is ${String(line[field])}, the labels give ${value}`);
  }
  const told = lines?.done.clustering_accuracy;
  if (told !== undefined && told !== line.clustering_accuracy) {
    faults.add(
      `round ${round}: round_done has clustering_accuracy ${told}, the assignment ${line.clustering_accuracy}`,
    );
  }
}

/** That records, assignments and adapters are still those that each round's proof was written over. */
export async function checkProofs({ folder }: Evidence, journals: Journals, faults: Faults): Promise<Finding> {
  const { metrics, assignments } = journals;
  let proved = 0;
  for (const { round, done, text } of metrics.rounds) {
    if (done.proof === undefined) continue;
    proved += 1;
    const { records_sha256, assignment_sha256, adapters_sha256, cluster_sizes } = done.proof;
    const { labels = [] } = assignments[round - 1] ?? {};
    const sizes = cluster_sizes.map((_, cluster) => labels.filter((label) => label === cluster).length);
    if (sizes.join() !== cluster_sizes.join() || sizes.reduce((sum, size) => sum + size, 0) !== labels.length)
      faults.add(
        `round ${round}: its proof has clusters of ${cluster_sizes.join(', ')}, the labels ${sizes.join(', ')}`,
      );
    if (digestOfText(text) !== records_sha256) faults.add(`round ${round}: its lines in metrics.jsonl were changed`);
    if (digestOfText(assignments[round - 1]?.text ?? '') !== assignment_sha256) {
      faults.add(`round ${round}: its line in cluster_assignments.jsonl was changed`);
    }
    if (adapters_sha256 === null) continue;
    const found = await digestOfFile(roundFile(folder, round)).catch((error: unknown) => faults.catch(error));
    if (found !== undefined && found !== adapters_sha256)
      faults.add(`round ${round}: adapters_round_${round}.pt was changed`);
  }
  if (proved === 0) return skipped('round proofs', 'no round has a proof');
  return faults.finding('round proofs', `${proved} rounds are bound to their records and adapters by SHA-256`);
}

function roundsText(complete: number, planned: number): string {
  if (complete === planned) return `${planned} rounds are complete`;
  return `${complete} of ${planned} rounds are complete (interrupted or still running)`;
}
