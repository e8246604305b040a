import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compareRuns } from '../../src/compare/compare.js';
import type { PlannedRun } from '../../src/compare/entries.js';
import { csvComparison, formatComparison, markdownComparison } from '../../src/compare/format.js';
import type { RunConfig } from '../../src/config/index.js';
import { fakeConfig, fakeRun, type FakeRun } from '../run/support.js';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'fltac-compare-'));
});
afterEach(() => rm(root, { recursive: true }));

function planned(label: string, seed: number, changes: Partial<RunConfig> = {}): PlannedRun {
  const method = label.split(':')[0] as RunConfig['method'];
  const outputDir = path.join(root, label.replace(':', '+'), `seed_${seed}`);
  return { label, seed, config: fakeConfig(outputDir, { rounds: 2, method, seed, ...changes }) };
}

const RUNS = (): PlannedRun[] =>
  [1, 2].flatMap((seed) => [
    planned('none', seed),
    planned('fltac', seed),
    planned('fedit', seed),
    planned('fedit:full', seed, { feditSteps: 'full' }),
  ]);

/** Loads of the backbone and of the data. */
function counted(run: FakeRun): { loads: () => number[] } {
  const parts = run.context.parts!;
  const counts = [0, 0];
  run.context.parts = {
    ...parts,
    face: {
      ...parts.face,
      load: (...given) => {
        counts[0]! += 1;
        return parts.face.load(...given);
      },
    },
    loadScenario: (...given) => {
      counts[1]! += 1;
      return parts.loadScenario(...given);
    },
  };
  return { loads: () => counts };
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

async function lastMetric({ config }: PlannedRun, task: string): Promise<number> {
  const text = await readFile(path.join(config.outputDir, 'metrics.jsonl'), 'utf8');
  const records = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { phase: string; task: string; metric: number });
  return records.filter((record) => record.phase === 'eval' && record.task === task).at(-1)!.metric;
}

