/**
 * An engine whose adapters are ten numbers. Training moves an adapter towards its task's target (the task is the token
 * id of its sequences), so that adapters of one task come together and those of different tasks part; evaluation is
 * the better the nearer an adapter is to the target. Everything is a plain function of its arguments.
 */
import { asSequences } from '../../src/engine/examples.js';
import { readFile, writeFile } from 'node:fs/promises';
import type {
  AdapterLayout,
  AdapterSpec,
  ArchiveTensor,
  ArchiveValue,
  BackboneInfo,
  EvaluateJob,
  EvaluateResult,
  GenerateJob,
  GenerateOptions,
  GenerateResult,
  KmeansResult,
  PackedSequences,
  ProductMeans,
  TrainJob,
  TrainOptions,
} from '../../src/engine/types.js';
import { FltacError, messageOf } from '../../src/errors.js';
import type { AverageOptions, Bank, Engine, EngineFace } from '../../src/federation/engine.js';

const QUERY = 'base_model.model.bert.encoder.layer.0.attention.self.query';

export const FAKE_LAYOUT: AdapterLayout = {
  tensors: [
    { name: `${QUERY}.lora_A.default.weight`, shape: [1, 2], offset: 0 },
    { name: `${QUERY}.lora_B.default.weight`, shape: [2, 1], offset: 2 },
    { name: 'base_model.model.classifier.modules_to_save.default.bias', shape: [2], offset: 4 },
    { name: 'base_model.model.classifier.modules_to_save.default.weight', shape: [2, 2], offset: 6 },
  ],
  size: 10,
};

/** Values of the layout's A, which comes first. */
const FACTOR_A_SIZE = 2;

const INFO: BackboneInfo = {
  family: 'fake',
  input: 'tokens',
  output: 'classes',
  hiddenSize: 2,
  numLayers: 1,
  numHeads: 1,
  vocabSize: 100,
  maxPositions: 64,
  tensors: [],
  parameters: 0,
  device: 'cpu',
  placement: ['embedding', 'layers.0', 'output'].map((part) => ({ part, device: 'cpu', bytes: 0 })),
  dtype: 'float32',
  dtypeReason: 'it is a fake',
  bytes: 0,
  unused: [],
};

/** Where the training of the task with this token id leads. */
export function target(token: number): Float32Array {
  return Float32Array.from({ length: FAKE_LAYOUT.size }, (_, i) => (i % 5 === token % 5 ? 4 : 0) + token / 10);
}

export class FakeBank implements Bank {
  readonly layout = FAKE_LAYOUT;
  readonly values: Float32Array[];
  disposed = false;

  constructor(readonly rows: number) {
    this.values = Array.from({ length: rows }, () => new Float32Array(FAKE_LAYOUT.size));
  }

  initialise(row: number, stream: bigint): void {
    this.set(
      row,
      Float32Array.from({ length: FAKE_LAYOUT.size }, (_, i) => 0.1 + noise(stream, i)),
    );
  }

  set(row: number, values: Float32Array): void {
    this.#at(row).set(values);
  }

  get(row: number): Float32Array {
    return this.#at(row).slice();
  }

  copy(from: number, to: number): void {
    this.set(to, this.get(from));
  }

  copyFrom(bank: Bank, from: number, to: number): void {
    this.set(to, bank.get(from));
  }

  average({ rows, labels, weights, into }: AverageOptions): Promise<void> {
    for (const label of new Set(labels)) {
      const members = [...rows.keys()].filter((i) => labels[i] === label);
      const total = members.reduce((sum, i) => sum + weights[i]!, 0);
      const mean = new Float64Array(FAKE_LAYOUT.size);
      for (const i of members) this.get(rows[i]!).forEach((x, c) => (mean[c]! += (weights[i]! / total) * x));
      into.set(label, Float32Array.from(mean));
    }
    return Promise.resolve();
  }

