/** The table at the end of a run. Every accuracy stands beside its majority floor; a loss has none. */
import Table from 'cli-table3';
import type { MetricName } from '../data/scenario.js';
import { METRICS } from '../federation/metrics.js';
import type { TaskOutcome, TrainOutcome } from './outcome.js';

/** Whether lines are drawn (on a terminal) or columns are only aligned (in a file or pipe). */
export type TableStyle = 'drawn' | 'plain';

const PLAIN = {
  chars: {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  },
  style: { 'padding-left': 0, 'padding-right': 0 },
};

/** Lays text cells out; numbers in the columns after the first are aligned right. No colours, so NO_COLOR holds. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[], style: TableStyle): string {
  const base = style === 'plain' ? PLAIN : { chars: {}, style: {} };
  const table = new Table({
    chars: base.chars,
    style: { ...base.style, head: [], border: [] },
    head: [...head],
    colAligns: head.map((_, i) => (i === 0 ? 'left' : 'right')),
  });
  table.push(...rows.map((row) => [...row]));
  const lines = table.toString().split('\n');
  return lines.map((line) => line.trimEnd()).join('\n');
}

/** A table of scores by task, with a line below it where lower ones are better. */
export function formatScores<T extends { task: string }>(
  metric: MetricName,
  tasks: readonly T[],
  columns: readonly (readonly [head: string, value: (task: T) => number | null | undefined])[],
  style: TableStyle,
): string {
  const rows = tasks.map((task) => [task.task, ...columns.map(([, value]) => score(value(task)))]);
  const table = formatTable(['task', ...columns.map(([head]) => head)], rows, style);
  return METRICS[metric].lowerIsBetter ? `${table}\n${METRICS[metric].title}: lower is better` : table;
}

/** The column of majority floors, for metrics that have one. */
export function floorColumn(metric: MetricName): (readonly ['majority floor', typeof floorOf])[] {
  return metric === 'accuracy' ? [['majority floor', floorOf]] : [];
}

function floorOf(task: { majorityFloor: number | null }): number | null {
  return task.majorityFloor;
}

/**
 * A finished run for people: one row a task (its metric, the majority floor of an accuracy, the untuned backbone or what
 * an initial adapter made of it and, where one was run, the baseline), then what the rounds cost and how well the
 * clustering found the tasks.
 */
export function formatOutcome(outcome: TrainOutcome, style: TableStyle): string {
  const { baseline, metric } = outcome;
  const { title } = METRICS[metric];
  const scores = formatScores(
    metric,
    outcome.tasks,
    [
      [`${outcome.method} ${title}`, (task) => task.metric],
      ...floorColumn(metric),
      [outcome.initialAdapter === null ? 'untuned backbone' : 'before training', (task) => task.untuned],
      ...(baseline === undefined
        ? []
        : [[`${baseline.method} ${title}`, (task: TaskOutcome) => task.baseline] as const]),
    ],
    style,
  );
  const costs = [
    ['', outcome.method, ...(baseline === undefined ? [] : [baseline.method])],
    [
      'clustering accuracy, last round',
      score(outcome.clusteringAccuracy),
      ...cell(baseline, (b) => score(b.clusteringAccuracy)),
    ],
    ['optimizer steps a round', String(outcome.optimizerSteps), ...cell(baseline, (b) => String(b.optimizerSteps))],
    [
      'bytes up per client and round, mean',
      bytes(outcome.upload.meanBytes),
      ...cell(baseline, (b) => bytes(b.upload.meanBytes)),
    ],
    [
      '  of the client that sends most',
      bytes(outcome.upload.mostBytes),
      ...cell(baseline, (b) => bytes(b.upload.mostBytes)),
    ],
  ];
  for (const [what, key] of TOTALS) {
    costs.push([what, bytes(outcome.totals[key]), ...cell(baseline, (b) => bytes(b.totals[key]))]);
  }
  const [costHead, ...costRows] = costs;
  return `${scores}\n\n${formatTable(costHead!, costRows, style)}\n`;
}

const TOTALS = [
  ['optimizer steps, all rounds', 'optimizerSteps'],
  ['bytes up, all rounds', 'bytesUp'],
  ['bytes down, all rounds', 'bytesDown'],
] as const;

function cell<T>(value: T | undefined, show: (value: T) => string): string[] {
  return value === undefined ? [] : [show(value)];
}

/** Three digits after the point, as the published tables; a dash where there is none. */
export function score(value: number | null | undefined): string {
  return value === null || value === undefined ? '-' : value.toFixed(3);
}

/** A whole number of bytes with thousands apart. */
export function bytes(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ',');
}
