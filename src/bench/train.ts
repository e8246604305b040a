/** How fast local fine-tuning goes, beside a plain PEFT loop on the same rows. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { scenarioRow } from '../config/scenarios.js';
import type { RunConfig } from '../config/schema.js';
import { loadScenario, resolveModel, shownModelId, type DataContext } from '../data/scenario.js';
import {
  checkDevices,
  describeArchitecture,
  machineRates,
  setThreads,
  type ArchitectureInfo,
} from '../engine/index.js';
import { packageRoot } from '../engine/load.js';
import { resolveThreads } from '../engine/threads.js';
import { FltacError } from '../errors.js';
import { assertCompatible } from '../run/compatible.js';
import type { Log } from '../run/log.js';
import { LineProcess } from './line-process.js';
import { shapeNamed, type BertShape } from './model-shapes.js';
import { makeShapedModel } from './shapes.js';
import { encoderShape, encoderStepFlops } from './train-flops.js';
import type {
  FltacReady,
  PeerJob,
  SideAbsent,
  SideLosses,
  SideReady,
  SideTrained,
  TrainBenchJob,
} from './train-job.js';
import {
  compareLosses,
  summariseSides,
  type AbsentPeer,
  type LossAgreement,
  type MeasuredSide,
  type TrainModel,
  type TrainReport,
  type TrainWork,
} from './train-report.js';
import { drawSteps } from './train-work.js';

/** What the peer fills its batches up to; each is a side of its own. */
export const PADDINGS = ['max_len', 'longest'] as const;
export type Padding = (typeof PADDINGS)[number];

export interface TrainBenchOptions {
  /** whether the PEFT loop runs too */
  peft: boolean;
  paddings: readonly Padding[];
  /** the Python that has torch, transformers and peft */
  python: string;
  /** a model of this shape with made-up weights in place of the configured one, of which the tokenizer is taken */
  shape?: string | undefined;
  /** the scenario's where absent */
  tasks?: readonly string[] | undefined;
  adapters: number;
  repeat: number;
  /** steps whose losses are compared; 0 leaves the comparison out */
  lossSteps: number;
}

export interface TrainBenchContext {
  log: Log;
  signal: AbortSignal;
}

/** dist/bench/train-worker.js, from src (tests) and dist alike: a child process runs JavaScript. */
const WORKER = path.join(packageRoot, 'dist/bench/train-worker.js');
const PEER = path.join(packageRoot, 'bench/peers/peft_train.py');

/**
 * Variables that a peer does not inherit: it shall run as its libraries choose. The last one fltac sets itself, for its own
 * process, when it loads the addon.
 */
const NOT_FOR_PEERS = ['OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE', 'OMP_WAIT_POLICY'];

/** The tasks that are compared where none are named: those of GLUE in docs/performance.md. */
const GLUE_MIX = ['sst2', 'mrpc', 'rte', 'qnli'];

/**
 * Runs `config.localSteps` steps of each adapter by fltac and, where asked for, by PEFT, `repeat` times in turn.
 *
 * @throws FltacError USAGE for what cannot be compared; UNSUPPORTED for a device that is not there; of the model, the data, or a side that fails; ABORTED
 */