  /** Of the layout's one module, whose rank is 1. */
  meanProducts({ rows, labels, weights, into }: Parameters<Bank['meanProducts']>[0]): Promise<ProductMeans> {
    const sums = { mean: 0, error: 0, lost: 0 };
    for (const label of new Set(labels)) {
      const members = [...rows.keys()].filter((i) => labels[i] === label);
      const total = members.reduce((sum, i) => sum + weights[i]!, 0);
      const mean = (of: (x: Float32Array) => number) =>
        members.reduce((sum, i) => sum + (weights[i]! / total) * of(this.get(rows[i]!)), 0);
      const cells = [0, 1].flatMap((o) => [0, 1].map((c) => [o, c] as const));
      const product = cells.map(([o, c]) => mean((x) => x[2 + o]! * x[c]!));
      const ofMeans = cells.map(([o, c]) => mean((x) => x[2 + o]!) * mean((x) => x[c]!));
      sums.mean += product.reduce((sum, x) => sum + x * x, 0);
      sums.error += product.reduce((sum, x, i) => sum + (x - ofMeans[i]!) ** 2, 0);
      if (into === undefined || members.length === 1) continue;
      const { b, a, lost } = rankOne(product);
      sums.lost += lost;
      into.set(label, Float32Array.from([...a, ...b, ...into.get(label).subarray(4)]));
    }
    const relative = (squared: number) => (sums.mean === 0 ? 0 : Math.sqrt(squared / sums.mean));
    return Promise.resolve({ factorError: relative(sums.error), truncationError: relative(sums.lost) });
  }

  dispose(): void {
    this.disposed = true;
  }

  #at(row: number): Float32Array {
    const values = this.values[row];
    if (values === undefined) throw new Error(`no row ${row} in a bank of ${this.rows}`);
    return values;
  }
}

/** The nearest product b a^T to a 2 x 2 matrix, balanced, and the squared norm that it lacks. */
function rankOne([p = 0, q = 0, r = 0, s = 0]: readonly number[]): { b: number[]; a: number[]; lost: number } {
  const angle = Math.atan2(2 * (p * q + r * s), p * p + r * r - q * q - s * s) / 2;
  const v = [Math.cos(angle), Math.sin(angle)] as const;
  const u = [p * v[0] + q * v[1], r * v[0] + s * v[1]] as const;
  const value = Math.hypot(...u);
  const root = Math.sqrt(value);
  const lost = p * p + q * q + r * r + s * s - value * value;
  return { b: u.map((x) => (value === 0 ? 0 : x / root)), a: v.map((x) => x * root), lost };
}

/** One prompt that was continued. */
export interface FakeAnswer {
  row: number;
  prompt: number[];
  stream: bigint | undefined;
}

export class FakeEngine implements Engine {
  readonly info: BackboneInfo;
  /** prompts of each call of generate */
  readonly answered: FakeAnswer[][] = [];
  readonly banks: FakeBank[] = [];
  /** rows of each call of train */
  readonly waves: number[][] = [];
  disposed = false;

  constructor(output: BackboneInfo['output'] = 'classes') {
    this.info = { ...INFO, output };
  }

  layout(): AdapterLayout {
    return FAKE_LAYOUT;
  }

  merge(): Promise<void> {
    return Promise.reject(new FltacError('UNSUPPORTED', 'the fake engine has no weights to merge'));
  }

  createBank(_spec: AdapterSpec, rows: number): FakeBank {
    const bank = new FakeBank(rows);
    this.banks.push(bank);
    return bank;
  }

  async train(bank: Bank, jobs: readonly TrainJob[], options: TrainOptions) {
    this.waves.push(jobs.map((job) => job.row));
    const total = jobs.reduce((sum, job) => sum + job.batches.length - 1, 0);
    let done = 0;
    const results = [];
    for (const job of jobs) {
      const losses = new Float64Array(job.batches.length - 1);
      const goal = target(asSequences(job.examples).ids[0]!);
      for (let step = 0; step < losses.length; step += 1) {
        await Promise.resolve();
        if (options.signal?.aborted === true) throw new FltacError('ABORTED', 'stopped');
        const values = bank.get(job.row);
        losses[step] = values.reduce((sum, x, i) => sum + Math.abs(goal[i]! - x), 0) / values.length;
        const next = values.map(
          (x, i) => x + 20 * options.lr * (goal[i]! - x) + 0.01 * noise(job.stream, step * 16 + i),
        );
        if (options.freezeA === true) next.set(values.subarray(0, FACTOR_A_SIZE));
        bank.set(job.row, next);
        options.onProgress?.(++done, total);
      }
      results.push({ losses });
    }
    return results;
  }

