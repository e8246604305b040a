/** Made-up run folders: adapters of a task are a cloud that leaves the common start round by round. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { makeConfig, stringifyConfig, type RunConfig } from '../../src/config/index.js';
import { adjustedRandIndex, clusteringAccuracy } from '../../src/federation/scoring.js';
import { Generator } from '../../src/numpy/index.js';
import { geometryRecord } from '../../src/run/records.js';

export interface MadeUp {
  rounds: number;
  clients: number;
  tasks?: readonly string[];
  /** submissions whose distances are recorded */
  measured?: number;
  method?: RunConfig['method'];
  seed?: number;
  changes?: Partial<RunConfig>;
}

export const TASKS = ['sst2', 'mrpc', 'qnli', 'rte'] as const;
const DIMENSIONS = 8;
const VALUES = 36_864;

/** Writes a run folder of complete rounds as `fltac train` leaves it, adapters aside. */
export async function writeRun(folder: string, options: MadeUp): Promise<string> {
  const { rounds, clients, tasks = TASKS, method = 'fltac', seed = 1, changes = {} } = options;
  const random = new Generator(seed);
  const config = makeConfig(
    { scenario: 'glue', tasks: [...tasks], method, rounds, nClients: clients, seed, outputDir: folder, ...changes },
    {},
  );
  const rows = Array.from({ length: clients }, () =>
    tasks.map(() => (random.random() < 0.75 ? 20 + Math.floor(3000 * random.random() ** 3) : 0)),
  );
  const sent = rows.flatMap((counts, client) => counts.flatMap((n, task) => (n > 0 ? [{ client, task, n }] : [])));
  const truth = sent.map(({ task }) => tasks[task]!);
  const metrics: object[] = tasks.map((task) => evaluation(0, task, 0.52));
  const assignments: object[] = [];
  const geometry: object[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const apart = 4 * (1 - Math.exp(-round / 3));
    const points = sent.map(({ task }) =>
      Array.from({ length: DIMENSIONS }, (_, i) => (i === task % DIMENSIONS ? apart : 0) + random.standardNormal()),
    );
    const labels = points.map((point) => point.indexOf(Math.max(...point.slice(0, tasks.length))));
    const kept = sent.map((_, i) => i).slice(0, options.measured ?? sent.length);
    geometry.push(geometryRecord(round, { submissions: kept, squared: distances(kept.map((i) => points[i]!)) }));
    const accuracy = clusteringAccuracy(labels, truth);
    assignments.push({
      round,
      labels,
      true_tasks: truth,
      clustering_accuracy: accuracy,
      ari: adjustedRandIndex(labels, truth),
      clients: sent.map(({ client }) => client),
      samples: sent.map(({ n }) => n),
    });
    for (const { client, task, n } of sent) {
      const loss = 0.2 + Math.exp(-round / 4) * (0.4 + 0.1 * random.random());
      metrics.push({ round, phase: 'local', client, task: tasks[task]!, loss, n });
    }
    const gain = 0.4 * (1 - Math.exp(-round / 5));
    for (const [i, task] of tasks.entries()) metrics.push(evaluation(round, task, 0.52 + gain / (1 + 0.2 * i)));
    const done = { round, phase: 'round_done', seconds: 1.5, optimizer_steps: sent.length * 50 };
    metrics.push({ ...done, clustering_accuracy: accuracy });
  }
  await mkdir(folder, { recursive: true });
  const write = (name: string, text: string) => writeFile(path.join(folder, name), text);
  const lines = (records: readonly object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');
  await write('config.yaml', stringifyConfig(config));
  await write('environment.json', JSON.stringify({ fltac: '0.1.0', adapter_values: VALUES }));
  await write('partition.json', JSON.stringify({ tasks, rows }));
  await write('metrics.jsonl', lines(metrics));
  await write('cluster_assignments.jsonl', lines(assignments));
  await write('geometry.jsonl', lines(geometry));
  return folder;
}

function evaluation(round: number, task: string, metric: number): object {
  return { round, phase: 'eval', task, metric, loss: 1 - metric, rows: 400, adapters: 1, majority_floor: 0.51 };
}

/** Squared distances of pairs i < j, row by row. */
function distances(points: readonly (readonly number[])[]): Float32Array {
  return Float32Array.from(
    points.flatMap((a, i) => points.slice(i + 1).map((b) => a.reduce((sum, x, c) => sum + (x - b[c]!) ** 2, 0))),
  );
}
