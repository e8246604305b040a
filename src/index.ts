/**
 * fltac as a library: the engine (a frozen backbone, a bank of adapters, exact K-means), NumPy's random streams, the
 * partition, and whole runs as the command line makes them.
 */
export { FltacError, ExitCode, exitCodeOf, type ErrorCode } from './errors.js';
export {
  AdapterBank,
  Backbone,
  adapterLayout,
  buildInfo,
  checkDevices,
  describeArchitecture,
  evaluate,
  generate,
  gradient,
  kmeans,
  kmeansBatch,
  memoryHeld,
  preprocessImages,
  placementText,
  readArchive,
  readSafetensors,
  setThreads,
  train,
  writeArchive,
  writeSafetensors,
} from './engine/index.js';
export type * from './engine/types.js';
export type { DeviceMap } from './engine/placement.js';
export { Generator } from './numpy/index.js';
export { partitionTasks, type Partition, type PartitionOptions, type TaskSize } from './federation/partition.js';
export { adjustedRandIndex, clusteringAccuracy } from './federation/scoring.js';
export { makeConfig, type RunConfig } from './config/index.js';
export { trainRun, type TrainContext } from './run/train.js';
export { compareRuns, type CompareContext } from './compare/compare.js';
export { parseEntries, planRuns, type CompareEntry, type PlannedRun } from './compare/entries.js';
export type { CompareRow, Comparison, Spread } from './compare/summary.js';
export type { RunContext } from './run/open.js';
export { evaluateRun, type EvaluateOutcome, type EvaluateRunOptions } from './run/evaluate.js';
export { verifyRun, type VerifyOptions, type VerifyOutcome } from './run/verify/index.js';
export { generateAnswers, type GenerateAnswersOptions, type GenerateOutcome } from './generate/generate.js';
export { judgeAnswers, type JudgeOptions, type JudgeOutcome } from './judge/judge.js';
export { judgeEndpoint } from './judge/settings.js';
export type { TrainOutcome } from './run/outcome.js';
export { createLog, silentLog, type Log } from './run/log.js';
