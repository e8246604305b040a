/** How long K-means takes, by fltac and by other libraries side by side. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildInfo, checkDevices, machineRates, setThreads } from '../engine/index.js';
import type { MachineRates } from '../engine/native.js';
import { memoryLimit } from '../engine/memory.js';
import { resolveThreads } from '../engine/threads.js';
import { FltacError } from '../errors.js';
import type { Log } from '../run/log.js';
import { inertiaOf, writeGroups } from './kmeans-data.js';
import { KMEANS_SCHEMA } from './kmeans-report.js';
import type {
  KmeansBenchMachine,
  KmeansBenchReport,
  KmeansBenchResult,
  KmeansBenchShape,
  KmeansBenchShapeResult,
  KmeansBenchSide,
  KmeansPeer,
  KmeansSideName,
} from './kmeans-report.js';
import { shapeText } from './kmeans-shapes.js';
import { KmeansSide } from './kmeans-side.js';
import type { SideGreeting, SideRun } from './kmeans-side.js';
import { programFault } from './program.js';
import { median, statistics } from './statistics.js';

export interface KmeansBenchOptions {
  shapes: readonly KmeansBenchShape[];
  peers: readonly KmeansPeer[];
  /** the interpreter that runs the peers */
  python: string;
  device: 'cpu' | 'cuda';
  repeat: number;
  seed: number;
  /** 0 takes OMP_NUM_THREADS, or else all cores */
  threads: number;
  tol: number;
}

export interface BenchContext {
  log: Log;
  signal: AbortSignal;
  env: NodeJS.ProcessEnv;
}

type Started = { name: KmeansSideName; side: KmeansSide; greeting: SideGreeting };

/**
 * Clusters made-up groups (see `writeGroups`) of each shape by fltac and by each peer that can be had. Each side is a
 * process of its own that reads the data from one file and is kept for the shape; a run of a single start comes first,
 * untimed; then the sides take turns, each round beginning with another. Stopped after some shapes, it returns those, as
 * a partial report.
 *
 * @throws FltacError USAGE for a shape that does not fit into memory, UNSUPPORTED for a device that is not there, the error
 *   of a side that fails, ABORTED where it was stopped before a shape was measured
 */
export async function benchKmeans(options: KmeansBenchOptions, context: BenchContext): Promise<KmeansBenchReport> {
  checkDevices({ device: options.device });
  for (const shape of options.shapes) assertFits(shape);
  const threads = resolveThreads(options.threads, context.env);
  setThreads(threads);
  const bench = new Bench({ ...options, threads }, context);
  return bench.run();
}

class Bench {
  private readonly sides = new Map<KmeansSideName, KmeansBenchSide>();
  private gpu: string | null = null;

  constructor(
    private readonly options: KmeansBenchOptions,
    private readonly context: BenchContext,
  ) {}

  async run(): Promise<KmeansBenchReport> {
    const { repeat, seed, tol, shapes, peers } = this.options;
    await this.findPython();
    const results: KmeansBenchShapeResult[] = [];
    let rates: MachineRates | undefined;
    try {
      for (const shape of shapes) {
        results.push(await this.measure(shape, async () => (rates ??= await machineRates())));
      }
    } catch (error) {
      const stopped = error instanceof FltacError && error.code === 'ABORTED';
      if (!stopped || results.length === 0) throw error;
    }
    if (rates === undefined) throw new FltacError('USAGE', 'expected at least one shape');
    const unmeasured = shapes.slice(results.length);
    return {
      schema: KMEANS_SCHEMA,
      measuredAt: new Date().toISOString(),
      machine: this.machine(rates),
      settings: { repeat, seed, tol },
      sides: (['fltac', ...peers] as const).flatMap((name) => this.sides.get(name) ?? []),
      shapes: results,
      ...(unmeasured.length > 0 && { partial: { unmeasured } }),
    };
  }

  /** Without the interpreter all peers are absent, which is told once. */
  private async findPython(): Promise<void> {
    const { peers, python } = this.options;
    const fault = peers.length === 0 ? undefined : await programFault(python, this.context.env);
    if (fault === undefined) return;
    const reason = `${python}: ${fault}`;
    this.context.log.warn(`${peers.join(', ')} ${peers.length === 1 ? 'is' : 'are'} absent: ${reason}`);
    for (const name of peers) this.sides.set(name, { name, state: 'absent', reason });
  }

  private machine(rates: MachineRates): KmeansBenchMachine {
    const { libtorch, cpu } = buildInfo();
    return {
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      cores: availableParallelism(),
      memoryBytes: memoryLimit(),
      threads: this.options.threads,
      device: this.options.device,
      gpu: this.gpu,
      node: process.versions.node,
      libtorch,
      instructions: cpu,
      rates,
    };
  }

