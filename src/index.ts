/**
 * fltac as a library (docs/library.md): the engine (a frozen backbone, a bank of adapters, exact K-means), NumPy's random
 * streams, the partition, federations in memory, and whole runs in their folders as the command line makes them. Pictures of runs:
 * fltac/report.
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
export { loadConfig, makeConfig, type ConfigSources, type LoadedConfig, type RunConfig } from './config/index.js';
export { openFederation, type OpenFederation } from './run/open-federation.js';
export { openRun, type OpenRun, type RunContext } from './run/open.js';
export { Federation, type FederationOptions, type FederationState } from './federation/round.js';
export type { FederationSettings } from './federation/settings.js';
export type { RoundAssignment, RoundClients, RoundOutcome, RoundProof, SentAdapter } from './federation/outcome.js';
export type { TaskScore } from './federation/evaluation.js';
export { trainRun, type TrainContext } from './run/train.js';
export type { RoundEvent, TrainOutcome } from './run/outcome.js';
export { evaluateRun, type EvaluateOutcome, type EvaluateRunOptions } from './run/evaluate.js';
export { verifyRun, type VerifyOptions, type VerifyOutcome } from './run/verify/index.js';
export { compareRuns, type CompareContext } from './compare/compare.js';
export { parseEntries, planRuns, type CompareEntry, type PlannedRun } from './compare/entries.js';
export type { CompareRow, Comparison, Spread } from './compare/summary.js';
export { exportRun, type ExportContext, type ExportOptions, type ExportOutcome } from './export/export.js';
export { studyRank, type RankStudy, type RankStudyOptions } from './study/rank.js';
export { generateAnswers, type GenerateAnswersOptions, type GenerateOutcome } from './generate/generate.js';
export { judgeAnswers, type JudgeOptions, type JudgeOutcome } from './judge/judge.js';
export { judgeEndpoint } from './judge/settings.js';
export { createLog, silentLog, type Log, type ProgressHandle } from './run/log.js';
