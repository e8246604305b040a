import { describe, expect, it } from 'vitest';
import type { BackboneInfo } from '../../src/engine/types.js';
import { chooseCohort, machineMemory } from '../../src/run/cohort.js';

const INFO: BackboneInfo = {
  family: 'vit',
  input: 'images',
  output: 'classes',
  hiddenSize: 64,
  numLayers: 3,
  numHeads: 4,
  vocabSize: 0,
  maxPositions: 197,
  tensors: [],
  parameters: 0,
  device: 'cpu',
  dtype: 'float32',
  dtypeReason: 'asked for',
  placement: [],
  bytes: 0,
  unused: [],
};
const TEXT: BackboneInfo = { ...INFO, input: 'tokens' };
const CONFIG = { cohort: 'auto', batchSize: 64, maxLen: 512, gradientCheckpointing: false } as const;
const GIB = 2 ** 30;
/** 20 vectors of 64 float32 values in each of 3 layers. */
const TOKEN = 3 * 64 * 20 * 4;

const sizeOf = (config: Parameters<typeof chooseCohort>[0], info: BackboneInfo, total: number, free = total) =>
  chooseCohort(config, info, { total, free }).size;

describe('the size of a cohort', () => {
  it('is what the user says', () => {
    const asked = chooseCohort({ ...CONFIG, cohort: 3 }, INFO, { total: 1, free: 1 });
    expect(asked).toEqual({ size: 3, reason: 'it was asked for' });
  });

  it('is by default what has room in an eighth of the memory, at max_len tokens a text or the patches of an image', () => {
    expect(sizeOf(CONFIG, TEXT, 8 * GIB)).toBe(Math.floor(GIB / (512 * 64 * TOKEN)));
    expect(sizeOf(CONFIG, TEXT, 8 * GIB)).toBe(2);
    expect(sizeOf(CONFIG, INFO, 8 * GIB)).toBe(Math.floor(GIB / (197 * 64 * TOKEN)));
    expect(sizeOf(CONFIG, INFO, 8 * GIB)).toBe(5);
  });

  it('is 1 at least, and 8 at most on a CPU', () => {
    expect(sizeOf(CONFIG, TEXT, GIB / 100)).toBe(1);
    expect(sizeOf(CONFIG, TEXT, 1000 * GIB)).toBe(8);
  });

  it('does not depend on what happens to be free, unless that is too little, which the reason says', () => {
    const plenty = chooseCohort(CONFIG, TEXT, { total: 24 * GIB, free: 24 * GIB });
    expect(chooseCohort(CONFIG, TEXT, { total: 24 * GIB, free: 5 * GIB })).toEqual(plenty);
    const tight = chooseCohort(CONFIG, TEXT, { total: 24 * GIB, free: 1 * GIB });
    expect(tight.size).toBe(2);
    expect(tight.size).toBeLessThan(plenty.size);
    expect(tight.reason).toMatch(/only 1\.0 GiB of memory are free/);
  });

  it('tells of little memory in MiB', () => {
    const { reason } = chooseCohort({ ...CONFIG, batchSize: 1 }, TEXT, { total: GIB, free: GIB });
    expect(reason).toMatch(/take up to [1-9]\d* MiB, an eighth of the memory is 128 MiB,/);
  });

  it('grows with checkpointing, which keeps little of each layer', () => {
    const kept = (2 * 3 + 20) / (20 * 3);
    expect(sizeOf({ ...CONFIG, gradientCheckpointing: true }, TEXT, 8 * GIB)).toBe(Math.floor(2.14 / kept));
  });

  it('is counted on a CUDA device by what the weights left free there, up to 64', () => {
    // Twice the vectors of the CPU: attention there is made of tensor operations.
    const device = { ...TEXT, freeBytes: 20 * GIB };
    expect(sizeOf(CONFIG, device, GIB / 100)).toBe(Math.floor((10 * GIB) / (512 * 64 * 2 * TOKEN)));
    expect(sizeOf(CONFIG, { ...TEXT, freeBytes: 1000 * GIB }, GIB)).toBe(64);
  });
});

describe('the memory of this machine', () => {
  it('is some of it free, and no more than there is', () => {
    const { total, free } = machineMemory();
    expect(free).toBeGreaterThan(0);
    expect(free).toBeLessThanOrEqual(total);
  });
});
