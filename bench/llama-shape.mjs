// One cohort step on a LLaMA-shaped backbone of a given size with made-up weights: speed, memory, and how much of the
// machine's best product rate it reaches.
//
//   node bench/llama-shape.mjs [--shape tinyllama-1.1b|llama-7b] [--layers N] [--cohort 2] [--batch 2] [--length 512]
//                              [--steps 1] [--dtype bfloat16] [--device cpu] [--checkpointing] [--threads 2]
//                              [--python PYTHON] [--folder FOLDER] [--out FILE.json]
//
// With --python (torch, transformers, peft) the product rate is measured, and loss and gradients of a two-layer model of
// the same dimensions are compared with transformers + PEFT in float32 on the same weights. Needs `npm run build`; the
// model's files are made below FOLDER (default: a temporary one).
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { SHAPES, makeLlamaFolder } from './lib/llama-folder.mjs';

const { values: options } = parseArgs({
  options: {
    shape: { type: 'string', default: 'tinyllama-1.1b' },
    layers: { type: 'string' },
    cohort: { type: 'string', default: '2' },
    batch: { type: 'string', default: '2' },
    length: { type: 'string', default: '512' },
    steps: { type: 'string', default: '1' },
    dtype: { type: 'string', default: 'bfloat16' },
    device: { type: 'string', default: 'cpu' },
    checkpointing: { type: 'boolean', default: false },
    threads: { type: 'string', default: String(os.availableParallelism()) },
    python: { type: 'string' },
    folder: { type: 'string' },
    out: { type: 'string' },
  },
});
const dimensions = SHAPES[options.shape];
if (dimensions === undefined) throw new Error(`--shape is one of ${Object.keys(SHAPES).join(', ')}`);
const shape = { ...dimensions, layers: Number(options.layers ?? dimensions.layers) };
const peers = fileURLToPath(new URL('peers/', import.meta.url));
const root = options.folder ?? mkdtempSync(join(os.tmpdir(), 'fltac-llama-'));
const settings = {
  cohort: Number(options.cohort),
  batch: Number(options.batch),
  length: Number(options.length),
  steps: Number(options.steps),
  threads: Number(options.threads),
  dtype: options.dtype,
  device: options.device,
  checkpointing: options.checkpointing,
  rank: 8,
  dropout: 0.05,
};

/** The last line a program prints, as JSON. */
function run(command, args) {
  const output = execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  return JSON.parse(output.trim().split('\n').at(-1));
}

/** A job's file for a child process. */
function jobFile(name, job) {
  const path = join(root, name);
  writeFileSync(path, JSON.stringify(job));
  return path;
}

/**
 * Multiplications and additions that training LoRA on q and v needs, without anything computed twice: every frozen
 * product forward and for its input's gradient, the head at every target, causal attention; below the lowest adapter
 * nothing. LoRA's own products and all that is no product are left out.
 */
function trainingFlops({ hidden, layers, heads, kvHeads, intermediate, vocab }, { cohort, batch, length, steps }) {
  const sequences = cohort * batch * steps;
  const qkv = hidden * (hidden + (2 * hidden * kvHeads) / heads);
  const layer = qkv + hidden * hidden + 3 * hidden * intermediate;
  const products = 2 * length * (2 * layers * layer - qkv) + 4 * (length - 1) * hidden * vocab;
  // Scores and weighted values forward, four products of their size backward.
  const attention = layers * 6 * 2 * ((length * (length + 1)) / 2) * hidden;
  return sequences * (products + attention);
}

/** Loss and gradients of two layers of these dimensions by both. */
function check() {
  const small = { ...shape, layers: 2 };
  const folder = join(root, 'two-layers');
  makeLlamaFolder(folder, small);
  const job = { ...settings, vocab: shape.vocab, batch: 2, length: 48, dropout: 0 };
  const files = { adapter: join(root, 'adapter.safetensors'), gradient: join(root, 'gradient.safetensors') };
  const compare = (dtype) => {
    const ours = run(process.execPath, [
      join(peers, 'fltac_llama.mjs'),
      folder,
      jobFile('check.json', { ...job, ...files, dtype }),
    ]);
    const peer = run(options.python, [
      join(peers, 'llama_check.py'),
      'gradient',
      folder,
      jobFile('check.json', { ...job, ...files, ids: ours.ids }),
    ]);
    return { loss: ours.loss, peerLoss: peer.loss, worstRelativeGradient: peer.worstRelativeGradient };
  };
  return { layers: small.layers, float32: compare('float32'), [settings.dtype]: compare(settings.dtype) };
}

const report = {
  what: 'one cohort step of LoRA (q, v) on a LLaMA-shaped backbone with made-up weights',
  shape: { name: options.shape, ...shape },
  machine: {
    cpu: os.cpus()[0]?.model,
    cores: os.availableParallelism(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
  },
  settings,
};
try {
  const folder = join(root, 'model');
  makeLlamaFolder(folder, shape);
  const job = jobFile('train.json', { ...settings, vocab: shape.vocab });
  const found = run(process.execPath, [join(peers, 'fltac_llama.mjs'), folder, job]);
  const tokens = settings.cohort * settings.batch * settings.length * settings.steps;
  const rate = trainingFlops(shape, settings) / found.seconds / 1e9;
  Object.assign(report, {
    tokens,
    seconds: found.seconds,
    tokensPerSecond: tokens / found.seconds,
    gflops: rate,
    load: found.loaded,
    peakBytes: found.peakBytes,
    losses: found.losses,
  });
  if (options.python) {
    const best = run(options.python, [join(peers, 'llama_check.py'), 'peak', options.threads, settings.dtype]);
    Object.assign(report, { peakGflops: best.gflops, utilisation: rate / best.gflops, check: check() });
  }
} finally {
  if (options.folder === undefined) rmSync(root, { recursive: true, force: true });
}
if (options.out) writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
const gib = (bytes) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
console.log(
  `${options.shape}, ${shape.layers} layers in ${settings.dtype}: ${report.tokens} tokens in ${report.seconds.toFixed(1)} s, ` +
    `${report.tokensPerSecond.toFixed(1)} tokens/s, ${report.gflops.toFixed(0)} GFLOP/s\n` +
    `weights ${gib(report.load.heldBytes)} in ${report.load.seconds.toFixed(1)} s, peak ${gib(report.peakBytes)}`,
);
if (report.check) {
  console.log(`best product ${report.peakGflops.toFixed(0)} GFLOP/s: ${(100 * report.utilisation).toFixed(1)} % used`);
  console.log(`against transformers + PEFT: ${JSON.stringify(report.check)}`);
}
