/** Made-up data for `fltac bench kmeans`, in a file that every side reads, and the judgement of what they find there. */
import { openSync, closeSync, readSync, writeSync } from 'node:fs';
import { Generator } from '../numpy/index.js';
import type { KmeansBenchShape } from './kmeans-report.js';

const BYTES = Float32Array.BYTES_PER_ELEMENT;
const WRITE_BYTES = 2 ** 24;

/** Normal values, drawn once; each row takes a window of them that begins at a drawn place. A prime. */
const NOISE_VALUES = 4_194_301;

/** What all rows have in common, as adapters that start from one initial state do; in units of the noise. */
const COMMON = 2;

/**
 * Squared distance of two groups' centres by that of two rows of one group (2 x columns). With few long rows .2 leaves no
 * doubt which group a row is of; with short points groups overlap, and Lloyd has to work.
 */
const SEPARATION = 0.2;

/**
 * Writes problems of `k` groups, float32 [batch, rows, columns]. A row is a common part + its group's centre + noise of
 * standard deviation 1; rows are dealt to groups at random.
 */
export function writeGroups(path: string, { batch, rows, columns, k }: KmeansBenchShape, seed: number): void {
  const random = new Generator(seed);
  const normal = Float32Array.from({ length: NOISE_VALUES }, () => random.standardNormal());
  const place = () => Math.floor(random.random() * NOISE_VALUES);
  const scale = Math.sqrt(SEPARATION);
  const file = openSync(path, 'w');
  const block = new Float32Array(Math.max(1, Math.floor(WRITE_BYTES / BYTES / columns)) * columns);
  try {
    for (let problem = 0; problem < batch; problem++) {
      const common = place();
      const centres = Int32Array.from({ length: k }, place);
      for (let first = 0; first < rows; first += block.length / columns) {
        const count = Math.min(rows - first, block.length / columns);
        for (let row = 0; row < count; row++) {
          const centre = centres[Math.floor(random.random() * k)]!;
          const out = block.subarray(row * columns, (row + 1) * columns);
          addWindow(out, normal, place(), 1, true);
          addWindow(out, normal, centre, scale, false);
          addWindow(out, normal, common, COMMON, false);
        }
        writeAll(file, block.subarray(0, count * columns));
      }
    }
  } finally {
    closeSync(file);
  }
}

/** out += scale x normal[from, from + out.length), around the end of `normal`; with `fresh`, out is overwritten. */
function addWindow(out: Float32Array, normal: Float32Array, from: number, scale: number, fresh: boolean): void {
  let at = from;
  for (let i = 0; i < out.length; i++) {
    out[i] = scale * normal[at]! + (fresh ? 0 : out[i]!);
    at = at + 1 === normal.length ? 0 : at + 1;
  }
}

function writeAll(file: number, values: Float32Array): void {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
}

/** Reads values of a raw float32 file, from value `first` on, until `out` is full. */
export function readValues(file: number, first: number, out: Float32Array): void {
  const bytes = new Uint8Array(out.buffer, out.byteOffset, out.byteLength);
  for (let done = 0; done < bytes.length;) {
    // One read moves 2 GiB at most.
    const got = readSync(file, bytes, done, Math.min(bytes.length - done, 2 ** 30), first * BYTES + done);
    if (got === 0) throw new Error('the file of the benchmark ends too early');
    done += got;
  }
}

/**
 * Sum over the problems in `path` of squared distances to the means of the clusters that `labels` [batch, rows] name, in
 * float64.
 * @throws Error for a label that is not in 0..k-1
 */
export function inertiaOf(path: string, { batch, rows, columns, k }: KmeansBenchShape, labels: Int32Array): number {
  if (labels.length !== batch * rows || labels.some((label) => label < 0 || label >= k)) {
    throw new Error(`expected ${batch * rows} labels from 0 to ${k - 1}`);
  }
  const file = openSync(path, 'r');
  const row = new Float32Array(columns);
  let inertia = 0;
  try {
    for (let problem = 0; problem < batch; problem++) {
      const means = new Float64Array(k * columns);
      const counts = new Float64Array(k);
      const each = (visit: (label: number) => void) => {
        for (let i = problem * rows; i < (problem + 1) * rows; i++) {
          readValues(file, i * columns, row);
          visit(labels[i]!);
        }
      };
      each((label) => {
        counts[label]! += 1;
        for (let j = 0; j < columns; j++) means[label * columns + j]! += row[j]!;
      });
      for (let i = 0; i < means.length; i++) means[i]! /= Math.max(1, counts[Math.floor(i / columns)]!);
      each((label) => {
        let sum = 0;
        for (let j = 0; j < columns; j++) sum += (row[j]! - means[label * columns + j]!) ** 2;
        inertia += sum;
      });
    }
  } finally {
    closeSync(file);
  }
  return inertia;
}