describe('a comparison', () => {
  it('tells mean and sample standard deviation of what the runs recorded last', async () => {
    const runs = RUNS();
    const comparison = await compareRuns(runs, fakeRun().context);
    expect(comparison.rows.map(({ label }) => label)).toEqual(['none', 'fltac', 'fedit', 'fedit:full']);
    for (const row of comparison.rows) {
      for (const { task, mean: centre, sd, values } of row.tasks) {
        const own = runs.filter(({ label }) => label === row.label);
        expect(values).toEqual(await Promise.all(own.map((run) => lastMetric(run, task))));
        expect(centre).toBeCloseTo(mean(values), 12);
        expect(sd).toBeCloseTo(Math.abs(values[0]! - values[1]!) / Math.SQRT2, 12);
      }
      expect(row.average.values).toEqual([0, 1].map((i) => mean(row.tasks.map((task) => task.values[i]!))));
    }
    expect(comparison.majorityFloor.every((floor) => floor !== null && floor >= 0.5)).toBe(true);
    expect(comparison.untuned.map(({ mean: centre }) => centre)).toEqual(
      comparison.rows[0]!.tasks.map((task) => task.mean),
    );
  });

  it('tells steps and bytes of whole runs: FedIT takes fewer steps as published, and sends one adapter a client', async () => {
    const { rows } = await compareRuns(RUNS(), fakeRun().context);
    const [none, fltac, published, full] = rows;
    expect([none!.optimizerSteps, none!.bytesUp, none!.bytesDown]).toEqual([0, 0, 0]);
    expect(published!.optimizerSteps).toBeLessThan(fltac!.optimizerSteps);
    expect(full!.optimizerSteps).toBe(fltac!.optimizerSteps);
    // ten float32 values, five clients, two rounds
    expect([published!.bytesUp, published!.bytesDown]).toEqual([400, 400]);
    // four bytes each of ten values for every adapter and round, which took four steps
    expect(fltac!.bytesUp).toBe(10 * fltac!.optimizerSteps);
    expect(fltac!.clusteringAccuracy).not.toBeNull();
    expect(published!.clusteringAccuracy).toBeNull();
  });

  it('loads the backbone once, and the data once a seed', async () => {
    const run = fakeRun();
    const { loads } = counted(run);
    await compareRuns(RUNS(), run.context);
    expect(loads()).toEqual([1, 2]);
    expect(run.engine.disposed).toBe(true);
  });

  it('makes only what is missing: finished runs stay, and the outcome is the same', async () => {
    const runs = RUNS();
    const first = await compareRuns(runs, fakeRun().context);
    const kept = path.join(runs[1]!.config.outputDir, 'metrics.jsonl');
    const before = (await stat(kept)).mtimeMs;
    await rm(runs[2]!.config.outputDir, { recursive: true });
    const run = fakeRun();
    const again = await compareRuns(runs, run.context);
    expect(run.engine.waves.length).toBeGreaterThan(0);
    expect((await stat(kept)).mtimeMs).toBe(before);
    const timeless = (rows: typeof first.rows) => rows.map((row) => ({ ...row, seconds: 0 }));
    expect(timeless(again.rows)).toEqual(timeless(first.rows));
    expect(run.lines.filter((line) => line.includes('finished already'))).toHaveLength(runs.length - 1);
    const third = fakeRun();
    await compareRuns(runs, third.context);
    expect(third.engine.waves).toEqual([]);
  });

  it('refuses a folder with a run of other settings before it trains, naming what differs', async () => {
    await compareRuns([planned('fltac', 1)], fakeRun().context);
    const run = fakeRun();
    const other = [planned('none', 1), planned('fltac', 1, { lr: 0.5, rounds: 9 })];
    await expect(compareRuns(other, run.context)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(
        /holds a run with rounds 2, not 9; lr 0.02, not 0.5: choose another --output-dir/,
      ) as string,
    });
    expect(run.engine.waves).toEqual([]);
  });

  it.each([{ maxEvalBatches: 1 }, { evalBatchSize: 8 }, { minClients: 2 }, { onClientFailure: 'exclude' }] as const)(
    'does not take a finished run for one of other %j, which a resumed run may change',
    async (changes) => {
      await compareRuns([planned('fltac', 1)], fakeRun().context);
      const run = fakeRun();
      await expect(compareRuns([planned('fltac', 1, changes)], run.context)).rejects.toThrow(
        /holds a run with \w+ \S+, not/,
      );
      expect(run.engine.waves).toEqual([]);
    },
  );

  it('refuses records that are not JSON', async () => {
    const run = planned('fltac', 1);
    await compareRuns([run], fakeRun().context);
    await writeFile(path.join(run.config.outputDir, 'metrics.jsonl'), '{"round":1\n');
    await expect(compareRuns([run], fakeRun().context)).rejects.toMatchObject({ code: 'FORMAT' });
  });

  it('goes on with a run whose last line of metrics was cut off', async () => {
    const run = planned('fltac', 1, { rounds: 3, cohort: 100 });
    const elsewhere = { ...run, config: { ...run.config, outputDir: `${run.config.outputDir}_whole` } };
    const whole = await compareRuns([elsewhere], fakeRun().context);
    const broken = fakeRun();
    const train = broken.engine.train.bind(broken.engine);
    broken.engine.train = (...given) => {
      if (broken.engine.waves.length === 2) broken.controller.abort();
      return train(...given);
    };
    await expect(compareRuns([run], broken.context)).rejects.toMatchObject({ code: 'ABORTED' });
    await appendFile(path.join(run.config.outputDir, 'metrics.jsonl'), '{"round":3,"phase":"loc');
    const { rows } = await compareRuns([run], fakeRun().context);
    expect(rows.map((row) => ({ ...row, seconds: 0 }))).toEqual(whole.rows.map((row) => ({ ...row, seconds: 0 })));
  });

  it('completes the files of a run that was killed after its last round', async () => {
    const run = planned('fltac', 1);
    const { rows } = await compareRuns([run], fakeRun().context);
    const manifest = path.join(run.config.outputDir, 'manifest.json');
    const final = path.join(run.config.outputDir, 'final');
    await Promise.all([rm(manifest), rm(final, { recursive: true })]);
    const again = await compareRuns([run], fakeRun().context);
    expect((await stat(manifest)).isFile() && (await stat(final)).isDirectory()).toBe(true);
    expect(again.rows.map((row) => row.tasks)).toEqual(rows.map((row) => row.tasks));
  });

  it('goes on after an interruption with the rounds that were complete, to the same outcome', async () => {
    const runs = [
      planned('none', 1),
      planned('fltac', 1, { rounds: 3, cohort: 100 }),
      planned('oracle', 1, { rounds: 3 }),
    ];
    const whole = await compareRuns(
      runs.map((run) => ({ ...run, config: { ...run.config, outputDir: `${run.config.outputDir}_whole` } })),
      fakeRun().context,
    );
    const run = fakeRun();
    const train = run.engine.train.bind(run.engine);
    run.engine.train = (...given) => {
      if (run.engine.waves.length === 2) run.controller.abort();
      return train(...given);
    };
    await expect(compareRuns(runs, run.context)).rejects.toMatchObject({
      code: 'ABORTED',
      message: expect.stringMatching(
        /^fltac, seed 1 \(run 2 of 3\): .*\n.*the same command goes on from there/s,
      ) as string,
    });
    const second = fakeRun();
    const { rows } = await compareRuns(runs, second.context);
    expect(second.lines).toContainEqual(expect.stringContaining('fltac, seed 1: goes on with its complete rounds'));
    expect(rows.map((row) => ({ ...row, seconds: 0 }))).toEqual(whole.rows.map((row) => ({ ...row, seconds: 0 })));
  });
});

