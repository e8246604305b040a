import { readFileSync } from 'node:fs';

export interface Tensor {
  shape: number[];
  data: Float32Array | Float64Array | BigInt64Array | Uint8Array;
}

const arrays = { F32: Float32Array, F64: Float64Array, I64: BigInt64Array, U8: Uint8Array } as const;

/** A plain reader for reference files, independent of the native one that is tested. */
export function readReference(path: string): Map<string, Tensor> {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: keyof typeof arrays; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Tensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [begin, end] = entry.data_offsets;
    const copy = Uint8Array.from(bytes.subarray(8 + length + begin, 8 + length + end));
    tensors.set(name, { shape: entry.shape, data: new arrays[entry.dtype](copy.buffer) });
  }
  return tensors;
}

/** A uint8 tensor. */
export function bytes(tensors: Map<string, Tensor>, name: string): { shape: number[]; data: Uint8Array } {
  const tensor = tensors.get(name);
  if (!(tensor?.data instanceof Uint8Array)) throw new Error(`the reference file has no bytes ${name}`);
  return { shape: tensor.shape, data: tensor.data };
}

/** A tensor's values as numbers. */
export function values(tensors: Map<string, Tensor>, name: string): Float64Array {
  const tensor = tensors.get(name);
  if (!tensor) throw new Error(`the reference file has no ${name}`);
  return Float64Array.from(tensor.data as ArrayLike<number | bigint>, Number);
}