  evaluate(bank: Bank, jobs: readonly EvaluateJob[]) {
    return Promise.resolve(
      jobs.map(({ row, examples }) => {
        const sequences = asSequences(examples);
        const goal = target(sequences.ids[0]!);
        const adapter = bank.get(row);
        const distance = adapter.reduce((sum, x, i) => sum + Math.abs(goal[i]! - x), 0) / adapter.length;
        if (this.info.output === 'next_token') return tokenLosses(sequences, distance);
        const n = sequences.labels.length;
        const logits = new Float32Array(2 * n);
        sequences.labels.forEach((label, i) => {
          const right = (i + 0.5) / n < Math.max(0.5, 1 - distance / 2);
          logits[2 * i + (right ? label : 1 - label)] = 1;
        });
        return {
          logits,
          loss: distance,
          exampleLosses: new Float64Array(n).fill(distance),
          exampleTargets: new Int32Array(n).fill(1),
        };
      }),
    );
  }

  /**
   * Answers with two tokens: 3 + the number of the task that the adapter was trained on (modulo 5), and the prompt's last;
   * with a stream also with 3 + the stream modulo 5. Prompts with an even last token are finished.
   */
  async generate(bank: Bank, jobs: readonly GenerateJob[], options: GenerateOptions): Promise<GenerateResult[]> {
    const calls: FakeAnswer[] = [];
    this.answered.push(calls);
    const results: GenerateResult[] = [];
    for (const { row, prompts, streams } of jobs) {
      const adapter = bank.get(row);
      const task = adapter.indexOf(Math.max(...adapter)) % 5;
      const answers: number[][] = [];
      for (let p = 0; p + 1 < prompts.offsets.length; p += 1) {
        await Promise.resolve();
        if (options.signal?.aborted === true) throw new FltacError('ABORTED', 'stopped');
        const prompt = [...prompts.ids.subarray(prompts.offsets[p], prompts.offsets[p + 1])];
        calls.push({ row, prompt, stream: streams?.[p] });
        answers.push([3 + task, prompt.at(-1)!, ...(streams ? [3 + Number(streams[p]! % 5n)] : [])]);
        options.onProgress?.(calls.length, calls.length);
      }
      const offsets = [0];
      for (const answer of answers) offsets.push(offsets.at(-1)! + answer.length);
      const finished = Uint8Array.from(answers, (answer) => (answer[1]! % 2 === 0 ? 1 : 0));
      results.push({ ids: Int32Array.from(answers.flat()), offsets: Int32Array.from(offsets), finished });
    }
    return results;
  }

  kmeans(bank: Bank, options: { k: number; rows: Int32Array }): Promise<KmeansResult> {
    const points = Array.from(options.rows, (row) => bank.get(row));
    let centres = farthestPoints(points, options.k);
    let labels = new Int32Array(points.length);
    for (let iteration = 0; iteration < 20; iteration += 1) {
      labels = Int32Array.from(points, (point) => nearest(point, centres));
      centres = centres.map((centre, c) => meanOf(points.filter((_, i) => labels[i] === c)) ?? centre);
    }
    const inertia = points.reduce((sum, point, i) => sum + squared(point, centres[labels[i]!]!), 0);
    const flat = Float32Array.from(centres.flatMap((centre) => [...centre]));
    return Promise.resolve(kmeansResult({ k: options.k, labels, centroids: flat, inertia, iterations: 20 }));
  }

  distances(bank: Bank, { rows }: { rows: Int32Array }): Promise<Float64Array> {
    const points = Array.from(rows, (row) => bank.get(row));
    return Promise.resolve(Float64Array.from(points.flatMap((a) => points.map((b) => squared(a, b)))));
  }

  dispose(): void {
    this.disposed = true;
  }
}

