/**
 * fltac's side of the training benchmark, in a process of its own as its peers are.
 *
 * usage: train-worker.js JOB.json. Writes the common initial adapter, says that it is ready, and then answers "train"
 * (all timed work once) and "losses", a line each.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { AdapterBank, Backbone, buildInfo, setThreads, train, writeSafetensors } from '../engine/index.js';
import type { PackedSequences, TrainJob } from '../engine/index.js';
import { streamKey } from '../federation/streams.js';
import type { FltacReady, SideLosses, SideTrained, StepRows, TrainBenchJob } from './train-job.js';

const job = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as TrainBenchJob;

/** Rows of several steps end to end. */
function pack(steps: readonly StepRows[]): Pick<TrainJob<PackedSequences>, 'examples' | 'batches'> {
  const rows = steps.flatMap((step) => step.ids);
  const types = steps.flatMap((step) => step.types);
  const offsets = new Int32Array(rows.length + 1);
  rows.forEach((row, i) => (offsets[i + 1] = offsets[i]! + row.length));
  const batches = new Int32Array(steps.length + 1);
  steps.forEach((step, s) => (batches[s + 1] = batches[s]! + step.labels.length));
  const examples = {
    ids: Int32Array.from(rows.flat()),
    offsets,
    labels: Int32Array.from(steps.flatMap((step) => step.labels)),
    ...(types.length > 0 && { typeIds: Uint8Array.from(types.flat()) }),
  };
  return { examples, batches };
}

/** Most resident memory of this process so far; /proc alone tells it of this program, getrusage of its parent too. */
function peakBytes(): number | null {
  try {
    const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    return kilobytes === undefined ? null : Number(kilobytes) * 1024;
  } catch {
    return null;
  }
}

setThreads(job.threads);
const backbone = await Backbone.load(job.model, { device: job.device, dtype: job.dtype });
const bank = new AdapterBank(backbone, job.spec, job.adapters.length + 1);
const initialRow = job.adapters.length;
bank.initialise(initialRow, streamKey(job.seed, 'initial'));
const initial = bank.get(initialRow);
const tensors = bank.layout.tensors.map(({ name, shape, offset }) => {
  const count = shape.reduce((product, size) => product * size, 1);
  return [name, { shape, data: initial.subarray(offset, offset + count) }] as const;
});
await writeSafetensors(job.initial, new Map(tensors));

const { lr, weightDecay, cohort } = job;
const jobs = job.adapters.map((steps, row) => {
  return { row, ...pack(steps), stream: streamKey(job.seed, 'dropout', row) };
});

async function timed(): Promise<SideTrained> {
  for (const { row } of jobs) bank.copy(initialRow, row);
  const cpu = process.cpuUsage();
  const started = performance.now();
  await train(bank, jobs, { lr, weightDecay, cohort });
  const seconds = (performance.now() - started) / 1000;
  return { seconds, cpuSeconds: process.cpuUsage(cpu).user / 1e6, peakBytes: peakBytes() };
}

async function losses(): Promise<SideLosses> {
  bank.copy(initialRow, 0);
  const [trained] = await train(bank, [{ row: 0, ...pack(job.lossSteps), stream: 0n }], {
    lr,
    weightDecay,
    cohort: 1,
    dropout: false,
  });
  return { losses: [...trained!.losses] };
}

const say = (line: FltacReady | SideTrained | SideLosses) => console.log(JSON.stringify(line));
const { libtorch } = buildInfo();
say({
  versions: { libtorch, node: process.versions.node },
  dtype: backbone.info.dtype,
  device: backbone.info.device,
  computedTokens: jobs.reduce((sum, { examples }) => sum + examples.ids.length, 0),
});
for await (const line of createInterface({ input: process.stdin })) {
  say(line === 'losses' ? await losses() : await timed());
}
