// Which space real adapters are best clustered in: parameters or delta_w, standardised or not, by distance or by direction.
//
//   node bench/kmeans-adapters.mjs --golden FOLDER [--out FILE.json]
//   node bench/kmeans-adapters.mjs --model NAME [--tasks sst2,mrpc,rte,qnli] [--clients 5] [--rounds 3] [--steps 50] [--out FILE.json]
//
// FOLDER is golden/ of the reference data: the 40 rank-1 adapters of kmeans.safetensors (four tasks, ten clients, from one
// initial state or each from its own), and the submissions of the published code in published_run/. With --model a real run on GLUE is
// made (data from HF_ENDPOINT as ever) and the adapters of each round are clustered as the server receives them.
// Each row is the mean over ten seeds of K-means with K = number of tasks: clustering accuracy, adjusted Rand index, least
// and mean margin (1: at the own mean, 0: halfway to the next), mean silhouette, and K as `k: "auto"` finds it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { adjustedRandIndex, clusteringAccuracy, kmeans, makeConfig, readSafetensors, trainRun } from '../dist/index.js';
import { loadScenario, resolveModel } from '../dist/data/scenario.js';
import { nativeEngine } from '../dist/federation/native-engine.js';
import { createLog } from '../dist/run/log.js';

const SEEDS = 10;
const SPACES = ['parameters', 'delta_w'].flatMap((space) =>
  [false, true].flatMap((standardize) => ['euclidean', 'cosine'].map((metric) => ({ space, standardize, metric }))),
);

const { values: options } = parseArgs({
  options: {
    golden: { type: 'string' },
    model: { type: 'string' },
    tasks: { type: 'string', default: 'sst2,mrpc,rte,qnli' },
    clients: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    steps: { type: 'string', default: '50' },
    out: { type: 'string' },
  },
});
if (!options.golden === !options.model) throw new Error('give --golden or --model; see the head of this file');

const mean = (list) => [...list].reduce((sum, x) => sum + x, 0) / list.length;

/** Clusterings of one data source in every space: a function that makes one, and the truth to hold them to. */
async function judge(cluster, trueTasks) {
  const k = new Set(trueTasks).size;
  const rows = [];
  for (const space of SPACES) {
    const found = [];
    for (let seed = 0; seed < SEEDS; seed += 1) found.push(await cluster({ ...space, k, seed, centroids: false }));
    const auto = await cluster({ ...space, k: 'auto', seed: 0, centroids: false });
    rows.push({
      ...space,
      accuracy: mean(found.map(({ labels }) => clusteringAccuracy([...labels], trueTasks))),
      leastAccuracy: Math.min(...found.map(({ labels }) => clusteringAccuracy([...labels], trueTasks))),
      ari: mean(found.map(({ labels }) => adjustedRandIndex([...labels], trueTasks))),
      leastMargin: mean(found.map(({ quality }) => Math.min(...quality.margin))),
      margin: mean(found.map(({ quality }) => mean(quality.margin))),
      silhouette: mean(found.map(({ quality }) => mean(quality.silhouette))),
      autoK: auto.k,
    });
  }
  return rows;
}

/** The values of an int64 tensor of a safetensors file. */
function readLabels(file, name) {
  const bytes = readFileSync(file);
  const header = Number(bytes.readBigUInt64LE(0));
  const [from, to] = JSON.parse(bytes.toString('utf8', 8, 8 + header))[name].data_offsets;
  return Array.from({ length: (to - from) / 8 }, (_, i) => Number(bytes.readBigInt64LE(8 + header + from + 8 * i)));
}

/** Adapters of a BERT of 3 layers and hidden size 64: rank 1 on query and value, [40, 768]. */
async function rankOne(folder) {
  const file = join(folder, 'kmeans.safetensors');
  const shapes = { lora_A: [1, 64], lora_B: [64, 1] };
  const names = [0, 1, 2].flatMap((layer) =>
    ['query', 'value'].flatMap((module) => ['lora_A', 'lora_B'].map((factor) => [layer, module, factor])),
  );
  const tensors = names.map(([layer, module, factor], i) => ({
    name: `layer.${layer}.${module}.${factor}.weight`,
    shape: shapes[factor],
    offset: 64 * i,
  }));
  const layout = { tensors, size: 768 };
  const sets = [];
  for (const [key, start] of Object.entries({ lora_shared: 'one initial state', lora: 'each its own initial state' })) {
    const trueTasks = readLabels(file, `${key}.true`).map(String);
    const chunks = [{ file, tensor: `${key}.X` }];
    const spaces = await judge((settings) => kmeans(chunks, { columns: 768, layout, ...settings }), trueTasks);
    sets.push({ name: `rank 1, ${start}`, adapters: trueTasks.length, columns: 768, trueTasks, spaces });
  }
  return sets;
}

