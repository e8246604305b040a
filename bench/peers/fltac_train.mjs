// Our side of bench/train-vs-peft.mjs, in a process of its own as the peer is.
// usage: fltac_train.mjs MODEL_FOLDER JOB.json
import { readFileSync } from 'node:fs';
import { AdapterBank, Backbone, setThreads, train } from '../../dist/engine/index.js';

const [folder, file] = process.argv.slice(2);
const job = JSON.parse(readFileSync(file, 'utf8'));
setThreads(job.threads);
const backbone = await Backbone.load(folder);
const bank = new AdapterBank(
  backbone,
  {
    rank: job.rank,
    loraAlpha: job.alpha,
    loraDropout: job.dropout ?? 0,
    targetModules: ['query', 'value'],
    numLabels: 2,
    trainHead: true,
  },
  1,
);
bank.initialise(0, 0n);

function trainJob(steps) {
  const rows = steps.flatMap((step) => step.ids);
  const offsets = [0];
  for (const row of rows) offsets.push(offsets.at(-1) + row.length);
  const batches = [0];
  for (const step of steps) batches.push(batches.at(-1) + step.ids.length);
  return {
    row: 0,
    stream: 0n,
    batches: Int32Array.from(batches),
    examples: {
      ids: Int32Array.from(rows.flat()),
      typeIds: Uint8Array.from(steps.flatMap((step) => step.types).flat()),
      offsets: Int32Array.from(offsets),
      labels: Int32Array.from(steps.flatMap((step) => step.labels)),
    },
  };
}

const options = { lr: job.lr, cohort: 1, dropout: job.dropout !== null };
await train(bank, [trainJob(job.steps.slice(0, 2))], options);
const cpu = process.cpuUsage();
const start = performance.now();
const [{ losses }] = await train(bank, [trainJob(job.steps)], options);
const seconds = (performance.now() - start) / 1000;
const userSeconds = process.cpuUsage(cpu).user / 1e6;
const peakBytes = process.resourceUsage().maxRSS * 1024;
console.log(JSON.stringify({ seconds, userSeconds, peakBytes, losses: [...losses] }));
