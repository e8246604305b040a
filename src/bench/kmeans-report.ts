/**
 * What `fltac bench kmeans` measures: printed with `--format json`, written by `--out`, kept in bench/results/kmeans*.json
 * and drawn by `fltac report`. All times are of whole K-means calls on data that lie in memory.
 */
import type { MachineRates } from '../engine/native.js';
import type { Milliseconds } from './statistics.js';

export const KMEANS_SCHEMA = 'fltac.bench.kmeans/1';

/** Who computes: fltac itself and the peers it can be measured beside. */
export const KMEANS_PEERS = ['sklearn', 'faiss', 'torch', 'flash-kmeans'] as const;
export type KmeansPeer = (typeof KMEANS_PEERS)[number];
export type KmeansSideName = 'fltac' | KmeansPeer;

export interface KmeansBenchReport {
  schema: typeof KMEANS_SCHEMA;
  /** when it was measured, ISO 8601 */
  measuredAt: string;
  machine: KmeansBenchMachine;
  settings: KmeansBenchSettings;
  /** fltac first, then the peers that were asked for */
  sides: KmeansBenchSide[];
  shapes: KmeansBenchShapeResult[];
  /** only in a report of a benchmark that was stopped after some shapes: those that are missing, in order */
  partial?: { unmeasured: KmeansBenchShape[] };
}

export interface KmeansBenchMachine {
  cpu: string;
  /** cores that this process may use */
  cores: number;
  memoryBytes: number;
  /** CPU threads that every side was told to use */
  threads: number;
  /** where fltac and the peers that can compute */
  device: 'cpu' | 'cuda';
  /** name of the GPU as torch tells it; null on the CPU, and where no peer with torch ran */
  gpu: string | null;
  node: string;
  libtorch: string;
  /** instruction set that libtorch chose, e.g. "AVX2" */
  instructions: string;
  /** best rates of the CPU, measured just before */
  rates: MachineRates;
}

export interface KmeansBenchSettings {
  /** timed runs of each side; an untimed one with a single start came first */
  repeat: number;
  /** of the data and of the starts */
  seed: number;
  /** as scikit-learn's; given to every side that has one */
  tol: number;
}

export type KmeansBenchSide =
  | { name: KmeansSideName; state: 'measured'; version: string; procedure: string }
  | { name: KmeansSideName; state: 'absent'; reason: string };

/** `batch` independent problems of `rows` points with `columns` values, each put into `k` clusters. */
export interface KmeansBenchShape {
  batch: number;
  rows: number;
  columns: number;
  k: number;
  /** starts, of which the best is kept */
  nInit: number;
  /** most iterations of a start */
  maxIter: number;
}

export interface KmeansBenchShapeResult {
  shape: KmeansBenchShape;
  /** of the data, float32 */
  dataBytes: number;
  /**
   * Seconds that any method must take that reads the data once and forms their Gram matrix in float64 at the machine's
   * measured rates: dataBytes / readBytesPerSecond + batch x rows x (rows + 1) x columns / gemm64. Null where fltac took
   * another path than "gram".
   */
  gramBoundSeconds: number | null;
  /** fltac first */
  results: KmeansBenchResult[];
}

export interface KmeansBenchResult {
  side: KmeansSideName;
  milliseconds: Milliseconds;
  /** each timed run, in order; run i of all sides was made one after another */
  runs: number[];
  /** this side's time / fltac's: median over the rounds; 1 for fltac itself, above 1 where fltac is faster */
  ratio: number;
  /**
   * sum of squared distances to the means of the clusters, over all problems, computed for every side in the same way:
   * in float64 from the data and the labels of its last run
   */
  inertia: number;
  /** inertia / fltac's */
  inertiaRatio: number;
  /** Lloyd iterations of the kept start, of the first problem; null where the side does not tell */
  iterations: number | null;
  /** which of fltac's implementations ran; null for peers */
  path: string | null;
  /** what inner products were formed in, "float32" or "float64"; null on other paths and for peers */
  gram: string | null;
  /** bytes of the data read over all passes of a run, cached or not; null for peers, which do not tell */
  bytesRead: number | null;
  /** bytesRead / median time; null where bytesRead is */
  bytesPerSecond: number | null;
  /** median time in readings of the data: x readBytesPerSecond / dataBytes */
  passes: number;
  /** most memory that the process held (its libraries too), and what it held before it read the data, in bytes */
  peakBytes: number;
  baseBytes: number;
}