  private async measure(
    shape: KmeansBenchShape,
    measureRates: () => Promise<MachineRates>,
  ): Promise<KmeansBenchShapeResult> {
    const folder = mkdtempSync(join(tmpdir(), 'fltac-bench-'));
    const started: Started[] = [];
    try {
      // Who is absent is told before anything takes long, and is not tried again.
      const wanted = (['fltac', ...this.options.peers] as const).filter(
        (name) => this.sides.get(name)?.state !== 'absent',
      );
      for (const name of wanted) started.push(await this.start(name));
      const rates = await measureRates();
      const data = join(folder, 'data.f32');
      this.context.log.info(`${shapeText(shape)}: making the data`);
      writeGroups(data, shape, this.options.seed);
      const present = started.filter(({ greeting }) => !('absent' in greeting)).map(({ side }) => side);
      const { bases, rounds } = await this.race(present, data, shape, folder);
      return this.judge({ shape, data, folder, present, bases, rounds, rates });
    } finally {
      await Promise.all(started.map(({ side }) => side.stop()));
      rmSync(folder, { recursive: true, force: true });
    }
  }

  private async start(name: KmeansSideName): Promise<Started> {
    const { threads, device, tol, python } = this.options;
    const side = KmeansSide.start({ side: name, threads, device, tol }, python, this.context.env, this.context.signal);
    const greeting = await side.greeting();
    if ('absent' in greeting) {
      if (name === 'fltac') throw new FltacError('INTERNAL', `the benchmark cannot start: ${greeting.absent}`);
      this.context.log.warn(`${name} is absent: ${greeting.absent}`);
      this.sides.set(name, { name, state: 'absent', reason: greeting.absent });
    } else {
      const { version, procedure, gpu } = greeting;
      this.gpu ??= gpu;
      this.sides.set(name, { name, state: 'measured', version, procedure });
    }
    return { name, side, greeting };
  }

  /** Every side's memory before the data came, and its runs in order. */
  private async race(sides: readonly KmeansSide[], data: string, shape: KmeansBenchShape, folder: string) {
    const { repeat, seed } = this.options;
    const bases: number[] = [];
    for (const side of sides) {
      bases.push((await side.load(data, shape)).baseBytes);
      await side.run({ nInit: 1, seed, labels: null });
    }
    const progress = this.context.log.progress(shapeText(shape), repeat * sides.length);
    const rounds: SideRun[][] = [];
    try {
      for (let round = 0; round < repeat; round++) {
        const runs: SideRun[] = [];
        for (let turn = 0; turn < sides.length; turn++) {
          const at = (round + turn) % sides.length;
          const side = sides[at]!;
          progress.update(round * sides.length + turn, side.name);
          const labels = round + 1 === repeat ? join(folder, side.name) : null;
          runs[at] = await side.run({ nInit: shape.nInit, seed, labels });
        }
        rounds.push(runs);
      }
    } finally {
      progress.done();
    }
    return { bases, rounds };
  }

  private judge(race: {
    shape: KmeansBenchShape;
    data: string;
    folder: string;
    present: readonly KmeansSide[];
    bases: readonly number[];
    rounds: readonly (readonly SideRun[])[];
    rates: MachineRates;
  }): KmeansBenchShapeResult {
    const { shape, data, folder, present, bases, rounds, rates } = race;
    const dataBytes = bytesOf(shape);
    const results = present.map(({ name }, at): KmeansBenchResult => {
      const runs = rounds.map((round) => 1000 * round[at]!.seconds);
      const { iterations, path, gram, bytesRead, peakBytes } = rounds.at(-1)![at]!;
      const milliseconds = statistics(runs);
      const seconds = milliseconds.median / 1000;
      return {
        side: name,
        milliseconds,
        runs,
        ratio: median(rounds.map((round) => round[at]!.seconds / round[0]!.seconds)),
        inertia: inertiaOf(data, shape, readLabels(join(folder, name))),
        inertiaRatio: 1,
        iterations,
        path,
        gram,
        bytesRead,
        bytesPerSecond: bytesRead === null ? null : bytesRead / seconds,
        passes: (seconds * rates.readBytesPerSecond) / dataBytes,
        peakBytes,
        baseBytes: bases[at]!,
      };
    });
    for (const result of results) result.inertiaRatio = result.inertia / results[0]!.inertia;
    return {
      shape,
      dataBytes,
      gramBoundSeconds: results[0]!.path === 'gram' ? gramBound(shape, rates) : null,
      results,
    };
  }
}

function bytesOf({ batch, rows, columns }: KmeansBenchShape): number {
  return batch * rows * columns * Float32Array.BYTES_PER_ELEMENT;
}

/** See `KmeansBenchShapeResult.gramBoundSeconds`. */
export function gramBound(shape: KmeansBenchShape, rates: Pick<MachineRates, 'readBytesPerSecond' | 'gemm64'>): number {
  const { batch, rows, columns } = shape;
  return bytesOf(shape) / rates.readBytesPerSecond + (batch * rows * (rows + 1) * columns) / rates.gemm64;
}

function readLabels(path: string): Int32Array {
  const bytes = new Uint8Array(readFileSync(path));
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / Int32Array.BYTES_PER_ELEMENT);
}

/** Every side holds the data once, and scikit-learn twice. @throws FltacError USAGE */
export function assertFits(shape: KmeansBenchShape, memory = memoryLimit()): void {
  const bytes = 2 * bytesOf(shape);
  if (bytes <= memory) return;
  const gigabytes = (value: number) => `${(value / 1e9).toFixed(1)} GB`;
  throw new FltacError(
    'USAGE',
    `--shapes ${shapeText(shape)}: this needs ${gigabytes(bytes)} of memory (the data and a copy), ` +
      `this machine has ${gigabytes(memory)}: choose fewer rows or columns`,
  );
}
