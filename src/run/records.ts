/**
 * The records of metrics.jsonl and cluster_assignments.jsonl. Their first fields are the published code's; times stand
 * in fields named `seconds` only, so that two runs of one seed differ in nothing else.
 */
import type { TaskScore } from '../federation/evaluation.js';
import type { LocalReport } from '../federation/executor.js';
import type { Geometry } from '../federation/geometry.js';
import type { RoundAssignment, RoundClients, RoundOutcome } from '../federation/outcome.js';
import type { JsonRecord } from './journal.js';

/** All records of one round, `round_done` last: a round whose last record is absent did not happen. */
export function roundRecords(outcome: RoundOutcome): JsonRecord[] {
  return [
    ...(outcome.clients.everyone ? [] : [clientsRecord(outcome.round, outcome.clients)]),
    ...outcome.local.map((report) => localRecord(outcome.round, report)),
    ...outcome.traffic.map(({ client, adapters, up, down }) => ({
      ...{ round: outcome.round, phase: 'communication', client, adapters, up, down },
    })),
    ...evalRecords(outcome.round, outcome.scores ?? []),
    {
      round: outcome.round,
      phase: 'round_done',
      seconds: outcome.seconds,
      optimizer_steps: outcome.optimizerSteps,
      clustering_accuracy: outcome.assignment.clusteringAccuracy,
      factor_error: outcome.products?.factorError ?? null,
      truncation_error: outcome.products?.truncationError ?? null,
    },
  ];
}

/** Who took part, where it was not everyone wholly. */
function clientsRecord(round: number, clients: RoundClients): JsonRecord {
  const { selected, dropped, stragglers, aggregated } = clients;
  const failed = clients.failed.map(({ client, task, reason }) => ({ client, task, reason }));
  return { round, phase: 'clients', selected, dropped, stragglers, failed, aggregated };
}

/** `loss` is the mean over the local steps, as the published code logs it. */
function localRecord(round: number, report: LocalReport): JsonRecord {
  const { client, task, samples, losses } = report;
  const loss = losses.reduce((sum, value) => sum + value, 0) / losses.length;
  return {
    round,
    phase: 'local',
    client,
    task,
    loss,
    n: samples,
    first_loss: losses[0]!,
    last_loss: losses[losses.length - 1]!,
    steps: losses.length,
  };
}

/** Round 0 is the common initial adapter, before any training. */
export function evalRecords(round: number, scores: readonly TaskScore[]): JsonRecord[] {
  return scores.map(({ task, metric, majorityFloor, loss, rows, adapters, tokens }) => ({
    round,
    phase: 'eval',
    task,
    metric,
    loss,
    majority_floor: majorityFloor,
    rows,
    adapters,
    // `metric` is the mean of batch means, as published; this is the mean over all tokens, under the name people look for.
    ...(tokens === undefined ? {} : { token_loss: loss, tokens }),
  }));
}

export function assignmentRecord(round: number, assignment: RoundAssignment): JsonRecord {
  const { labels, trueTasks, clusteringAccuracy, ari, inertia, clusters, iterations, reseeded, path } = assignment;
  return {
    round,
    labels,
    true_tasks: trueTasks,
    clustering_accuracy: clusteringAccuracy,
    ari,
    inertia,
    clients: assignment.clients,
    samples: assignment.samples,
    clusters,
    iterations,
    reseeded,
    path,
    margin: rounded(assignment.margin),
    silhouette: rounded(assignment.silhouette),
    update_norms: assignment.updateNorms,
    clipped: assignment.clipped,
    outliers: assignment.outliers.map(({ submission, measure, value, median }) => ({
      submission,
      client: assignment.clients[submission]!,
      task: trueTasks[submission]!,
      measure,
      value,
      median,
    })),
  };
}

/**
 * Where a round's submissions lay: squared distances in the space of K-means, as base64 of little-endian float32, because
 * they are many.
 */
export function geometryRecord(round: number, { submissions, squared }: Geometry): JsonRecord {
  const bytes = Buffer.alloc(squared.length * Float32Array.BYTES_PER_ELEMENT);
  squared.forEach((value, i) => bytes.writeFloatLE(value, i * Float32Array.BYTES_PER_ELEMENT));
  return { round, submissions, squared_distances: bytes.toString('base64') };
}

/** To six decimals: they lie between -1 and 1. */
function rounded(values: readonly number[] | null): number[] | null {
  return values && values.map((value) => Math.round(value * 1e6) / 1e6);
}
