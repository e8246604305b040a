/** What a finished run tells its caller; `fltac train --format json` prints it. */
import type { MetricName } from '../data/scenario.js';
import type { RunCosts } from './read-run.js';
import type { Upload } from '../federation/communication.js';
import type { MethodName } from '../federation/methods.js';
import type { RoundOutcome } from '../federation/outcome.js';

export interface TaskOutcome {
  task: string;
  /** the metric of the adapters its clients hold after the last round */
  metric: number | null;
  /** share of the most frequent label of the rows that were evaluated; null for a language model's task */
  majorityFloor: number | null;
  /** the metric of the backbone with the common initial adapter */
  untuned: number | null;
  /** the metric under the baseline method, where one was run */
  baseline?: number | null;
}

/** What one method cost and found. */
export interface MethodOutcome {
  method: string;
  /** absolute path of the run's folder */
  folder: string;
  rounds: number;
  /** of the last round; null where the method does not cluster by task */
  clusteringAccuracy: number | null;
  ari: number | null;
  /** of all clients in one round */
  optimizerSteps: number;
  upload: Upload;
  /** of all rounds together */
  totals: Pick<RunCosts, 'optimizerSteps' | 'bytesUp' | 'bytesDown'>;
  seconds: number;
}

export interface TrainOutcome extends MethodOutcome {
  scenario: string;
  /** what the tasks are measured by */
  metric: MetricName;
  /** what the clients started from, where it was not the untuned backbone */
  initialAdapter: string | null;
  /** in listed order */
  tasks: readonly TaskOutcome[];
  baseline?: MethodOutcome;
}

/** A complete round, as whoever embeds a run hears of it. */
export interface RoundEvent extends RoundOutcome {
  /** the run's, or that of the baseline trained beside it */
  readonly method: MethodName;
  /** rounds that the method takes */
  readonly rounds: number;
}