/** A loss that is the same for every labelled token. */
function tokenLosses({ offsets, labels }: PackedSequences, loss: number): EvaluateResult {
  const exampleTargets = Int32Array.from(
    offsets.subarray(1),
    (end, i) => labels.subarray(offsets[i], end).filter((label) => label !== -100).length,
  );
  const exampleLosses = Float64Array.from(exampleTargets, (count) => count * loss);
  return { logits: new Float32Array(0), loss, exampleLosses, exampleTargets };
}

/** A result of K-means with what a test does not look at filled in. */
export function kmeansResult(parts: Partial<KmeansResult> & Pick<KmeansResult, 'labels'>): KmeansResult {
  const judged = () => new Float64Array(parts.labels.length);
  return {
    k: Math.max(...parts.labels) + 1,
    counts: new Int32Array(0),
    centroids: new Float32Array(0),
    inertia: 0,
    iterations: 1,
    path: 'gram',
    gram: 'float64',
    device: 'cpu',
    reseeded: 0,
    exchanged: 0,
    seededFrom: parts.labels.length,
    bytesRead: 0,
    quality: { own: judged(), next: judged(), margin: judged().fill(0.5), silhouette: judged().fill(0.25) },
    tried: [],
    ...parts,
  };
}

/** The engine's file functions write JSON here. */
export function fakeFace(engine: FakeEngine = new FakeEngine()): EngineFace & { engine: FakeEngine } {
  return {
    engine,
    checkDevices: () => undefined,
    load: () => Promise.resolve(engine),
    describeArchitecture: () => engine.info,
    environment: () => ({ libtorch: 'fake' }),
    writeArchive: (path, value) => writeFile(path, JSON.stringify(encode(value))),
    readArchive: readEncoded,
    writeSafetensors: (path, tensors) => writeFile(path, JSON.stringify(encode(tensors))),
    readSafetensors: async (path) => (await readEncoded(path)) as Map<string, ArchiveTensor>,
  };
}

type Encoded = { map: [string | number, Encoded][] } | { shape: number[]; data: number[] } | { plain: unknown };

async function readEncoded(path: string): Promise<ArchiveValue> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new FltacError('IO', `${path} cannot be read: ${messageOf(cause)}`, { cause });
  });
  try {
    return decode(JSON.parse(text) as Encoded);
  } catch (cause) {
    throw new FltacError('FORMAT', `${path} is not JSON: ${messageOf(cause)}`, { cause });
  }
}

function encode(value: ArchiveValue): Encoded {
  if (value instanceof Map)
    return { map: [...value].map(([key, inner]) => [key as string, encode(inner as ArchiveValue)]) };
  if (typeof value === 'object' && value !== null && 'data' in value) {
    return { shape: [...value.shape], data: [...value.data] };
  }
  return { plain: value };
}

function decode(value: Encoded): ArchiveValue {
  if ('map' in value) return new Map(value.map.map(([key, inner]) => [key, decode(inner)]));
  if ('data' in value) return { shape: value.shape, data: Float32Array.from(value.data) };
  return value.plain as ArchiveValue;
}

/** In [-0.5, 0.5), of the stream and a counter. */
function noise(stream: bigint, i: number): number {
  const mixed = BigInt.asUintN(32, (stream ^ BigInt(i + 1)) * 0x9e3779b97f4a7c15n);
  return Number(BigInt.asUintN(32, (mixed ^ (mixed >> 15n)) * 0x85ebca6bn)) / 2 ** 32 - 0.5;
}

function farthestPoints(points: readonly Float32Array[], k: number): Float32Array[] {
  const chosen = [points[0]!];
  while (chosen.length < k) {
    const distances = points.map((point) => Math.min(...chosen.map((centre) => squared(point, centre))));
    chosen.push(points[distances.indexOf(Math.max(...distances))]!);
  }
  return chosen;
}

function nearest(point: Float32Array, centres: readonly Float32Array[]): number {
  const distances = centres.map((centre) => squared(point, centre));
  return distances.indexOf(Math.min(...distances));
}

function meanOf(points: readonly Float32Array[]): Float32Array | undefined {
  if (points.length === 0) return undefined;
  return points[0]!.map((_, i) => points.reduce((sum, point) => sum + point[i]!, 0) / points.length);
}

function squared(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0);
}
