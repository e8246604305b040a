/** One side of the K-means benchmark: a process of its own that holds the data and answers one request after another. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { packageRoot } from '../engine/load.js';
import { FltacError, messageOf } from '../errors.js';
import type { KmeansBenchShape, KmeansSideName } from './kmeans-report.js';

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
  bytesRead: number | null;
  peakBytes: number;
}

/** A line from a side. */
export type SideReply = SideGreeting | { baseBytes: number } | SideRun | { failed: string };

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
  private readonly lines: AsyncIterator<string>;
  private readonly ended: Promise<string>;
  private errors = '';

  private constructor(
    readonly name: KmeansSideName,
    private readonly child: ChildProcess,
    signal: AbortSignal,
  ) {
    this.lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.errors = (this.errors + text).slice(-4000)));
    child.stdin!.on('error', () => undefined); // a process that ended is noticed where its answer is awaited
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(messageOf(error)));
      child.once('close', (code, by) => resolve(`it ended ${by === null ? `with exit code ${code}` : `by ${by}`}`));
    });
    const stop = () => child.kill();
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
  }

  /**
   * Starts a side's process.
   * @param python the interpreter that runs the peers
   */
  static start(settings: SideSettings, python: string, env: NodeJS.ProcessEnv, signal: AbortSignal): KmeansSide {
    const { side, threads } = settings;
    const ours = side === 'fltac';
    const [command, script] = ours
      ? [process.execPath, 'dist/bench/kmeans-worker.js']
      : [python, 'bench/peers/kmeans_peer.py'];
    const child = spawn(command, [join(packageRoot, script), JSON.stringify(settings)], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...(ours ? env : withoutOurs(env)), ...threadCounts(threads) },
    });
    return new KmeansSide(side, child, signal);
  }

  /** What the side says of itself. A process that cannot start is absent, too. */
  async greeting(): Promise<SideGreeting> {
    const greeting = await this.next<SideGreeting>();
    return 'failed' in greeting ? { absent: greeting.failed } : greeting;
  }

  /** @throws FltacError INTERNAL for a side that fails */
  async load(file: string, shape: KmeansBenchShape): Promise<{ baseBytes: number }> {
    return this.ask<{ baseBytes: number }>({ op: 'load', file, shape });
  }

  /** @throws FltacError INTERNAL for a side that fails */
  async run(request: Omit<Extract<SideRequest, { op: 'run' }>, 'op'>): Promise<SideRun> {
    return this.ask<SideRun>({ op: 'run', ...request });
  }

  /** Ends the process. */
  async stop(): Promise<void> {
    this.child.kill();
    await this.ended;
  }

  private async ask<T extends object>(request: SideRequest): Promise<T> {
    this.child.stdin!.write(`${JSON.stringify(request)}\n`);
    const reply = await this.next<T>();
    if ('failed' in reply) throw new FltacError('INTERNAL', `the benchmark's side ${this.name}: ${reply.failed}`);
    return reply;
  }

  private async next<T extends object>(): Promise<T | { failed: string }> {
    const next = await this.lines.next();
    if (next.done !== true) return JSON.parse(next.value) as T | { failed: string };
    const how = await this.ended;
    const last = this.errors.trim().split('\n').at(-1) ?? '';
    return { failed: last === '' ? how : `${how}: ${last}` };
  }
}