describe('a printed comparison', () => {
  it('has floors and the untuned backbone above the methods, costs, and the published scores', async () => {
    const comparison = await compareRuns(RUNS(), fakeRun().context);
    const text = formatComparison(comparison, 'plain');
    const lines = text.split('\n');
    expect(lines[0]).toBe('accuracy of bert-base-uncased after 2 rounds, mean ± standard deviation over seeds 1, 2');
    expect(lines[2]).toMatch(/^method +sst2 +mrpc +rte +mean +clustering accuracy$/);
    expect(lines[3]).toMatch(/^majority floor +0\.\d{3}/);
    expect(lines[4]).toMatch(/^untuned backbone +0\.\d{3} ± 0\.\d{3}/);
    expect(lines[6]).toMatch(/^fltac .* 1\.000 ± 0\.000$/);
    expect(text).toMatch(/optimizer steps +bytes up +bytes down/);
    expect(text).toMatch(/published accuracy .*BERT-base/);
    expect(text).toMatch(/^FL-TAC +0\.874 +0\.673 +0\.532$/m);
  });

  it('is Markdown with as many cells in each line of a table', async () => {
    const markdown = markdownComparison(await compareRuns(RUNS(), fakeRun().context));
    for (const table of markdown.split(/\n\n(?=[a-z])/)) {
      const cells = table
        .split('\n')
        .filter((line) => line.startsWith('|'))
        .map((line) => line.split('|').length);
      expect(new Set(cells).size).toBe(1);
    }
  });

  it('is CSV with one line a method and task', async () => {
    const csv = csvComparison(await compareRuns(RUNS(), fakeRun().context));
    const [head, ...lines] = csv.trimEnd().split('\n');
    expect(head).toBe(
      'method,task,seeds,metric,mean,sd,majority_floor,untuned,optimizer_steps,bytes_up,bytes_down,' +
        'clustering_accuracy,factor_error,seconds',
    );
    expect(lines).toHaveLength(4 * 3);
    expect(lines[3]).toMatch(/^fltac,sst2,2,accuracy,[01]/);
  });
});
