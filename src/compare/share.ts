/** Runs of one process that share what they load: backbones stay in memory, and data of equal settings are read once. */
import { CONFIG_KEYS, camelName, keyRow, type RunConfig } from '../config/index.js';
import type { Group } from '../config/schema.js';
import type { Engine, LoadOptions } from '../federation/engine.js';
import type { RunParts } from '../run/open.js';

export interface SharedParts extends RunParts {
  /** frees the backbones */
  dispose(): void;
}

/** Groups of keys that say nothing of the data or the model; any other key keeps two runs from sharing. */
const OTHER_GROUPS: readonly Group[] = ['adapter', 'server', 'evaluation', 'participation'];
const OTHER_KEYS: readonly (keyof RunConfig)[] = [
  'method',
  'baselineMethod',
  'outputDir',
  'rounds',
  'localSteps',
  'lr',
  'weightDecay',
  'batchSize',
  'feditSteps',
  'centralizedSteps',
];

const DATA_KEYS = CONFIG_KEYS.filter((key) => !OTHER_GROUPS.includes(keyRow(key).group))
  .map(camelName)
  .filter((name) => !OTHER_KEYS.includes(name));

/**
 * Parts that give equal requests the same answer. What one run is given, another may be using: engines are disposed
 * together at the end, not by the runs.
 */
export function shareParts(parts: RunParts): SharedParts {
  const engines = new Map<string, Promise<Engine>>();
  const models = new Map<string, ReturnType<RunParts['resolveModel']>>();
  const scenarios = new Map<string, ReturnType<RunParts['loadScenario']>>();
  const load = (folder: string, options: LoadOptions): Promise<Engine> => {
    const { device, deviceMap, dtype, tf32, threads } = options;
    return once(engines, JSON.stringify([folder, device, deviceMap, dtype, tf32, threads]), () =>
      parts.face.load(folder, options),
    );
  };
  const made: Engine[] = [];
  const keep = (engine: Engine) => {
    if (!made.includes(engine)) made.push(engine);
    return undisposed(engine);
  };
  return {
    face: { ...parts.face, load: async (folder, options) => keep(await load(folder, options)) },
    resolveModel: (config, context, check) =>
      once(models, dataKey(config), () => parts.resolveModel(config, context, check)),
    loadScenario: (config, model, context) => {
      // One seed's data at a time: whole training sets stay in memory.
      const key = JSON.stringify([model, dataKey(config)]);
      if (!scenarios.has(key)) scenarios.clear();
      return once(scenarios, key, () => parts.loadScenario(config, model, context));
    },
    dispose: () => made.splice(0).forEach((engine) => engine.dispose()),
  };
}

function dataKey(config: RunConfig): string {
  return JSON.stringify(DATA_KEYS.map((name) => config[name]));
}

/** What failed is tried again by the next who asks. */
function once<T>(kept: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const found = kept.get(key);
  if (found !== undefined) return found;
  const pending = make();
  kept.set(key, pending);
  pending.catch(() => kept.delete(key));
  return pending;
}

/** The same engine, but for `dispose`. */
function undisposed(engine: Engine): Engine {
  return Object.create(engine, { dispose: { value: () => undefined } }) as Engine;
}
