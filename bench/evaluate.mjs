// Seconds, CPU seconds and peak memory of one evaluation of a GLUE round: every (task, adapter) pair on the task's evaluation rows.
//
//   node bench/evaluate.mjs --model <name or folder> [--tasks sst2,mrpc,qnli,rte] [--adapters 1] [--eval-batches 50]
//                           [--batch-size 64] [--threads 2] [--repeat 3] [--cache FOLDER] [--out FILE.json]
//
// `--adapters`: distinct adapters of each task, as after a clustering that splits tasks; random ones, all of their values
// at work. Data and model come from HF_ENDPOINT. Needs `npm run build`, and Linux for VmHWM.
import { writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { openRun } from '../dist/run/open.js';
import { evaluateHoldings } from '../dist/federation/evaluation.js';
import { Generator } from '../dist/numpy/index.js';
import { memoryOf } from './lib/memory.mjs';
import { configOf } from './peers/fltac_start.mjs';

const context = {
  log: { info() {}, warn() {}, progress: () => ({ update() {}, done() {} }) },
  signal: new AbortController().signal,
};

function readOptions() {
  const { values } = parseArgs({
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
  if (!values.model) throw new Error('give --model; see the head of this file');
  return values;
}

/** The backbone, which the caller disposes, and the tasks. */
function open(options) {
  const settings = [
    `eval_batch_size=${options['batch-size']}`,
    `max_eval_batches=${options['eval-batches']}`,
    `threads=${options.threads}`,
  ];
  return openRun(configOf(options.model, options.tasks.split(','), options.cache, 'unused', settings), context);
}

/** A bank of `adapters` random adapters for each task, which the caller disposes. */
function draw({ engine, spec, scenario }, adapters) {
  const bank = engine.createBank(spec, scenario.tasks.length * adapters);
  const random = new Generator(7);
  bank.initialise(0, 1n);
  for (let row = 0; row < bank.rows; row++) {
    bank.set(
      row,
      Float32Array.from(bank.get(0), (value) => value + (random.random() - 0.5) * 0.02),
    );
  }
  return bank;
}

/** The times of `repeat` evaluations, what the process held before and at most, and the last one's pairs. */
async function measure({ config, engine, scenario: { tasks, metric } }, bank, repeat) {
  const request = {
    ...{ engine, bank, tasks, metric, cache: new Map(), ...context },
    holdings: Array.from({ length: bank.rows }, (_, row) => ({
      task: row % tasks.length,
      cluster: row,
      row,
      samples: 1,
    })),
    limit: config.maxEvalBatches * config.evalBatchSize,
    batchSize: config.evalBatchSize,
  };
  // Texts are made tokens, and memory is brought to what the engine holds, before the clock starts.
  let { pairs } = await evaluateHoldings(request);
  const residentBytes = memoryOf('VmRSS');
  const rounded = (value) => Number(value.toFixed(3));
  const [seconds, cpuSeconds] = [[], []];
  for (let i = 0; i < repeat; i++) {
    const [start, used] = [performance.now(), process.cpuUsage()];
    ({ pairs } = await evaluateHoldings(request));
    seconds.push(rounded((performance.now() - start) / 1000));
    const { user, system } = process.cpuUsage(used);
    cpuSeconds.push(rounded((user + system) / 1e6));
  }
  return { seconds, cpuSeconds, residentBytes, peakBytes: memoryOf('VmHWM'), pairs };
}

function report(options, { config, scenario }, { pairs, ...measured }) {
  const found = {
    what: 'one evaluation of a GLUE round, every (task, adapter) pair on its rows',
    machine: { cpu: os.cpus()[0]?.model, cores: os.availableParallelism(), memoryBytes: os.totalmem() },
    model: options.model,
    tasks: scenario.tasks.map(({ name }) => name),
    adapters: Number(options.adapters),
    batchSize: config.evalBatchSize,
    threads: Number(options.threads),
    examples: pairs.reduce((sum, { labels }) => sum + labels.length, 0),
    ...measured,
    loss: pairs.map(({ result }) => result.loss),
  };
  if (options.out) writeFileSync(options.out, `${JSON.stringify(found, null, 2)}\n`);
  console.log(JSON.stringify(found));
}

const options = readOptions();
const run = await open(options);
try {
  const bank = draw(run, Number(options.adapters));
  try {
    report(options, run, await measure(run, bank, Number(options.repeat)));
  } finally {
    bank.dispose();
  }
} finally {
  run.engine.dispose();
}
