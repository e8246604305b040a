/** Structures in Thrift's compact protocol, as Parquet's page headers are. */

/** Fields by number: whole numbers, truth values and structures; of others only that they are there. */
export type Struct = ReadonlyMap<number, number | boolean | Struct | undefined>;

const TYPE = { stop: 0, yes: 1, no: 2, byte: 3, i64: 6, double: 7, binary: 8, list: 9, set: 10, struct: 12 } as const;

/** Page headers nest structures three deep. */
const MAX_DEPTH = 16;

/** The structure at `at` and where it ends. @throws Error where the bytes are none */
export function readStruct(bytes: Uint8Array, at: number): { struct: Struct; end: number } {
  const reader = new Reader(bytes, at);
  return { struct: reader.struct(0), end: reader.at };
}

class Reader {
  constructor(
    private readonly bytes: Uint8Array,
    public at: number,
  ) {}

  struct(depth: number): Struct {
    if (depth > MAX_DEPTH) throw new Error(`a header with structures more than ${MAX_DEPTH} deep`);
    const fields = new Map<number, number | boolean | Struct | undefined>();
    let field = 0;
    for (;;) {
      const head = this.byte();
      const type = head & 15;
      if (type === TYPE.stop) return fields;
      field = head >> 4 === 0 ? this.integer() : field + (head >> 4);
      fields.set(field, this.value(type, depth));
    }
  }

  private value(type: number, depth: number): number | boolean | Struct | undefined {
    if (type === TYPE.yes || type === TYPE.no) return type === TYPE.yes;
    if (type === TYPE.byte) return this.byte();
    if (type > TYPE.byte && type <= TYPE.i64) return this.integer();
    if (type === TYPE.struct) return this.struct(depth + 1);
    if (type === TYPE.double) this.skip(8);
    else if (type === TYPE.binary) this.skip(this.unsigned());
    else if (type === TYPE.list || type === TYPE.set) this.list(depth);
    else throw new Error(`a header with a field of type ${type}`);
    return undefined;
  }

  private list(depth: number): void {
    const head = this.byte();
    const count = head >> 4 === 15 ? this.unsigned() : head >> 4;
    const type = head & 15;
    // Elements take a byte at least, truth values too, which end the loop at the end of the bytes.
    for (let i = 0; i < count; i++) this.value(type === TYPE.yes || type === TYPE.no ? TYPE.byte : type, depth + 1);
  }

  private byte(): number {
    const byte = this.bytes[this.at++];
    if (byte === undefined) throw new Error('a header that does not end');
    return byte;
  }

  private skip(bytes: number): void {
    if (bytes > this.bytes.length - this.at) throw new Error('a header that does not end');
    this.at += bytes;
  }

  /** Exact up to 2^53, which no size of a page comes near. */
  private unsigned(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      if (scale > 2 ** 63) throw new Error('a header with a number of more than 10 bytes');
    }
  }

  private integer(): number {
    const value = this.unsigned();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}
