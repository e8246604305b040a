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
import { failureOf, type Failure } from './line-process.js';
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

/** Loads the backbone, writes the common initial adapter, and answers until standard input ends. */
async function serve(): Promise<void> {
  setThreads(job.threads);
  const backbone = await Backbone.load(job.model, { device: job.device, dtype: job.dtype });
  const bank = new AdapterBank(backbone, job.spec, job.adapters.length + 1);
  const initialRow = job.adapters.length;
  bank.initialise(initialRow, streamKey(job.seed, 'initial'));
  await writeAdapter(bank, initialRow, job.initial);
  const jobs = job.adapters.map((steps, row) => {
    return { row, ...pack(steps), stream: streamKey(job.seed, 'dropout', row) };
  });
  say({
    versions: { libtorch: buildInfo().libtorch, node: process.versions.node },
    dtype: backbone.info.dtype,
    device: backbone.info.device,
    computedTokens: jobs.reduce((sum, { examples }) => sum + examples.ids.length, 0),
  });
  for await (const line of createInterface({ input: process.stdin })) {
    say(line === 'losses' ? await losses(bank, initialRow) : await timed(bank, initialRow, jobs));
  }
}

async function writeAdapter(bank: AdapterBank, row: number, file: string): Promise<void> {
  const values = bank.get(row);
  const tensors = bank.layout.tensors.map(({ name, shape, offset }) => {
    const count = shape.reduce((product, size) => product * size, 1);
    return [name, { shape, data: values.subarray(offset, offset + count) }] as const;
  });
  await writeSafetensors(file, new Map(tensors));
}

async function timed(
  bank: AdapterBank,
  initialRow: number,
  jobs: readonly TrainJob<PackedSequences>[],
): Promise<SideTrained> {
  const { lr, weightDecay, cohort } = job;
  for (const { row } of jobs) bank.copy(initialRow, row);
  const cpu = process.cpuUsage();
  const started = performance.now();
  await train(bank, jobs, { lr, weightDecay, cohort });
  const seconds = (performance.now() - started) / 1000;
  return { seconds, cpuSeconds: process.cpuUsage(cpu).user / 1e6, peakBytes: peakBytes() };
}

async function losses(bank: AdapterBank, initialRow: number): Promise<SideLosses> {
  const { lr, weightDecay } = job;
  bank.copy(initialRow, 0);
  const [trained] = await train(bank, [{ row: 0, ...pack(job.lossSteps), stream: 0n }], {
    lr,
    weightDecay,
    cohort: 1,
    dropout: false,
  });
  return { losses: [...trained!.losses] };
}

function say(line: FltacReady | SideTrained | SideLosses | Failure): void {
  console.log(JSON.stringify(line));
}

try {
  await serve();
} catch (error) {
  say(failureOf(error));
  process.stdin.destroy();
  process.exitCode = 1;
}