export async function benchTrain(
  config: RunConfig,
  options: TrainBenchOptions,
  context: TrainBenchContext,
): Promise<TrainReport> {
  const shape = options.shape === undefined ? undefined : shapeNamed(options.shape);
  const { input, output } = scenarioRow(config);
  if (input !== 'tokens' || output !== 'classes') {
    throw new FltacError('USAGE', `bench train classifies texts, which scenario ${config.scenario} does not`);
  }
  if (config.tf32) {
    throw new FltacError(
      'USAGE',
      'bench train compares products of one precision, and its peer has no TF32: leave tf32 out',
    );
  }
  checkDevices({ device: config.device });
  const folder = await mkdtemp(path.join(os.tmpdir(), 'fltac-bench-'));
  try {
    return await new TrainBench(config, options, context, folder, shape).run();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Side {
  name: MeasuredSide['name'];
  padding: MeasuredSide['padding'];
  process: LineProcess;
  ready: SideReady;
  runs: SideTrained[];
}

class TrainBench {
  readonly #threads: number;

  constructor(
    private readonly config: RunConfig,
    private readonly options: TrainBenchOptions,
    private readonly context: TrainBenchContext,
    private readonly folder: string,
    private readonly shape: BertShape | undefined,
  ) {
    this.#threads = resolveThreads(config.threads);
  }

  async run(): Promise<TrainReport> {
    const { options } = this;
    const load = { average: os.loadavg()[0]!, cores: os.cpus().length };
    const { folder, described, info } = await this.#model();
    const { job, work } = await this.#prepare(folder, info);
    const absent: AbsentPeer[] = [];
    const sides: Side[] = [];
    try {
      const ours = await this.#startOurs(job);
      sides.push(ours);
      const { dtype, device } = ours.ready as FltacReady;
      const gemmFlops = device === 'cpu' ? await this.#gemmFlops() : null;
      for (const padding of options.peft ? options.paddings : []) {
        const peer = await this.#startPeer({ ...job, dtype, device, padding });
        if ('process' in peer) {
          sides.push(peer);
        } else {
          absent.push(peer);
          break;
        }
      }
      for (const { name, reason } of absent) this.context.log.warn(`${name} is absent: ${reason}`);
      await this.#measure(sides);
      const measured = sides.map(({ name, padding, ready, runs }): MeasuredSide => {
        const { versions, computedTokens } = ready;
        return { name, padding, versions, computedTokens, peakBytes: runs.at(-1)!.peakBytes, runs };
      });
      return {
        schema: 'fltac.bench.train/1',
        created: new Date().toISOString(),
        machine: { ...(await machine()), gemmFlops, load },
        model: described,
        work: { ...work, dtype },
        sides: summariseSides(measured, work, gemmFlops),
        absent,
        agreement: await this.#compareLosses(sides, dtype),
      };
    } finally {
      for (const side of sides) await side.process.close();
    }
  }

  async #gemmFlops(): Promise<number> {
    setThreads(this.#threads);
    return (await machineRates()).gemm32;
  }

  /** The folder that both sides read, and what it holds. */
  async #model(): Promise<{ folder: string; described: TrainModel; info: ArchitectureInfo }> {
    const { config, options } = this;
    const found = await resolveModel(config, this.#data(), (text, file) =>
      assertCompatible(config, describeArchitecture(text, file)),
    );
    const folder = await this.#shaped(found.folder);
    const file = path.join(folder, 'config.json');
    const info = describeArchitecture(await readFile(file, 'utf8'), file);
    const { family, hiddenSize, numLayers, numHeads, parameters } = info;
    const id = options.shape ?? shownModelId(found);
    const randomWeights = options.shape !== undefined;
    return { folder, info, described: { id, family, hiddenSize, numLayers, numHeads, parameters, randomWeights } };
  }

  /** The model's folder, or one made of the shape asked for, with that model's tokenizer. */
  async #shaped(folder: string): Promise<string> {
    if (this.shape === undefined) return folder;
    const made = path.join(this.folder, 'model');
    this.context.log.info(`making a ${this.options.shape} with random weights`);
    await makeShapedModel(made, this.shape, folder);
    return made;
  }

  /** Draws the rows and puts down what is to be done. */
  async #prepare(folder: string, info: ArchitectureInfo) {
    const { config, options } = this;
    const mix = config.scenario === 'glue' ? GLUE_MIX : config.tasks;
    const names = [...(options.tasks ?? mix)];
    const { tasks } = await loadScenario(
      { ...config, tasks: names },
      { folder, id: folder, revision: 'local' },
      this.#data(),
    );
    const { batchSize, seed, localSteps: steps, lr, weightDecay, dtype, device, maxLen } = config;
    const shape = { batchSize, seed, adapters: options.adapters, steps };
    const adapters = await drawSteps(tasks, shape);
    const [lossSteps = []] = await drawSteps(tasks, { ...shape, adapters: 1, steps: options.lossSteps });
    const { loraRank: rank, loraAlpha, loraDropout, targetModules } = config;
    const numLabels = Math.max(...tasks.map((task) => task.numLabels ?? 0));
    const job: TrainBenchJob = {
      model: folder,
      spec: { rank, loraAlpha, loraDropout, targetModules, numLabels, trainHead: true },
      lr,
      weightDecay,
      dtype,
      device,
      seed,
      maxLen,
      adapters,
      lossSteps,
      threads: this.#threads,
      // All of them in one pass, where the configuration leaves it open.
      cohort: config.cohort === 'auto' ? options.adapters : config.cohort,
      initial: path.join(this.folder, 'initial.safetensors'),
    };
    const lengths = adapters.flat().map((step) => step.ids.map((row) => row.length));
    const work: TrainWork = {
      ...shape,
      scenario: config.scenario,
      tasks: names,
      maxLen,
      rank,
      loraAlpha,
      loraDropout,
      targetModules,
      lr,
      dtype,
      threads: this.#threads,
      cohort: job.cohort,
      repeat: options.repeat,
      examples: lengths.reduce((sum, step) => sum + step.length, 0),
      tokens: lengths.flat().reduce((sum, tokens) => sum + tokens, 0),
      flops: countFlops(info, config, lengths),
    };
    return { job, work };
  }

  #data(): DataContext {
    return { log: this.context.log, signal: this.context.signal };
  }

  async #startOurs(job: TrainBenchJob): Promise<Side> {
    const child = await this.#start("fltac's side", process.execPath, WORKER, 'fltac.json', job);
    const ready = (await child.read()) as FltacReady;
    return { name: 'fltac', padding: 'none', process: child, ready, runs: [] };
  }

  async #startPeer(job: PeerJob): Promise<Side | AbsentPeer> {
    const { python } = this.options;
    const remedy = `${python} -m pip install torch transformers peft, or --python with one that has them`;
    let child: LineProcess;
    let ready: SideReady | SideAbsent;
    try {
      child = await this.#start('the PEFT loop', python, PEER, `peft-${job.padding}.json`, job);
      ready = (await child.read()) as SideReady | SideAbsent;
    } catch (error) {
      if (!(error instanceof FltacError) || error.code !== 'IO') throw error;
      return { name: 'peft', reason: error.message, remedy };
    }
    if (!('absent' in ready)) return { name: 'peft', padding: job.padding, process: child, ready, runs: [] };
    await child.close();
    return { name: 'peft', reason: `${python} cannot import what the loop needs: ${ready.absent}`, remedy };
  }

  async #start(title: string, command: string, program: string, name: string, job: object): Promise<LineProcess> {
    const file = path.join(this.folder, name);
    await writeFile(file, JSON.stringify(job));
    const env: NodeJS.ProcessEnv = { ...process.env, OMP_NUM_THREADS: String(this.#threads) };
    if (command !== process.execPath) for (const name of NOT_FOR_PEERS) env[name] = undefined;
    return new LineProcess({ title, command, args: [program, file], env, signal: this.context.signal });
  }

  /** One untimed run of each side, then the rounds; each round begins with another side. */
  async #measure(sides: readonly Side[]): Promise<void> {
    const { repeat } = this.options;
    const bar = this.context.log.progress('measuring', sides.length * (repeat + 1));
    let done = 0;
    try {
      for (let round = -1; round < repeat; round += 1) {
        for (let i = 0; i < sides.length; i += 1) {
          const side = sides[(i + Math.max(0, round)) % sides.length]!;
          const trained = (await side.process.ask('train')) as SideTrained;
          if (round >= 0) side.runs.push(trained);
          bar.update((done += 1));
        }
      }
    } finally {
      bar.done();
    }
  }

  /** Padding is masked out, so one peer is enough: the one that fills up least. */
  async #compareLosses(sides: readonly Side[], dtype: string): Promise<LossAgreement[]> {
    const [ours, ...peers] = sides;
    const peer = peers.find(({ padding }) => padding === 'longest') ?? peers[0];
    if (this.options.lossSteps === 0 || peer === undefined) return [];
    const { losses } = (await ours!.process.ask('losses')) as SideLosses;
    const { losses: theirs } = (await peer.process.ask('losses')) as SideLosses;
    return [compareLosses({ peer: 'peft', padding: peer.padding as Padding }, dtype, losses, theirs)];
  }
}

function countFlops(
  info: ArchitectureInfo,
  { targetModules, loraRank }: RunConfig,
  lengths: readonly (readonly number[])[],
): number | null {
  const shape = encoderShape(info);
  const queryAndValue = [...targetModules].sort().join() === 'query,value';
  if (shape === undefined || !queryAndValue) return null;
  return lengths.reduce((sum, step) => sum + encoderStepFlops(shape, loraRank, step), 0);
}

async function machine() {
  const file = fileURLToPath(new URL('../../package.json', import.meta.url));
  const { version } = JSON.parse(await readFile(file, 'utf8')) as { version: string };
  return {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    platform: `${os.platform()} ${os.arch()}`,
    node: process.versions.node,
    fltac: version,
  };
}
