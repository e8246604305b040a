/** What the configuration says of the rounds. */
import type { KmeansMetric, KmeansSpace } from '../engine/types.js';
import type { AggregationName } from './aggregation.js';
import type { UploadFormatName } from './communication.js';
import type { FailurePolicy } from './executor.js';
import type { MethodName, StepSettings } from './methods.js';
import type { ParticipationSettings } from './participation.js';
import type { WeightsName } from './server.js';

/** The part of a run's configuration that the rounds depend on; RunConfig has these fields. */
export interface FederationSettings extends StepSettings, ParticipationSettings {
  readonly method: MethodName;
  readonly rounds: number;
  readonly lr: number;
  readonly weightDecay: number;
  readonly gradientCheckpointing?: boolean;
  readonly batchSize: number;
  readonly evalEvery: number;
  readonly maxEvalBatches: number;
  readonly evalBatchSize: number;
  readonly weights: WeightsName;
  readonly aggregation: AggregationName;
  readonly uploadFormat: UploadFormatName;
  /** fewest clients whose results make a round; with fewer all keep what they held */
  readonly minClients: number;
  readonly onClientFailure: FailurePolicy;
  readonly kmeansK: number | 'tasks' | 'auto';
  readonly kmeansSpace: KmeansSpace;
  readonly kmeansMetric: KmeansMetric;
  readonly kmeansStandardize: boolean;
  readonly kmeansNInit: number;
  readonly kmeansMaxIter: number;
  readonly kmeansTol: number;
  /** most submissions of a round whose distances are measured; absent or 0 measures none */
  readonly recordDistances?: number;
  /** longest update that counts whole; longer ones are shortened to it; null or absent bounds none */
  readonly maxUpdateNorm?: number | null;
}
