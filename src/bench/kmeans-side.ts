/** One side of the K-means benchmark: a process of its own that holds the data and answers one request after another. */
import { join } from 'node:path';
import { packageRoot } from '../engine/load.js';
import { FltacError, messageOf } from '../errors.js';
import type { KmeansBenchShape, KmeansSideName } from './kmeans-report.js';
import { LineProcess, type Failure } from './line-process.js';

/** What a side is started with. */
export interface SideSettings {
  side: KmeansSideName;
  threads: number;
  device: 'cpu' | 'cuda';
  tol: number;
}

/** A line to a side. `load` comes once, before the first `run`. */
export type SideRequest =
  | { op: 'load'; file: string; shape: KmeansBenchShape }
  /** `labels`: the file to write the int32 labels [batch, rows] of this run to, after its clock has stopped */
  | { op: 'run'; nInit: number; seed: number; labels: string | null };

/** The first line of a side. */
export type SideGreeting =
  | { version: string; procedure: string; gpu: string | null }
  /** why this side cannot take part */
  | { absent: string };

export interface SideRun {
  /** of the K-means call alone */
  seconds: number;
  iterations: number | null;
  path: string | null;
  gram: string | null;
  bytesRead: number | null;
  peakBytes: number;
}

/** A line from a side. */
export type SideReply = SideGreeting | { baseBytes: number } | SideRun | Failure;

/** Settings that may have been made for other processes' sake and slow a peer down: it runs as it comes. */
const NOT_FOR_PEERS = new Set(['OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE', 'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT']);

function withoutOurs(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !NOT_FOR_PEERS.has(name)));
}

function threadCounts(threads: number): NodeJS.ProcessEnv {
  const count = String(threads);
  return { OMP_NUM_THREADS: count, OPENBLAS_NUM_THREADS: count, MKL_NUM_THREADS: count };
}

export class KmeansSide {
  private constructor(
    readonly name: KmeansSideName,
    private readonly child: LineProcess,
  ) {}

  /**
   * Starts a side's process.
   * @param python the interpreter that runs the peers
   */
  static start(settings: SideSettings, python: string, env: NodeJS.ProcessEnv, signal: AbortSignal): KmeansSide {
    const { side, threads } = settings;
    const ours = side === 'fltac';
    const script = ours ? 'dist/bench/kmeans-worker.js' : 'bench/peers/kmeans_peer.py';
    const child = new LineProcess({
      title: `the benchmark's side ${side}`,
      command: ours ? process.execPath : python,
      args: [join(packageRoot, script), JSON.stringify(settings)],
      env: { ...(ours ? env : withoutOurs(env)), ...threadCounts(threads) },
      signal,
    });
    return new KmeansSide(side, child);
  }

  /** What the side says of itself; a process that cannot start is absent, too. @throws FltacError ABORTED */
  async greeting(): Promise<SideGreeting> {
    try {
      return (await this.child.read()) as SideGreeting;
    } catch (error) {
      if (error instanceof FltacError && error.code === 'ABORTED') throw error;
      return { absent: messageOf(error) };
    }
  }

  /** @throws FltacError as LineProcess.read */
  async load(file: string, shape: KmeansBenchShape): Promise<{ baseBytes: number }> {
    return (await this.ask({ op: 'load', file, shape })) as { baseBytes: number };
  }

  /** @throws FltacError as LineProcess.read */
  async run(request: Omit<Extract<SideRequest, { op: 'run' }>, 'op'>): Promise<SideRun> {
    return (await this.ask({ op: 'run', ...request })) as SideRun;
  }

  /** Lets the process end. */
  async stop(): Promise<void> {
    await this.child.close();
  }

  private ask(request: SideRequest): Promise<unknown> {
    return this.child.ask(JSON.stringify(request));
  }
}
