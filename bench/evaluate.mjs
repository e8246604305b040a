// Seconds, CPU seconds and peak memory of one evaluation of a GLUE round: every (task, adapter) pair on the task's evaluation rows.
//
//   node bench/evaluate.mjs --model <name or folder> [--tasks sst2,mrpc,qnli,rte] [--adapters 1] [--eval-batches 50]
//                           [--batch-size 64] [--threads 2] [--repeat 3] [--cache FOLDER] [--out FILE.json]
//
// `--adapters`: distinct adapters of each task, as after a clustering that splits tasks; random ones, all of their values
// at work. Data and model come from HF_ENDPOINT. Needs `npm run build`, and Linux for VmHWM.
import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { openRun } from '../dist/run/open.js';
import { evaluateHoldings } from '../dist/federation/evaluation.js';
import { Generator } from '../dist/numpy/index.js';
import { configOf } from './peers/fltac_start.mjs';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    tasks: { type: 'string', default: 'sst2,mrpc,qnli,rte' },
    adapters: { type: 'string', default: '1' },
    'eval-batches': { type: 'string', default: '50' },
    'batch-size': { type: 'string', default: '64' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
    repeat: { type: 'string', default: '3' },
    cache: { type: 'string', default: './hf_cache' },
    out: { type: 'string' },
  },
});
if (!options.model) throw new Error('give --model; see the head of this file');

const signal = new AbortController().signal;
const log = { info() {}, warn() {}, progress: () => ({ update() {}, done() {} }) };
const memory = (field) =>
  1024 * Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))[1]);

const settings = [
  `eval_batch_size=${options['batch-size']}`,
  `max_eval_batches=${options['eval-batches']}`,
  `threads=${options.threads}`,
];
const config = configOf(options.model, options.tasks.split(','), options.cache, 'unused', settings);
const { engine, spec, scenario } = await openRun(config, { log, signal });
const adapters = Number(options.adapters);
const bank = engine.createBank(spec, scenario.tasks.length * adapters);
const random = new Generator(7);
bank.initialise(0, 1n);
for (let row = 0; row < bank.rows; row++) {
  bank.set(
    row,
    Float32Array.from(bank.get(0), (value) => value + (random.random() - 0.5) * 0.02),
  );
}
const holdings = Array.from({ length: bank.rows }, (_, row) => {
  return { task: row % scenario.tasks.length, cluster: row, row, samples: 1 };
});
const limit = config.maxEvalBatches * config.evalBatchSize;
const cache = new Map();
const evaluateAll = (atMost, kept) =>
  evaluateHoldings({
    engine,
    bank,
    tasks: scenario.tasks,
    metric: scenario.metric,
    holdings,
    limit: atMost,
    batchSize: config.evalBatchSize,
    log,
    signal,
    cache: kept,
  });
// Texts are made tokens, and memory is brought to what the engine holds, before the clock starts.
await evaluateAll(limit, cache);
const before = memory('VmRSS');
const rounded = (value) => Number(value.toFixed(3));
const [seconds, cpuSeconds] = [[], []];
let found;
for (let i = 0; i < Number(options.repeat); i++) {
  const [start, used] = [performance.now(), process.cpuUsage()];
  found = await evaluateAll(limit, cache);
  seconds.push(rounded((performance.now() - start) / 1000));
  const { user, system } = process.cpuUsage(used);
  cpuSeconds.push(rounded((user + system) / 1e6));
}
const report = {
  what: 'one evaluation of a GLUE round, every (task, adapter) pair on its rows',
  machine: { cpu: os.cpus()[0]?.model, cores: os.availableParallelism(), memoryBytes: os.totalmem() },
  model: options.model,
  tasks: scenario.tasks.map(({ name }) => name),
  adapters,
  batchSize: config.evalBatchSize,
  threads: Number(options.threads),
  examples: found.pairs.reduce((sum, { labels }) => sum + labels.length, 0),
  seconds,
  cpuSeconds,
  residentBytes: before,
  peakBytes: memory('VmHWM'),
  loss: found.pairs.map(({ result }) => result.loss),
};
if (options.out) writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
console.log(JSON.stringify(report));
bank.dispose();
engine.dispose();
