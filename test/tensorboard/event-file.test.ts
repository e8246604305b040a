import { describe, expect, it } from 'vitest';
import { scalarRecord, versionRecord } from '../../src/tensorboard/event-file.js';

describe('event files', () => {
  it('begin with the version that TensorBoard expects', () => {
    const bytes = versionRecord(1.5);
    expect(bytes.readBigUInt64LE(0)).toBe(24n);
    expect(bytes.subarray(12, 36).toString('latin1')).toBe('\x09\x00\x00\x00\x00\x00\x00\xf8\x3f\x1a\x0dbrain.Event:2');
  });

  it('hold a number byte for byte as the writer of TensorBoard does', () => {
    const bytes = scalarRecord({ tag: 'a', step: 3, value: 0.5, wallTime: 1.5 });
    // By RecordWriter and Event of tensorboard 2.21.
    const reference = '1700000000000000e7cef81e09000000000000f83f10032a0a0a080a0161150000003fde5768cd';
    expect(bytes.toString('hex')).toBe(reference);
  });
});
