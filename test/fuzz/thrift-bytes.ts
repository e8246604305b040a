/** Where the numbers of a structure in Thrift's compact protocol stand, so that each can be made another. */

/** One variable-length number: bytes `start` up to `end`. */
export interface Place {
  start: number;
  end: number;
  /** zig-zag, as sizes and counts are; a plain one is the length of a list or of bytes */
  signed: boolean;
}

/** The numbers of the structure at `at`, and where it ends. */
export function numbersOf(bytes: Uint8Array, at: number): { places: Place[]; end: number } {
  const places: Place[] = [];
  let next = at;
  const byte = (): number => bytes[next++] ?? 0;
  const number = (signed: boolean): number => {
    const start = next;
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const part = byte();
      value += (part & 0x7f) * scale;
      if (part < 0x80) break;
    }
    places.push({ start, end: next, signed });
    return value;
  };
  const bytesOf = (length: number): void => {
    next += length;
  };
  const value = (type: number): void => {
    if (type === 3) next += 1;
    else if (type >= 4 && type <= 6) number(true);
    else if (type === 7) next += 8;
    else if (type === 8) bytesOf(number(false));
    else if (type === 9 || type === 10) list();
    else if (type === 12) struct();
  };
  const list = (): void => {
    const head = byte();
    const count = head >> 4 === 15 ? number(false) : head >> 4;
    for (let i = 0; i < count; i++) value((head & 15) <= 2 ? 3 : head & 15);
  };
  const struct = (): void => {
    for (let head = byte(); (head & 15) !== 0 && next < bytes.length; head = byte()) {
      if (head >> 4 === 0) number(true);
      value(head & 15);
    }
  };
  struct();
  return { places, end: next };
}

/** A number as the protocol writes it; filled up to `width` bytes where one is given. */
export function written(value: number, signed: boolean, width?: number): Buffer {
  let rest = BigInt(Math.trunc(value));
  if (signed) rest = rest < 0n ? -rest * 2n - 1n : rest * 2n;
  const bytes: number[] = [];
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  if (width === undefined) return Buffer.from(bytes);
  while (bytes.length < width) {
    bytes[bytes.length - 1]! |= 128;
    bytes.push(0);
  }
  bytes.length = width;
  bytes[width - 1]! &= 127;
  return Buffer.from(bytes);
}

/** The number at a place. */
export function numberAt(bytes: Uint8Array, { start, end, signed }: Place): number {
  let value = 0;
  for (let i = start; i < end; i++) value += (bytes[i]! & 0x7f) * 128 ** (i - start);
  if (!signed) return value;
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}