/** Submissions are stored tensor by tensor as "NN/name": one flat row each, names in order. */
async function published(folder) {
  const runs = JSON.parse(readFileSync(join(folder, 'runs.json'), 'utf8'));
  const sets = [];
  for (const name of ['a_round_1', 'a_round_3', 'q_round_1', 'q_round_3']) {
    const { submissions } = runs[name];
    const tensors = await readSafetensors(join(folder, `submissions_${name}.safetensors`));
    const names = [...tensors.keys()].filter((key) => key.startsWith('00/')).map((key) => key.slice(3));
    names.sort();
    let size = 0;
    const layout = names.map((tensor) => {
      const { shape } = tensors.get(`00/${tensor}`);
      const entry = { name: tensor, shape, offset: size };
      size += shape.reduce((a, b) => a * b, 1);
      return entry;
    });
    const data = new Float32Array(submissions.length * size);
    submissions.forEach((_, i) => {
      for (const { name: tensor, offset } of layout) {
        data.set(tensors.get(`${String(i).padStart(2, '0')}/${tensor}`).data, i * size + offset);
      }
    });
    const shape = { rows: submissions.length, columns: size, layout: { tensors: layout, size } };
    const trueTasks = submissions.map(({ task }) => task);
    const spaces = await judge((settings) => kmeans(data, { ...shape, ...settings }), trueTasks);
    sets.push({ name: `published ${name}`, adapters: submissions.length, columns: size, trueTasks, spaces });
  }
  return sets;
}

/** The run's own engine, of which each round's clustering call is repeated in every space. */
function listening(seen) {
  const load = async (...args) => {
    const engine = await nativeEngine.load(...args);
    const cluster = async (bank, settings) => {
      seen.push({ layout: bank.layout, adapters: Array.from(settings.rows, (row) => bank.get(row)) });
      return engine.kmeans(bank, settings);
    };
    return { ...engine, kmeans: cluster };
  };
  return { face: { ...nativeEngine, load }, resolveModel, loadScenario };
}

async function ownRun() {
  const folder = mkdtempSync(join(os.tmpdir(), 'fltac-adapters-'));
  const rounds = [];
  try {
    const config = makeConfig({
      scenario: 'glue',
      modelName: options.model,
      tasks: options.tasks.split(','),
      nClients: Number(options.clients),
      rounds: Number(options.rounds),
      localSteps: Number(options.steps),
      evalEvery: Number(options.rounds),
      maxEvalBatches: 4,
      outputDir: join(folder, 'run'),
      cacheDir: join(folder, 'cache'),
    });
    await trainRun(config, { log: createLog(), parts: listening(rounds) });
    const journal = readFileSync(join(folder, 'run', 'cluster_assignments.jsonl'), 'utf8')
      .trim()
      .split('\n');
    const sets = [];
    for (const [i, { layout, adapters }] of rounds.entries()) {
      const { true_tasks: trueTasks } = JSON.parse(journal[i]);
      const columns = layout.size;
      const data = new Float32Array(adapters.length * columns);
      adapters.forEach((adapter, row) => data.set(adapter, row * columns));
      const shape = { rows: adapters.length, columns, layout };
      const spaces = await judge((settings) => kmeans(data, { ...shape, ...settings }), trueTasks);
      sets.push({ name: `own run, round ${i + 1}`, adapters: adapters.length, columns, trueTasks, spaces });
    }
    return sets;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const sets = options.golden
  ? [...(await rankOne(options.golden)), ...(await published(join(options.golden, 'published_run')))]
  : await ownRun();
const source = options.golden
  ? 'reference adapters'
  : {
      model: options.model.split('/').at(-1),
      tasks: options.tasks.split(','),
      clients: Number(options.clients),
      steps: Number(options.steps),
    };
if (options.out) writeFileSync(options.out, `${JSON.stringify({ source, seeds: SEEDS, sets }, null, 2)}\n`);
for (const { name, adapters, columns, trueTasks, spaces } of sets) {
  console.log(`\n${name}: ${adapters} adapters of ${columns} values, ${new Set(trueTasks).size} tasks`);
  console.log('space       standardize  metric     accuracy  least    ARI  margin, least   mean  silhouette  auto K');
  for (const row of spaces) {
    console.log(
      `${row.space.padEnd(11)} ${String(row.standardize).padEnd(12)} ${row.metric.padEnd(9)} ${row.accuracy.toFixed(3).padStart(9)}` +
        `${row.leastAccuracy.toFixed(3).padStart(7)}${row.ari.toFixed(3).padStart(7)}${row.leastMargin.toFixed(3).padStart(15)}` +
        `${row.margin.toFixed(3).padStart(7)}${row.silhouette.toFixed(3).padStart(12)}${String(row.autoK).padStart(8)}`,
    );
  }
}
