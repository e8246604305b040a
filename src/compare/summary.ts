/** Means and standard deviations over seeds, by entry and task. */
import { scenarioRow } from '../config/scenarios.js';
import type { MetricName } from '../data/scenario.js';
import type { PlannedRun } from './entries.js';
import { publishedScores, type PublishedScores } from './published.js';
import type { ReadRun } from '../run/read-run.js';

/** Mean and sample standard deviation (n - 1) of some values; null where there is one value only. */
export interface Spread {
  readonly mean: number;
  readonly sd: number | null;
  readonly values: readonly number[];
}

export interface CompareTask extends Spread {
  readonly task: string;
}

/** One method, over all seeds. */
export interface CompareRow {
  readonly label: string;
  /** in listed order */
  readonly tasks: readonly CompareTask[];
  /** of each seed's mean over the tasks */
  readonly average: Spread;
  /** last round; null where the method does not cluster by task */
  readonly clusteringAccuracy: Spread | null;
  /** relative error of averaging factors in the last round; null where nothing was averaged */
  readonly factorError: Spread | null;
  /** of all clients and rounds, mean over seeds */
  readonly optimizerSteps: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** wall-clock time of the rounds, mean over seeds */
  readonly seconds: number;
}

export interface Comparison {
  readonly scenario: string;
  readonly model: string;
  readonly metric: MetricName;
  readonly seeds: readonly number[];
  readonly rounds: number;
  readonly tasks: readonly string[];
  /** shares of the most frequent labels, means over seeds; null for language models */
  readonly majorityFloor: readonly (number | null)[];
  /** the backbone with the initial adapter, before any training */
  readonly untuned: readonly Spread[];
  readonly rows: readonly CompareRow[];
  /** the paper's scores on these tasks, where it has any */
  readonly published: PublishedScores | null;
}

type Result = ReadRun & { readonly run: PlannedRun };

/** @param results of at least one run, seeds in the order they are to be told in */
export function summarise(results: readonly Result[]): Comparison {
  const { config } = results[0]!.run;
  const labels = [...new Set(results.map(({ run }) => run.label))];
  const seeds = [...new Set(results.map(({ run }) => run.seed))];
  const firstOfSeed = seeds.map((seed) => results.find(({ run }) => run.seed === seed)!);
  return {
    scenario: config.scenario,
    model: config.modelName,
    metric: scenarioRow(config).output === 'classes' ? 'accuracy' : 'loss',
    seeds,
    rounds: config.rounds,
    tasks: config.tasks,
    majorityFloor: config.tasks.map((_, i) => {
      const floors = firstOfSeed.map(({ tasks }) => tasks[i]!.majorityFloor);
      return floors.some((floor) => floor === null) ? null : mean(floors as number[]);
    }),
    untuned: config.tasks.map((_, i) => spread(firstOfSeed.map(({ tasks }) => tasks[i]!.untuned))),
    rows: labels.map((label) =>
      row(
        label,
        results.filter(({ run }) => run.label === label),
      ),
    ),
    published: publishedScores(config.scenario, config.tasks),
  };
}

function row(label: string, own: readonly Result[]): CompareRow {
  const tasks = own[0]!.tasks.map(({ task }, i) => ({ task, ...spread(own.map((run) => run.tasks[i]!.metric)) }));
  const cost = (key: keyof ReadRun['costs']) => mean(own.map(({ costs }) => costs[key]));
  return {
    label,
    tasks,
    average: spread(own.map((run) => mean(run.tasks.map(({ metric }) => metric)))),
    clusteringAccuracy: spreadOfKnown(own.map((run) => run.clusteringAccuracy)),
    factorError: spreadOfKnown(own.map((run) => run.factorError)),
    optimizerSteps: cost('optimizerSteps'),
    bytesUp: cost('bytesUp'),
    bytesDown: cost('bytesDown'),
    seconds: cost('seconds'),
  };
}

/** Mean and sample standard deviation. */
export function spread(values: readonly number[]): Spread {
  const centre = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
  return { mean: centre, sd: values.length < 2 ? null : Math.sqrt(squares / (values.length - 1)), values };
}

function spreadOfKnown(values: readonly (number | null)[]): Spread | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : spread(known);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
