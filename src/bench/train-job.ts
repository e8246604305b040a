/** What a side of the training benchmark is told, as a file; and what it answers. */
import type { AdapterSpec } from '../engine/types.js';

/** One optimiser step: rows of one task. */
export interface StepRows {
  /** token ids of each row */
  ids: readonly (readonly number[])[];
  /** segment ids; empty where the backbone has none */
  types: readonly (readonly number[])[];
  /** class of each row */
  labels: readonly number[];
}

export interface TrainBenchJob {
  /** the backbone's folder */
  model: string;
  spec: AdapterSpec;
  lr: number;
  weightDecay: number;
  dtype: string;
  device: string;
  threads: number;
  seed: number;
  /** how many adapters fltac trains in one pass */
  cohort: number;
  maxLen: number;
  /** what is timed: the steps of each adapter */
  adapters: readonly (readonly StepRows[])[];
  /** steps whose losses are compared, without dropout; may be empty */
  lossSteps: readonly StepRows[];
  /** safetensors file of the adapter that every training starts from, by PEFT's names; written by fltac's side */
  initial: string;
}

/** What a peer's process is told besides the job. */
export interface PeerJob extends TrainBenchJob {
  padding: 'longest' | 'max_len';
}

/** The first line of a side that can work. */
export interface SideReady {
  versions: Readonly<Record<string, string>>;
  /** tokens of a timed run that products are computed of */
  computedTokens: number;
}

/** fltac's first line. */
export interface FltacReady extends SideReady {
  /** the type of the weights and where they lie, which the job may leave to the engine */
  dtype: string;
  device: string;
}

/** The only line of a side that cannot. */
export interface SideAbsent {
  absent: string;
}

/** The answer to "train". */
export interface SideTrained {
  seconds: number;
  cpuSeconds: number;
  peakBytes: number | null;
}

/** The answer to "losses": of each of lossSteps. */
export interface SideLosses {
  losses: readonly number[];
}
