// One local LoRA fine-tune by fltac and by a plain transformers + PEFT loop: the same rows, steps and settings, in turn.
//
//   node bench/train-vs-peft.mjs --model FOLDER --glue FOLDER [--python PYTHON] [--tasks sst2,mrpc,rte,qnli]
//                                [--steps 12] [--runs 3] [--threads 2] [--out FILE.json]
//
// FOLDER of --glue is a copy of nyu-mll/glue. Needs `npm run build` and a Python with torch, transformers and peft.
// Prints a table of medians and ratios; each ratio is of one pair of runs made one after the other.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { readParquet } from '../dist/data/parquet.js';
import { TextTokenizer, TokenizedTable } from '../dist/data/tokenize.js';
import { Generator } from '../dist/numpy/index.js';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    glue: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    tasks: { type: 'string', default: 'sst2,mrpc,rte,qnli' },
    steps: { type: 'string', default: '12' },
    runs: { type: 'string', default: '3' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
    out: { type: 'string' },
  },
});
if (!options.model || !options.glue) throw new Error('give --model and --glue; see the head of this file');

const COLUMNS = {
  sst2: ['sentence'],
  mrpc: ['sentence1', 'sentence2'],
  rte: ['sentence1', 'sentence2'],
  qnli: ['question', 'sentence'],
};
const BATCH = 32;
const MAX_LEN = 128;
const here = fileURLToPath(new URL('peers/', import.meta.url));

/** Steps of 32 rows, the tasks in equal parts, each step of one task. */
async function drawSteps(tasks, count) {
  const tokenizer = await TextTokenizer.open(options.model, MAX_LEN);
  const random = new Generator(0);
  const tables = [];
  for (const task of tasks) {
    const file = join(options.glue, task, 'train-00000-of-00001.parquet');
    const table = await readParquet([file], { texts: COLUMNS[task], label: 'label' });
    tables.push({ order: random.permutation(table.rows), rows: new TokenizedTable(tokenizer, table) });
  }
  const steps = [];
  for (let s = 0; s < count; s += 1) {
    const { order, rows } = tables[s % tables.length];
    const packed = await rows.sequences(order.slice(s * BATCH, (s + 1) * BATCH));
    const cut = (array) =>
      Array.from({ length: BATCH }, (_, i) => [...array.subarray(packed.offsets[i], packed.offsets[i + 1])]);
    steps.push({ ids: cut(packed.ids), types: cut(packed.typeIds), labels: [...packed.labels] });
  }
  return steps;
}

const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];
const run = (command, args) =>
  JSON.parse(
    execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 2 ** 28 })
      .trim()
      .split('\n')
      .at(-1),
  );

const tasks = options.tasks.split(',');
const steps = await drawSteps(tasks, Number(options.steps));
const folder = mkdtempSync(join(os.tmpdir(), 'fltac-bench-'));
const settings = { steps, rank: 4, alpha: 16, dropout: 0.05, lr: 5e-4, threads: Number(options.threads) };
const report = {
  what: "one local fine-tune, batch 32, rank 4, LoRA dropout .05 and the backbone's own dropout, float32",
  model: options.model.split('/').at(-1),
  tasks,
  steps: steps.length,
  realTokensPerStep: steps.flatMap((step) => step.ids).reduce((sum, row) => sum + row.length, 0) / steps.length,
  machine: { cpu: os.cpus()[0]?.model, threads: settings.threads, node: process.version },
  comparisons: [],
};
try {
  for (const padding of ['longest', MAX_LEN]) {
    const file = join(folder, `job-${padding}.json`);
    writeFileSync(file, JSON.stringify({ ...settings, padding }));
    const pairs = [];
    for (let r = 0; r < Number(options.runs); r += 1) {
      const ours = run(process.execPath, [join(here, 'fltac_train.mjs'), options.model, file]);
      const peer = run(options.python, [join(here, 'peft_train.py'), options.model, file]);
      pairs.push({ ours, peer });
    }
    const column = (side, field) => median(pairs.map((pair) => pair[side][field]));
    report.comparisons.push({
      peerPadding: padding,
      fltac: {
        seconds: column('ours', 'seconds'),
        userSeconds: column('ours', 'userSeconds'),
        peakBytes: column('ours', 'peakBytes'),
      },
      peft: {
        seconds: column('peer', 'seconds'),
        userSeconds: column('peer', 'userSeconds'),
        peakBytes: column('peer', 'peakBytes'),
      },
      ratioWall: median(pairs.map(({ ours, peer }) => peer.seconds / ours.seconds)),
      ratioUserCpu: median(pairs.map(({ ours, peer }) => peer.userSeconds / ours.userSeconds)),
    });
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (options.out) writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
console.log(
  `${report.model}, ${tasks.join('+')}, ${steps.length} steps of ${BATCH} rows, ${report.realTokensPerStep.toFixed(0)} real tokens a step, ${settings.threads} threads`,
);
for (const { peerPadding, fltac, peft, ratioWall, ratioUserCpu } of report.comparisons) {
  console.log(
    `PEFT padding to ${peerPadding}: fltac ${fltac.seconds.toFixed(2)} s, PEFT ${peft.seconds.toFixed(2)} s, ` +
      `${ratioWall.toFixed(2)}x faster (user CPU ${ratioUserCpu.toFixed(2)}x)`,
  );
}
