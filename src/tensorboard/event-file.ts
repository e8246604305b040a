/**
 * TensorBoard's event files: TFRecords (length, masked CRC-32C, data, masked CRC-32C) of `Event` messages.
 *
 * Format: tensorflow/core/lib/io/record_writer.h and tensorflow/core/util/event.proto. protobufjs encodes the messages,
 * crc-32 computes the checksums.
 */
import crc32c from 'crc-32/crc32c.js';
import protobuf from 'protobufjs/light.js';

/** One number to plot. */
export interface Scalar {
  /** name of the plot; what stands before the first `/` groups plots */
  tag: string;
  step: number;
  value: number;
  /** seconds since 1970 */
  wallTime: number;
}

const EVENT = protobuf.Root.fromJSON({
  nested: {
    Value: { fields: { tag: { type: 'string', id: 1 }, simpleValue: { type: 'float', id: 2 } } },
    Summary: { fields: { value: { rule: 'repeated', type: 'Value', id: 1 } } },
    Event: {
      fields: {
        wallTime: { type: 'double', id: 1 },
        step: { type: 'int64', id: 2 },
        fileVersion: { type: 'string', id: 3 },
        summary: { type: 'Summary', id: 5 },
      },
    },
  },
}).lookupType('Event');

const MASK_DELTA = 0xa282ead8;

/** The first record of every event file. */
export function versionRecord(wallTime: number): Buffer {
  return record(EVENT.encode({ wallTime, fileVersion: 'brain.Event:2' }).finish());
}

/** A record with one plotted number. */
export function scalarRecord({ tag, step, value, wallTime }: Scalar): Buffer {
  return record(EVENT.encode({ wallTime, step, summary: { value: [{ tag, simpleValue: value }] } }).finish());
}

function record(data: Uint8Array): Buffer {
  const bytes = Buffer.alloc(8 + 4 + data.length + 4);
  bytes.writeBigUInt64LE(BigInt(data.length), 0);
  bytes.writeUInt32LE(maskedCrc(bytes.subarray(0, 8)), 8);
  bytes.set(data, 12);
  bytes.writeUInt32LE(maskedCrc(data), 12 + data.length);
  return bytes;
}

/** CRC-32C rotated right by 15 bits plus a constant, so that a checksum of checksums is none. */
function maskedCrc(data: Uint8Array): number {
  const crc = crc32c.buf(data) >>> 0;
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}
