/** Configuration: the schema, and the ways in and out of it. */
export { BUNDLED_MODEL, SCENARIOS } from './scenarios.js';
export type { KnownScenario, PartitionScenario, ScenarioName } from './scenarios.js';
export { CONFIG_KEYS, camelName, flagName, isConfigKey, keyRow } from './schema.js';
export type { ConfigKey, RunConfig } from './schema.js';
export { loadConfig, loadPartitionConfig, makeConfig } from './load.js';
export type { ConfigSources, LoadedConfig, PartitionConfig } from './load.js';
export { stringifyConfig } from './stringify.js';
