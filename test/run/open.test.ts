import { describe, expect, it } from 'vitest';
import type { BackboneInfo } from '../../src/engine/types.js';
import { chooseCohort } from '../../src/run/open.js';

const BASE: BackboneInfo = {
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
  bytes: 0,
  unused: [],
};

describe('the size of a cohort', () => {
  const bytesPerToken = BASE.numLayers * BASE.hiddenSize * 20 * 4;
  const most = (tokens: number, batchSize: number) => Math.floor(2 ** 29 / (tokens * batchSize * bytesPerToken));

  it('is what the user says', () => {
    expect(chooseCohort({ cohort: 3, batchSize: 64, maxLen: 128 }, BASE)).toBe(3);
  });

  it('counts max_len tokens a text, and the patches of an image', () => {
    const config = { cohort: 'auto', batchSize: 64, maxLen: 512 } as const;
    expect(chooseCohort(config, { ...BASE, input: 'tokens' })).toBe(most(512, 64));
    expect(most(512, 64)).toBe(1);
    expect(chooseCohort(config, BASE)).toBe(most(197, 64));
    expect(most(197, 64)).toBe(2);
  });

  it('is 1 at least and 8 at most', () => {
    const config = { cohort: 'auto', maxLen: 128 } as const;
    expect(chooseCohort({ ...config, batchSize: 1 }, BASE)).toBe(8);
    expect(chooseCohort({ ...config, batchSize: 100_000 }, BASE)).toBe(1);
  });
});
