/** What training and evaluating a run share: its model, data, partition and engine, opened from a configuration. */
import type { RunConfig } from '../config/schema.js';
import type { ResolvedModel, Scenario, loadScenario, resolveModel } from '../data/scenario.js';
import type { AdapterSpec, BackboneInfo } from '../engine/types.js';
import { FltacError } from '../errors.js';
import { assertNotAborted } from '../federation/checks.js';
import type { Engine, EngineFace } from '../federation/engine.js';
import { partitionTasks, type Partition } from '../federation/partition.js';
import { assertCompatible } from './compatible.js';
import type { Log } from './log.js';

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
  cohort: number;
}

/**
 * Resolves the model, loads the data, splits it over the clients and loads the backbone.
 *
 * @throws FltacError USAGE, before weights and data are downloaded, for a backbone of another kind than the scenario
 *   needs; of any of these parts; ABORTED
 */
export async function openRun(config: RunConfig, context: RunContext): Promise<OpenRun> {
  const { face, ...data } = context.parts ?? (await productionParts());
  const dataContext = { log: context.log, signal: context.signal };
  const model = await data.resolveModel(config, dataContext, (text, path) =>
    assertCompatible(config, face.describeArchitecture(text, path)),
  );
  const scenario = await data.loadScenario(config, model, dataContext);
  const { partition, rows } = splitRows(config, scenario);
  assertNotAborted(context.signal);
  const engine = await face.load(model.folder, { device: config.device, dtype: config.dtype, threads: config.threads });
  const spec = adapterSpec(config, scenario);
  return { config, face, model, scenario, partition, rows, engine, spec, cohort: chooseCohort(config, engine.info) };
}

async function productionParts(): Promise<RunParts> {
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

function adapterSpec(config: RunConfig, scenario: Scenario): AdapterSpec {
  return {
    rank: config.loraRank,
    loraAlpha: config.loraAlpha,
    loraDropout: config.loraDropout,
    targetModules: config.targetModules,
    numLabels: Math.max(...scenario.tasks.map((task) => task.numLabels ?? 0)),
    trainHead: config.trainHead,
  };
}

const COHORT_BYTES = 2 ** 29;
const MOST_AUTO = 8;

/**
 * How many adapters one pass trains. `auto` takes as many as fit in 512 MiB of activations with every sequence at
 * max_len (images have their fixed number of patches), 1 to 8: a fixed budget, so that the same run takes the same cohorts, and with them the same float rounding,
 * on every machine. A layer keeps about 20 vectors of the hidden size per token for its backward pass.
 */
export function chooseCohort(config: Pick<RunConfig, 'cohort' | 'batchSize' | 'maxLen'>, info: BackboneInfo): number {
  if (config.cohort !== 'auto') return config.cohort;
  const bytesPerToken = info.numLayers * info.hiddenSize * 20 * Float32Array.BYTES_PER_ELEMENT;
  const tokens = info.input === 'images' ? info.maxPositions : config.maxLen;
  const bytesPerJob = config.batchSize * tokens * bytesPerToken;
  return Math.min(MOST_AUTO, Math.max(1, Math.floor(COHORT_BYTES / bytesPerJob)));
}
