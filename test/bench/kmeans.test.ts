import { describe, expect, it } from 'vitest';
import { assertFits, benchKmeans } from '../../src/bench/kmeans.js';

describe('the K-means benchmark', () => {
  it('refuses a matrix that does not fit into memory with its copy', () => {
    expect(() => assertFits({ rows: 10, columns: 100 }, 8000)).not.toThrow();
    expect(() => assertFits({ rows: 10, columns: 101 }, 8000)).toThrow(/--rows 10 and --columns 101 need .* of memory/);
  });

  it('does so before it makes the matrix', async () => {
    const shape = { rows: 1e8, columns: 1e8, k: 2, nInit: 1, repeat: 1, seed: 1, threads: 1 };
    await expect(benchKmeans(shape, new AbortController().signal)).rejects.toMatchObject({ code: 'USAGE' });
  });
});
