import { describe, expect, it } from 'vitest';
import type { AdapterSpec } from '../../src/engine/types.js';
import { FltacError } from '../../src/errors.js';
import type { Engine } from '../../src/federation/engine.js';
import { inTurn, studyRank } from '../../src/study/rank.js';
import { rankFigure, rankText } from '../../src/study/rank-figure.js';
import { fakeConfig, fakeRun } from '../run/support.js';

const options = { ranks: [1, 4], seeds: [1, 2], steps: 5 };
const study = () => studyRank(fakeConfig('unused'), options, fakeRun().context);

describe('the study of ranks', () => {
  it('gives a score of every seed, rank and sharing, the shared adapter having the values of one', async () => {
    const { points, tasks } = await study();
    expect(points.map(({ seed, rank, sharing }) => `${seed} ${rank} ${sharing}`)).toEqual(
      [1, 2].flatMap((seed) =>
        [1, 4].flatMap((rank) => ['shared', 'per task'].map((name) => `${seed} ${rank} ${name}`)),
      ),
    );
    for (const { sharing, values, scores } of points) {
      expect(values).toBe(sharing === 'shared' ? 10 : 10 * tasks.length);
      expect(scores).toHaveLength(tasks.length);
    }
  });

  it('holds the scaling, trains both sharings on the same rows, and each task for the steps asked for', async () => {
    const run = fakeRun();
    const ranks: number[] = [];
    const scalings: number[] = [];
    const create = run.engine.createBank.bind(run.engine);
    run.engine.createBank = (spec, rows) => {
      ranks.push(spec.rank);
      scalings.push(spec.loraAlpha / spec.rank);
      return create(spec, rows);
    };
    const train = run.engine.train.bind(run.engine);
    const steps: number[][] = [];
    run.engine.train = (bank, jobs, settings) => {
      steps.push(jobs.map(({ batches }) => batches.length - 1));
      return train(bank, jobs, settings);
    };
    await studyRank(fakeConfig('unused', { loraRank: 2, loraAlpha: 6 }), options, run.context);
    expect(ranks).toEqual([1, 4, 1, 4]);
    expect(scalings).toEqual([3, 3, 3, 3]);
    expect(steps[0]).toEqual([15, 5, 5, 5]);
  });

  it('trains nothing where a rank cannot be, or the method has no LoRA', async () => {
    const run = fakeRun();
    const asked: number[] = [];
    const parts = run.context.parts!;
    const load: typeof parts.face.load = async (...given) => {
      const layout = ({ rank }: AdapterSpec) => {
        asked.push(rank);
        throw new FltacError('USAGE', 'the rank is too large');
      };
      return Object.create(await parts.face.load(...given), { layout: { value: layout } }) as Engine;
    };
    run.context.parts = { ...parts, face: { ...parts.face, load } };
    await expect(studyRank(fakeConfig('unused'), options, run.context)).rejects.toThrow(/the rank is too large/);
    expect(asked).toEqual([4]);
    await expect(studyRank(fakeConfig('unused', { method: 'full' }), options, run.context)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/method full trains whole models/) as string,
    });
    expect(run.engine.waves).toEqual([]);
  });

  it('is the same twice', async () => {
    expect(await study()).toEqual(await study());
  });

  it('is told as a table beside floor and untuned backbone, and as a picture', async () => {
    const found = await study();
    expect(rankText(found, 'plain')).toMatch(
      /shared +1 +10 +\d\.\d{3} +\d\.\d{3}\n.*untuned backbone .*majority floor 0\.500/s,
    );
    expect(rankFigure(found)).toMatch(/^<svg aria-label="Mean accuracy by rank: shared rank 1 \d/);
  });
});

it('batches of tasks are taken in turn, whole, with their tokens and labels', () => {
  const task = (token: number) => ({
    examples: {
      ids: Int32Array.of(token, token, token + 1, token + 2, token + 2),
      offsets: Int32Array.of(0, 2, 3, 5),
      typeIds: Uint8Array.of(0, 1, 0, 0, 1),
      labels: Int32Array.of(0, 1, 2),
    },
    batches: Int32Array.of(0, 2, 3),
  });
  const { examples, batches } = inTurn([task(10), task(20)]);
  expect([...batches]).toEqual([0, 2, 4, 5, 6]);
  expect([...examples.ids]).toEqual([10, 10, 11, 20, 20, 21, 12, 12, 22, 22]);
  expect([...examples.offsets]).toEqual([0, 2, 3, 5, 6, 8, 10]);
  expect([...examples.labels]).toEqual([0, 1, 0, 1, 2, 2]);
  expect([...examples.typeIds!]).toEqual([0, 1, 0, 0, 1, 0, 0, 1, 0, 1]);
});
