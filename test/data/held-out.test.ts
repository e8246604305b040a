import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { splitHeldOut } from '../../src/data/held-out.js';
import { sha256OfInt64 } from '../support/numpy-fixtures.js';
import { describeWithShared, sharedPath } from '../support/shared.js';

interface Split {
  n: number;
  seed: number;
  error?: string;
  train_rows: number;
  test_rows: number;
  train_sha256: string;
  test_sha256: string;
  train_first_20: number[];
  test_first_20: number[];
}

describe('splitHeldOut', () => {
  it('holds out the share, rounded up, and gives every row to one part', () => {
    const { train, heldOut } = splitHeldOut(21, 0.05, 42)!;
    expect([train.length, heldOut.length]).toEqual([19, 2]);
    expect([...train, ...heldOut].sort((a, b) => a - b)).toEqual(Array.from({ length: 21 }, (_, row) => row));
  });

  it('gives nothing where a part would be empty', () => {
    expect([splitHeldOut(0, 0.05, 1), splitHeldOut(1, 0.05, 1)]).toEqual([undefined, undefined]);
    expect(splitHeldOut(2, 0.05, 1)?.train).toHaveLength(1);
  });

  it.each([0, 1, NaN])('refuses the share %d', (share) => {
    expect(() => splitHeldOut(10, share, 1)).toThrow('must lie between 0 and 1');
  });
});

describeWithShared('splitHeldOut against datasets.train_test_split', () => {
  const { splits } = JSON.parse(readFileSync(sharedPath('golden/hf_split.json'), 'utf8')) as {
    splits: Record<string, Split>;
  };
  it.each(Object.entries(splits))('gives every row of %s (rows/seed)', (_, split) => {
    const found = splitHeldOut(split.n, 0.05, split.seed);
    if (split.error !== undefined) {
      expect(found).toBeUndefined();
      return;
    }
    const { train, heldOut } = found!;
    expect([train.length, heldOut.length]).toEqual([split.train_rows, split.test_rows]);
    expect([...train.slice(0, 20)]).toEqual(split.train_first_20);
    expect([...heldOut.slice(0, 20)]).toEqual(split.test_first_20);
    expect([sha256OfInt64(train), sha256OfInt64(heldOut)]).toEqual([split.train_sha256, split.test_sha256]);
  });
});
