/** Configuration: the schema, and the ways in and out of it. */
export { BUNDLED_MODEL, SCENARIOS } from './scenarios.js';
export type { ScenarioName } from './scenarios.js';
export { CONFIG_KEYS, camelName, flagName, isConfigKey, keyRow } from './schema.js';
export type { ConfigKey, RunConfig } from './schema.js';
export { loadConfig, makeConfig } from './load.js';
export type { ConfigSources, LoadedConfig } from './load.js';
export { stringifyConfig } from './stringify.js';
