/** Numbers of half precision, by arithmetic that is independent of the engine's. */
import { writeFileSync } from 'node:fs';
import type { ArchiveTensor } from '../../src/engine/index.js';

/** Bits after the point, and the exponent of the least normal number. */
const FORMATS = { bfloat16: { bits: 7, least: -126 }, float16: { bits: 10, least: -14 } } as const;
export type Half = keyof typeof FORMATS;

const exponentOf = (x: number, least: number) => Math.max(Math.floor(Math.log2(Math.abs(x))), least);

/** The nearest number of the format, the even one of two. */
export function rounded(x: number, half: Half): number {
  if (x === 0) return x;
  const { bits, least } = FORMATS[half];
  const unit = 2 ** (exponentOf(x, least) - bits);
  const n = Math.round(x / unit);
  return (Math.abs(n - x / unit) === 0.5 && n % 2 !== 0 ? n - 1 : n) * unit;
}

/** The 16 bits of a number that the format holds exactly. */
function bitsOf(x: number, half: Half): number {
  const { bits, least } = FORMATS[half];
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  if (x === 0) return sign;
  const exponent = exponentOf(x, least);
  const fraction = Math.abs(x) / 2 ** (exponent - bits);
  // Below 2^bits the number is subnormal, and its exponent field is 0.
  return sign + (fraction < 2 ** bits ? fraction : (exponent - least) * 2 ** bits + fraction);
}

/** Writes a safetensors file whose tensors are all of one half-precision type; values must be rounded. */
export function writeHalfSafetensors(path: string, tensors: ReadonlyMap<string, ArchiveTensor>, half: Half): void {
  let offset = 0;
  const parts: Buffer[] = [];
  const entries = [...tensors].map(([name, { shape, data }]) => {
    parts.push(Buffer.from(Uint16Array.from(data, (x) => bitsOf(x, half)).buffer));
    const begin = offset;
    offset += 2 * data.length;
    return [name, { dtype: half === 'bfloat16' ? 'BF16' : 'F16', shape, data_offsets: [begin, offset] }];
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(path, Buffer.concat([length, header, ...parts]));
}
