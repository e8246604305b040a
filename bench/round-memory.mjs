// Peak resident memory of a whole GLUE round by fltac, beside that of a plain PEFT loop.
//
//   node bench/round-memory.mjs --tokenizer FOLDER --hub FOLDER --python PYTHON [--shape bert-base] [--local-steps 2]
//                               [--clients 10] [--tasks sst2,mrpc,rte,qnli] [--eval-batches 4] [--out FILE.json]
//
// fltac: `train` for one round, all of it: data of all tasks, every client's adapters, clustering, evaluation, files. PEFT:
// two steps on batches padded to max_len, of which each takes the same memory; the data, the other clients' adapters and
// evaluation would come on top, so its figure is a lower bound. Weights are made up; the tokenizer is --tokenizer's. --hub
// is laid out as scripts/hub-server.mjs serves it. Needs `npm run build`, and Linux for VmHWM.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { shapeNamed } from '../dist/bench/model-shapes.js';
import { makeShapedModel } from '../dist/bench/shapes.js';
import { benchTrain } from '../dist/bench/train.js';
import { startHubServer } from '../scripts/hub-server/server.mjs';
import { configOf, fetchData } from './peers/fltac_start.mjs';

const { values: options } = parseArgs({
  options: {
    tokenizer: { type: 'string' },
    hub: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    shape: { type: 'string', default: 'bert-base' },
    'local-steps': { type: 'string', default: '2' },
    clients: { type: 'string', default: '10' },
    tasks: { type: 'string', default: 'sst2,mrpc,rte,qnli' },
    'eval-batches': { type: 'string', default: '4' },
    out: { type: 'string' },
  },
});
if (!options.tokenizer || !options.hub) throw new Error('give --tokenizer and --hub; see the head of this file');

const root = mkdtempSync(join(os.tmpdir(), 'fltac-round-'));
const [model, cache] = [join(root, 'model'), join(root, 'cache')];
const tasks = options.tasks.split(',');
const child = fileURLToPath(new URL('peers/fltac_start.mjs', import.meta.url));
const report = {
  what: 'peak resident memory (VmHWM) of a whole GLUE round by fltac, and of two padded steps by PEFT',
  machine: { cpu: os.cpus()[0]?.model, cores: os.availableParallelism(), memoryBytes: os.totalmem() },
  shape: options.shape,
  tasks,
  clients: Number(options.clients),
  localSteps: Number(options['local-steps']),
  evalBatches: Number(options['eval-batches']),
};
try {
  await makeShapedModel(model, shapeNamed(options.shape), options.tokenizer);
  const server = await startHubServer({ roots: [options.hub], mounts: {}, host: '127.0.0.1', port: 0, cdn: false });
  process.env['HF_ENDPOINT'] = server.url;
  await fetchData(model, tasks, cache).finally(() => server.close());
  process.env['HF_HUB_OFFLINE'] = '1';
  const settings = [
    `local_steps=${report.localSteps}`,
    `n_clients=${report.clients}`,
    `max_eval_batches=${report.evalBatches}`,
  ];
  const result = join(root, 'result.json');
  const args = [child, 'round', model, options.tasks, cache, join(root, 'run'), result, ...settings];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`the round failed: ${stderr}`);
  report.fltac = JSON.parse(stdout.trim().split('\n').at(-1));
  const bench = await benchTrain(
    configOf(model, tasks, cache, join(root, 'unused'), ['local_steps=2']),
    { peft: true, paddings: ['max_len'], python: options.python, tasks, adapters: 1, repeat: 1, lossSteps: 0 },
    {
      log: { info() {}, warn() {}, progress: () => ({ update() {}, done() {} }) },
      signal: new AbortController().signal,
    },
  );
  report.peft = bench.sides[1] ?? bench.absent[0];
} finally {
  rmSync(root, { recursive: true, force: true });
}
if (options.out) writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
console.log(`fltac, a whole round: ${mib(report.fltac.peakBytes)} (${report.fltac.seconds.toFixed(0)} s)`);
console.log(
  report.peft.peakBytes ? `PEFT, two padded steps: ${mib(report.peft.peakBytes)}` : `PEFT: ${report.peft.reason}`,
);
