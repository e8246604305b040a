// CPU seconds and seconds of training steps of a cohort on a device, jobs of equal or of different length.
// usage: node bench/cohort-device.mjs <model folder> <device> <jobs> <steps> equal|mixed
import { AdapterBank, Backbone, describeArchitecture, train } from '../dist/engine/index.js';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder, device, jobCount, stepCount, lengths] = process.argv.slice(2);
const [jobs, steps] = [Number(jobCount), Number(stepCount)];
if (!(jobs > 0 && steps > 0 && ['equal', 'mixed'].includes(lengths))) {
  console.error('usage: node bench/cohort-device.mjs <model folder> <device> <jobs> <steps> equal|mixed');
  process.exit(2);
}
const SEQUENCES = 4;
const REPEATS = 5;

let state = 1;
const random = () => (state = (state * 1103515245 + 12345) % 2 ** 31) / 2 ** 31;
const upTo = (n) => Math.floor(random() * n);

/** Every fourth job of a mixed cohort has 8 to 15 tokens a sequence, the others 20 to 79. */
function lengthOf(job) {
  if (lengths === 'equal') return 24;
  return job % 4 === 0 ? 8 + upTo(8) : 20 + upTo(60);
}

function jobOf(row, vocab) {
  const count = SEQUENCES * steps;
  const offsets = [0];
  for (let i = 0; i < count; i += 1) offsets.push(offsets[i] + lengthOf(row));
  const examples = {
    ids: Int32Array.from({ length: offsets[count] }, () => upTo(vocab)),
    offsets: Int32Array.from(offsets),
    labels: Int32Array.from({ length: count }, () => upTo(2)),
  };
  const batches = Int32Array.from({ length: steps + 1 }, (_, step) => step * SEQUENCES);
  return { row, examples, batches, stream: BigInt(row) };
}

const { numLayers, vocabSize } = describeArchitecture(readFileSync(join(folder, 'config.json'), 'utf8'), 'config.json');
const deviceMap = { embedding: device, [`layers.0-${numLayers - 1}`]: device, output: device };
const backbone = await Backbone.load(folder, { deviceMap, dtype: 'float32' });
const spec = {
  rank: 4,
  loraAlpha: 16,
  loraDropout: 0.1,
  targetModules: ['query', 'value'],
  numLabels: 2,
  trainHead: true,
};
const bank = new AdapterBank(backbone, spec, jobs);
const all = Array.from({ length: jobs }, (_, row) => jobOf(row, vocabSize));
for (const { row } of all) bank.initialise(row, BigInt(row));
const run = async () => {
  const [cpu, start] = [process.cpuUsage(), performance.now()];
  await train(bank, all, { lr: 5e-4, cohort: jobs });
  const { user, system } = process.cpuUsage(cpu);
  return { cpu: (user + system) / 1e6, wall: (performance.now() - start) / 1000 };
};
await run();
const runs = [];
for (let i = 0; i < REPEATS; i += 1) runs.push(await run());
const least = (name) => Math.min(...runs.map((one) => one[name])).toFixed(3);
console.log(`${device}, ${jobs} jobs, ${steps} steps, ${lengths}: CPU ${least('cpu')} s, wall ${least('wall')} s`);
