import { describe, expect, it } from 'vitest';
import { measureGeometry } from '../../src/federation/geometry.js';
import type { Submission } from '../../src/federation/server.js';
import { FAKE_LAYOUT, FakeEngine } from '../support/fake-engine.js';

const SPEC = { rank: 1, loraAlpha: 16, loraDropout: 0, targetModules: ['query'], numLabels: 2, trainHead: true };
const SPACE = { space: 'parameters', metric: 'euclidean', standardize: false } as const;

/** Adapter of row r is (r, 0, 0, ...), so that the distance of two rows is that of their numbers. */
function setUp(rows: readonly number[], limit: number) {
  const engine = new FakeEngine();
  const bank = engine.createBank(SPEC, 20);
  for (let row = 0; row < 20; row += 1) {
    const values = new Float32Array(FAKE_LAYOUT.size);
    values[0] = row;
    bank.set(row, values);
  }
  const submissions = rows.map((row): Submission => ({ client: row, slot: 0, row, samples: 1 }));
  return { engine, bank, submissions, limit, seed: 42, space: SPACE };
}

describe('the geometry of a round', () => {
  it('holds the squared distance of every pair, row by row of the upper triangle', async () => {
    const geometry = await measureGeometry(setUp([3, 5, 9], 200));
    expect(geometry!.submissions).toEqual([0, 1, 2]);
    expect([...geometry!.squared]).toEqual([4, 36, 16]);
  });

  it('of many submissions measures a sample that keeps to the same adapters from round to round', async () => {
    const all = Array.from({ length: 20 }, (_, row) => row);
    const first = await measureGeometry(setUp(all, 6));
    expect(first!.submissions).toHaveLength(6);
    expect(first!.squared).toHaveLength(15);
    // In the next round the adapter of one sampled row is not sent: the others are measured again.
    const [gone, ...kept] = first!.submissions.map((index) => all[index]!);
    const rest = all.filter((row) => row !== gone);
    const second = await measureGeometry(setUp(rest, 6));
    const rows = second!.submissions.map((index) => rest[index]!);
    for (const row of kept) expect(rows).toContain(row);
  });

  it.each([
    [[4], 200],
    [[4, 5], 0],
    [[4, 5], 1],
  ])('is absent where fewer than two are measured (rows %j, limit %d)', async (rows, limit) => {
    expect(await measureGeometry(setUp(rows, limit))).toBeUndefined();
  });
});
