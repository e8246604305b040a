/** What training and evaluating a run share: its model, data, partition and engine, opened from a configuration. */
import type { RunConfig } from '../config/schema.js';
import type { ResolvedModel, Scenario, loadScenario, resolveModel } from '../data/scenario.js';
import { placementText } from '../engine/placement.js';
import type { AdapterSpec, BackboneInfo } from '../engine/types.js';
import { FltacError } from '../errors.js';
import { assertNotAborted } from '../federation/checks.js';
import type { Engine, EngineFace } from '../federation/engine.js';
import { METHODS } from '../federation/methods.js';
import { partitionTasks, type Partition } from '../federation/partition.js';
import { chooseCohort, machineMemory, type Cohort } from './cohort.js';
import { assertCompatible } from './compatible.js';
import type { Log, ProgressHandle } from './log.js';

/** The parts of fltac below a run; tests give others. */
export interface RunParts {
  face: EngineFace;
  resolveModel: typeof resolveModel;
  loadScenario: typeof loadScenario;
}

export interface RunContext {
  log: Log;
  signal: AbortSignal;
  /** default: the libtorch engine and the real data */
  parts?: RunParts;
}

/** A run that can train or evaluate; dispose its engine at the end. */
export interface OpenRun {
  config: RunConfig;
  face: EngineFace;
  model: ResolvedModel;
  scenario: Scenario;
  partition: Partition;
  /** rows[client][task] = training rows, tasks as in `scenario.tasks` */
  rows: readonly (readonly Int32Array[])[];
  engine: Engine;
  spec: AdapterSpec;
  cohort: Cohort;
}

/** Of a run's start, what a measurement chose. */
export interface Began {
  dtype?: string;
}

/**
 * Resolves the model, loads the data, splits it over the clients and loads the backbone.
 *
 * @param began what a run that is gone on with began with: a type that is left to fltac to choose is kept
 * @throws FltacError USAGE, before weights and data are downloaded, for a backbone of another kind than the scenario
 *   needs; of any of these parts; ABORTED
 */
export async function openRun(config: RunConfig, context: RunContext, began: Began = {}): Promise<OpenRun> {
  const { face, ...data } = context.parts ?? (await productionParts());
  face.checkDevices(config);
  const dataContext = { log: context.log, signal: context.signal };
  const model = await data.resolveModel(config, dataContext, (text, path) =>
    assertCompatible(config, face.describeArchitecture(text, path)),
  );
  const scenario = await data.loadScenario(config, model, dataContext);
  const { partition, rows } = splitRows(config, scenario);
  assertNotAborted(context.signal);
  const engine = await loadBackbone(face, model.folder, config, context, began);
  const spec = adapterSpec(config, scenario);
  const cohort = spec.tuning === 'full' ? WHOLE_MODELS : chooseCohort(config, engine.info, machineMemory());
  return { config, face, model, scenario, partition, rows, engine, spec, cohort };
}

/** Loads the backbone and says where it lies and in which type, and why. */
async function loadBackbone(
  face: EngineFace,
  folder: string,
  config: RunConfig,
  { log, signal }: RunContext,
  began: Began,
): Promise<Engine> {
  const { device, deviceMap, tf32, threads } = config;
  const kept = config.dtype === 'auto' ? began.dtype : undefined;
  const dtype = kept ?? config.dtype;
  let bar: ProgressHandle | undefined;
  const onProgress = (done: number, total: number) => {
    bar ??= log.progress('loading backbone', total);
    bar.update(done);
  };
  const options = { device, deviceMap, dtype, tf32, threads, signal, onProgress };
  const engine = await face.load(folder, options).finally(() => bar?.done());
  const { info } = engine;
  const reason = kept === undefined ? info.dtypeReason : 'the run began with it';
  const rounds = tf32 && takesTf32(info);
  const products = rounds ? '; products with them on CUDA devices in TF32, because it was asked for' : '';
  log.info(`backbone: ${placementText(info.placement)}; weights in ${info.dtype}, because ${reason}${products}`);
  if (tf32 && !rounds) log.warn('tf32 has no effect: no weights lie in float32 on a CUDA device');
  return engine;
}

function takesTf32(info: BackboneInfo): boolean {
  return info.dtype === 'float32' && info.placement.some((part) => part.device.startsWith('cuda'));
}

/** The libtorch engine and the real data. */
export async function productionParts(): Promise<RunParts> {
  // Loaded on use: neither the binary nor the data code is needed to parse a command line or to run the unit tests.
  const [{ nativeEngine }, data] = await Promise.all([
    import('../federation/native-engine.js'),
    import('../data/scenario.js'),
  ]);
  return { face: nativeEngine, resolveModel: data.resolveModel, loadScenario: data.loadScenario };
}

function splitRows(config: RunConfig, scenario: Scenario): Pick<OpenRun, 'partition' | 'rows'> {
  const partition = partitionTasks(
    scenario.tasks.map((task) => ({ name: task.name, rows: task.trainRows })),
    {
      nClients: config.nClients,
      dirichletAlpha: config.dirichletAlpha,
      minFrac: config.minFrac,
      seed: config.seed,
      order: config.partitionOrder,
    },
  );
  const columns = scenario.tasks.map((task) => {
    const column = partition.tasks.indexOf(task.name);
    if (column < 0) throw new FltacError('INTERNAL', `the partition lacks the task ${task.name}`);
    return column;
  });
  return { partition, rows: partition.rows.map((client) => columns.map((column) => client[column]!)) };
}

const WHOLE_MODELS: Cohort = { size: 1, reason: 'whole models are trained one after another' };

function adapterSpec(config: RunConfig, scenario: Scenario): AdapterSpec {
  return {
    tuning: METHODS[config.method].tuning,
    rank: config.loraRank,
    loraAlpha: config.loraAlpha,
    loraDropout: config.loraDropout,
    targetModules: config.targetModules,
    numLabels: Math.max(...scenario.tasks.map((task) => task.numLabels ?? 0)),
    trainHead: config.trainHead,
  };
}
