import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { AdapterBank, Backbone, kmeans } from '../../src/engine/index.js';
import { partitionTasks } from '../../src/federation/partition.js';
import { adjustedRandIndex, clusteringAccuracy } from '../../src/federation/scoring.js';
import { readReference, values, type Tensor } from '../support/safetensors.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

interface Round {
  submissions: { client: number; task: string; n: number }[];
  labels: number[];
}

const tiny = fileURLToPath(new URL('../fixtures/small-bert', import.meta.url));

/** Submissions [n, d] of a round, each flattened in name order as the server does. */
function matrixOf(tensors: Map<string, Tensor>, n: number): { data: Float32Array; columns: number } {
  const rows = Array.from({ length: n }, (_, i) => {
    const prefix = `${String(i).padStart(2, '0')}/`;
    const names = [...tensors.keys()].filter((name) => name.startsWith(prefix)).sort();
    return Float32Array.from(names.flatMap((name) => [...values(tensors, name)]));
  });
  const columns = rows[0]!.length;
  const data = new Float32Array(n * columns);
  rows.forEach((row, i) => data.set(row, i * columns));
  return { data, columns };
}

/** Sum of squared distances to the means of the clusters, in float64. */
function inertiaOf(data: Float32Array, columns: number, labels: readonly number[]): number {
  let inertia = 0;
  for (const cluster of new Set(labels)) {
    const members = labels.flatMap((label, i) => (label === cluster ? [i] : []));
    for (let c = 0; c < columns; c++) {
      let mean = 0;
      for (const i of members) mean += data[i * columns + c]! / members.length;
      for (const i of members) inertia += (data[i * columns + c]! - mean) ** 2;
    }
  }
  return inertia;
}

describeWithShared("the published code's submissions", () => {
  const rounds = JSON.parse(readFileSync(sharedPath('golden/published_run/runs.json'), 'utf8')) as Record<
    string,
    Round
  >;

  it.each(['a_round_1', 'a_round_3', 'q_round_1', 'q_round_3'])(
    '%s are clustered as published or with less inertia',
    async (name) => {
      const { submissions, labels } = rounds[name]!;
      const tensors = readReference(sharedPath(`golden/published_run/submissions_${name}.safetensors`));
      const { data, columns } = matrixOf(tensors, submissions.length);
      const k = new Set(submissions.map(({ task }) => task)).size;
      const found = await kmeans(data, { rows: submissions.length, columns, k, seed: 42 });
      const published = inertiaOf(data, columns, labels);
      expect(inertiaOf(data, columns, [...found.labels])).toBeCloseTo(found.inertia, 6);
      expect(found.inertia).toBeLessThanOrEqual(published * (1 + 1e-6));
      if (found.inertia > published * (1 - 1e-6)) {
        expect(adjustedRandIndex(found.labels, labels.map(String))).toBe(1);
        const tasks = submissions.map(({ task }) => task);
        expect(clusteringAccuracy(found.labels, tasks)).toBe(clusteringAccuracy(labels, tasks));
      }
    },
  );

  it('come from the same partition as ours', () => {
    // The published run's MRPC file had one row less than the Hub's.
    const tasks = Object.entries({ mrpc: 3667, qnli: 4463, rte: 2490, sst2: 67349 }).map(([name, rows]) => ({
      name,
      rows,
    }));
    const ours = partitionTasks(tasks, { nClients: 3, dirichletAlpha: 0.5, minFrac: 0.01, seed: 42, order: 'sorted' });
    const held = ours.rows.flatMap((client, i) =>
      client.flatMap((rows, t) => (rows.length > 0 ? [{ client: i, task: ours.tasks[t], n: rows.length }] : [])),
    );
    expect(held).toEqual(rounds['q_round_1']!.submissions);
  });

  it('are averaged to the weighted means, in every value', async () => {
    const { submissions, labels } = rounds['q_round_1']!;
    const tensors = readReference(sharedPath('golden/published_run/submissions_q_round_1.safetensors'));
    const { data, columns } = matrixOf(tensors, submissions.length);
    const backbone = await Backbone.load(tiny);
    // A layout with room for the submissions: averaging looks at flat vectors only.
    const spec = { rank: 24, loraAlpha: 16, loraDropout: 0, targetModules: ['query'], numLabels: 2, trainHead: true };
    const bank = new AdapterBank(backbone, { ...spec, numLabels: Math.ceil(columns / 25) }, submissions.length);
    const centres = new AdapterBank(backbone, { ...spec, numLabels: Math.ceil(columns / 25) }, 4);
    submissions.forEach((_, i) => {
      const row = new Float32Array(bank.layout.size);
      row.set(data.subarray(i * columns, (i + 1) * columns));
      bank.set(i, row);
    });
    const weights = Float64Array.from(submissions, ({ n }) => n);
    const rows = Int32Array.from(submissions.keys());
    await bank.average({ rows, labels: Int32Array.from(labels), weights, into: centres });
    for (const cluster of new Set(labels)) {
      const found = centres.get(cluster);
      const members = labels.flatMap((label, i) => (label === cluster ? [i] : []));
      const total = members.reduce((sum, i) => sum + weights[i]!, 0);
      for (let c = 0; c < columns; c++) {
        const mean = members.reduce((sum, i) => sum + weights[i]! * data[i * columns + c]!, 0) / total;
        // Half a unit in the last place of float32, and a little for the order of the float64 sum.
        if (Math.abs(found[c]! - mean) > Math.abs(mean) * 2 ** -24 * 1.01 + 1e-12) expect(found[c]).toBe(mean);
      }
    }
    bank.dispose();
    centres.dispose();
    backbone.dispose();
  });
});
