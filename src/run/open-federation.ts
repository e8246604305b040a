/** A federation in memory, opened from a configuration: the round loop without a run's folder. */
import type { RunConfig } from '../config/schema.js';
import { FltacError } from '../errors.js';
import type { EvaluationCache } from '../federation/evaluation.js';
import { loadInitialAdapter } from '../federation/initial.js';
import { METHODS, learningRate } from '../federation/methods.js';
import { clientsAsked, participationOf } from '../federation/participation.js';
import { Federation, type FederationOptions } from '../federation/round.js';
import { assertRunConfig } from './arguments.js';
import { silentLog } from './log.js';
import { openRun, type OpenRun, type RunContext } from './open.js';

/** What `openFederation` gives; `dispose` frees the adapters and the backbone. */
export interface OpenFederation {
  readonly federation: Federation;
  /** the configuration, tasks, partition and engine that it was made from */
  readonly run: OpenRun;
  dispose(): void;
}

/**
 * Opens the model and the data of a configuration and plans its federation. Nothing is written but the caches of
 * downloads and tokens; keys of a run's folder (`output_dir`, `save_every`, `baseline_method`, ...) have no effect.
 *
 * @param context without `log` it is silent, without `signal` nothing stops the opening
 * @throws FltacError any error of the configuration's model and data; ABORTED
 */
export async function openFederation(config: RunConfig, context: Partial<RunContext> = {}): Promise<OpenFederation> {
  assertRunConfig(config, 'openFederation');
  const { log = silentLog(), signal = new AbortController().signal } = context;
  const run = await openRun(config, { ...context, log, signal });
  try {
    const federation = await federationOf(run, { log });
    return {
      federation,
      run,
      dispose() {
        federation.dispose();
        run.engine.dispose();
      },
    };
  } catch (error) {
    run.engine.dispose();
    throw error;
  }
}

/** The configuration as the method reads it. */
function settingsOf(config: RunConfig): RunConfig {
  const method = METHODS[config.method];
  const lr = learningRate(method, config);
  // Whole models are neither clustered nor few values: nobody looks at the distances between them.
  return method.tuning === 'full' ? { ...config, lr, recordDistances: 0 } : { ...config, lr };
}

/** What a federation of an open run has besides the run. */
type Extras = Pick<FederationOptions, 'log' | 'keepSubmissions'> & { cache?: EvaluationCache };

/** Only the partition tells how many of n_clients hold data. @throws FltacError USAGE */
function assertEnoughClients({ config, rows }: OpenRun): void {
  const method = METHODS[config.method];
  const { minClients, participation } = participationOf(method, config);
  const holders = rows.filter((client) => client.some(({ length }) => length > 0)).length;
  const asked = clientsAsked(participation, holders);
  if (minClients <= asked || method.adapters === 'none') return;
  throw new FltacError(
    'USAGE',
    `min_clients is ${minClients}, but of ${rows.length} clients ${holders} hold data and a round asks ${asked} ` +
      '(participation): no round would count; lower min_clients, or change the partition',
  );
}

/**
 * The federation of an open run.
 *
 * @throws FltacError USAGE where no round can have min_clients; as Federation.create and loadInitialAdapter
 */
export async function federationOf(run: OpenRun, extras: Extras): Promise<Federation> {
  const { engine, spec, config, face, scenario } = run;
  const source = config.initialAdapter;
  assertEnoughClients(run);
  const initial = source === null ? {} : { initial: await loadInitialAdapter(face, source, engine.layout(spec), spec) };
  return Federation.create({
    engine,
    spec,
    tasks: scenario.tasks,
    metric: scenario.metric,
    rows: run.rows,
    settings: settingsOf(config),
    cohort: run.cohort.size,
    ...initial,
    ...extras,
  });
}
