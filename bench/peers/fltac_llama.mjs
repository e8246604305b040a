// Our side of bench/llama-shape.mjs, in a process of its own so that its peak memory is its own.
// usage: fltac_llama.mjs MODEL_FOLDER JOB.json      prints one JSON line
import { readFileSync } from 'node:fs';
import {
  AdapterBank,
  Backbone,
  buildInfo,
  gradient,
  setThreads,
  train,
  writeSafetensors,
} from '../../dist/engine/index.js';
import { Generator } from '../../dist/numpy/index.js';

const [folder, file] = process.argv.slice(2);
const job = JSON.parse(readFileSync(file, 'utf8'));
const peakBytes = () => process.resourceUsage().maxRSS * 1024;

/** `count` sequences of made-up tokens, every one a target. */
function sequences(count, seed) {
  const random = new Generator(seed);
  const ids = Int32Array.from({ length: count * job.length }, () => Math.floor(random.random() * job.vocab));
  return { ids, offsets: Int32Array.from({ length: count + 1 }, (_, i) => i * job.length), labels: ids.slice() };
}

/** A bank whose rows hold one random state, B included, so that every gradient is alive. */
function bankOf(backbone, rows) {
  const spec = { rank: job.rank, loraAlpha: 16, loraDropout: job.dropout, numLabels: 2, trainHead: false };
  const bank = new AdapterBank(backbone, { ...spec, targetModules: ['q_proj', 'v_proj'] }, rows);
  const random = new Generator(1);
  const state = Float32Array.from({ length: bank.layout.size }, () => (random.random() - 0.5) * 0.02);
  for (let row = 0; row < rows; row += 1) bank.set(row, state);
  return bank;
}

/** One timed cohort after `warm` untimed steps of each adapter. */
async function timed(backbone) {
  const bank = bankOf(backbone, job.cohort);
  const run = async (steps) => {
    const jobs = Array.from({ length: job.cohort }, (_, row) => ({
      row,
      examples: sequences(job.batch * steps, row),
      batches: Int32Array.from({ length: steps + 1 }, (_, step) => step * job.batch),
      stream: BigInt(row),
    }));
    const options = { lr: 3e-4, cohort: job.cohort, checkpointing: job.checkpointing };
    const began = performance.now();
    const results = await train(bank, jobs, options);
    return { seconds: (performance.now() - began) / 1000, losses: results.map(({ losses }) => [...losses]) };
  };
  await run(1);
  return run(job.steps);
}

/** Loss and gradient of one batch; the adapter goes to `job.adapter` as safetensors, the gradient to `job.gradient`. */
async function checked(backbone) {
  const bank = bankOf(backbone, 1);
  const named = (flat) =>
    new Map(
      bank.layout.tensors.map(({ name, shape, offset }) => [
        name,
        { shape, data: flat.slice(offset, offset + shape.reduce((a, b) => a * b, 1)) },
      ]),
    );
  await writeSafetensors(job.adapter, named(bank.get(0)));
  const examples = sequences(job.batch, 0);
  const one = { row: 0, examples, batches: Int32Array.of(0, job.batch), stream: 0n };
  const result = await gradient(bank, one, { dropout: false });
  await writeSafetensors(job.gradient, named(result.gradient));
  return { loss: result.loss, ids: [...examples.ids] };
}

setThreads(job.threads);
buildInfo(); // loads the engine: what follows is the load of the model alone
const began = performance.now();
const backbone = await Backbone.load(folder, { dtype: job.dtype, device: job.device });
const loaded = { seconds: (performance.now() - began) / 1000, heldBytes: backbone.info.bytes, peakBytes: peakBytes() };
const found = job.adapter ? await checked(backbone) : await timed(backbone);
console.log(JSON.stringify({ loaded, ...found, dtype: backbone.info.dtype, peakBytes: peakBytes() }));
