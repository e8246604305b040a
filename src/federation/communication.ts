/**
 * What goes over the line. A client sends how much its adapter changed since it received it, tensor by tensor, in the
 * upload format; what rounding took away is added to what it sends next (error feedback: Seide et al., 2014). The server
 * adds the change to what it had sent, and goes on with that. It sends float32 back.
 */
import { FltacError } from '../errors.js';
import type { AdapterLayout } from '../engine/types.js';
import { rangesOf, type Aggregation, type TensorRange } from './aggregation.js';
import type { Bank } from './engine.js';
import type { Method } from './methods.js';
import type { Plan } from './plan.js';
import type { Submission } from './server.js';

export interface UploadFormat {
  /** one line for people */
  readonly summary: string;
  /** of one tensor of `values` values */
  bytes(values: number): number;
  /** what arrives of a tensor's values, in place; absent: all of it */
  readonly roundTrip?: (values: Float32Array) => void;
}

export type UploadFormatName = 'float32' | 'bfloat16' | 'int8';

export const UPLOAD_FORMATS: Readonly<Record<UploadFormatName, UploadFormat>> = {
  float32: { summary: 'four bytes a value', bytes: (values) => 4 * values },
  bfloat16: { summary: 'two bytes a value', bytes: (values) => 2 * values, roundTrip: toBfloat16 },
  int8: {
    summary: 'a byte a value, and a float32 scale a tensor: its largest value over 127',
    bytes: (values) => values + 4,
    roundTrip: toInt8,
  },
};

/** Bytes that one adapter takes on its way up: of its tensors those that the aggregation shares. */
export function adapterBytes(
  layout: AdapterLayout,
  format: UploadFormatName,
  { shares }: Pick<Aggregation, 'shares'>,
): number {
  const of = UPLOAD_FORMATS[format];
  return rangesOf(layout, shares).reduce((sum, { begin, end }) => sum + of.bytes(end - begin), 0);
}

/** What one client sent and received in a round. */
export interface ClientTraffic {
  readonly client: number;
  readonly adapters: number;
  /** bytes to the server */
  readonly up: number;
  /** bytes from the server */
  readonly down: number;
}

/** The line between a federation's clients and its server. */
export class Line {
  /** bytes of one adapter */
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly #format: UploadFormat;
  readonly #size: number;
  readonly #sent: readonly TensorRange[];
  /** by bank row: what the client received at the round's start */
  readonly #received = new Map<number, Float32Array>();
  /** by bank row: what rounding took away so far */
  readonly #residuals = new Map<number, Float32Array>();

  constructor(layout: AdapterLayout, format: UploadFormatName, aggregation: Aggregation) {
    this.#format = UPLOAD_FORMATS[format];
    this.#size = layout.size;
    this.#sent = rangesOf(layout, aggregation.shares);
    this.bytesUp = adapterBytes(layout, format, aggregation);
    this.bytesDown = adapterBytes(layout, 'float32', aggregation);
  }

  /** Whether less arrives than was sent. */
  get lossy(): boolean {
    return this.#format.roundTrip !== undefined;
  }

  /** Keeps what the clients hold in these rows, to tell the changes by. */
  begin(bank: Bank, rows: readonly number[]): void {
    if (!this.lossy) return;
    this.#received.clear();
    for (const row of rows) this.#received.set(row, bank.get(row));
  }

  /** Puts what arrives of each submission in its row; tensors that are not sent stay as they are. */
  send(bank: Bank, submissions: readonly Submission[]): void {
    const { roundTrip } = this.#format;
    if (roundTrip === undefined) return;
    for (const { row } of submissions) {
      const received = this.#received.get(row)!;
      const residual = this.#residuals.get(row) ?? new Float32Array(this.#size);
      const values = bank.get(row);
      for (const { begin, end } of this.#sent) {
        const change = residual.subarray(begin, end);
        for (let i = begin; i < end; i += 1) residual[i]! += values[i]! - received[i]!;
        const arrived = change.slice();
        roundTrip(arrived);
        for (let i = begin; i < end; i += 1) {
          values[i] = received[i]! + arrived[i - begin]!;
          residual[i]! -= arrived[i - begin]!;
        }
      }
      bank.set(row, values);
      this.#residuals.set(row, residual);
    }
    this.#received.clear();
  }

  /** Bytes of each client whose submissions arrived, ascending. @param answered whether the server sent means back */
  traffic(submissions: readonly Submission[], answered: boolean): ClientTraffic[] {
    const counts = new Map<number, number>();
    for (const { client } of submissions) counts.set(client, (counts.get(client) ?? 0) + 1);
    return [...counts]
      .sort(([a], [b]) => a - b)
      .map(([client, adapters]) => ({
        client,
        adapters,
        up: adapters * this.bytesUp,
        down: answered ? adapters * this.bytesDown : 0,
      }));
  }

  /** A copy of what is still to be sent, a vector of layout.size values for each of `rows` bank rows; empty where nothing is. */
  residuals(rows: number): Float32Array[] {
    if (!this.lossy) return [];
    return Array.from({ length: rows }, (_, row) => this.#residuals.get(row)?.slice() ?? new Float32Array(this.#size));
  }

  /** @throws FltacError SHAPE for residuals of another federation */
  restore(residuals: readonly Float32Array[], rows: number): void {
    const expected = this.lossy ? rows : 0;
    if (residuals.length !== expected || residuals.some((residual) => residual.length !== this.#size)) {
      throw new FltacError(
        'SHAPE',
        `a saved state with ${residuals.length} upload residuals (of ${residuals[0]?.length ?? 0} values) is not one of ` +
          `this run, which has ${expected} of ${this.#size} values`,
      );
    }
    this.#residuals.clear();
    residuals.forEach((residual, row) => this.#residuals.set(row, residual.slice()));
  }
}

/** Bytes that clients send in a round: adapters x bytes of one in the upload format. */
export interface Upload {
  /** values of one adapter */
  readonly adapterValues: number;
  readonly bytesPerAdapter: number;
  /** mean and most over clients, for one that takes part */
  readonly meanBytes: number;
  readonly mostBytes: number;
  readonly totalBytes: number;
}

/** What the clients of a plan send, each adapter taking `bytesPerAdapter` bytes; nothing where the server groups nothing. */
export function uploadOf(
  plan: Plan,
  { grouping }: Pick<Method, 'grouping'>,
  { adapterValues, bytesPerAdapter }: Pick<Upload, 'adapterValues' | 'bytesPerAdapter'>,
): Upload {
  const counts = new Array<number>(plan.nClients).fill(0);
  if (grouping !== 'none') for (const adapter of plan.adapters) counts[adapter.client]! += 1;
  const total = counts.reduce((sum, count) => sum + count, 0);
  return {
    adapterValues,
    bytesPerAdapter,
    meanBytes: (total * bytesPerAdapter) / counts.length,
    mostBytes: Math.max(...counts) * bytesPerAdapter,
    totalBytes: total * bytesPerAdapter,
  };
}

/** To the nearest bfloat16, ties to even. */
function toBfloat16(values: Float32Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  bits.forEach((word, i) => (bits[i] = (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000));
}

/** To the nearest of 255 equal steps from minus to plus the largest magnitude. */
function toInt8(values: Float32Array): void {
  const scale = Math.fround(values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127);
  if (scale === 0) return void values.fill(0);
  values.forEach((value, i) => (values[i] = Math.max(-127, Math.min(127, Math.round(value / scale))) * scale));
}
