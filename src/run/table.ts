/** The table at the end of a run. Every score stands beside its majority floor. */
import Table from 'cli-table3';
import type { TrainOutcome } from './outcome.js';

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

/**
 * A finished run for people: one row a task (its metric, the majority floor, the untuned backbone and, where one was
 * run, the baseline), then what the rounds cost and how well the clustering found the tasks.
 */
export function formatOutcome(outcome: TrainOutcome, style: TableStyle): string {
  const { baseline } = outcome;
  const head = ['task', `${outcome.method} accuracy`, 'majority floor', 'untuned backbone'];
  const rows = outcome.tasks.map((task) => [
    task.task,
    score(task.metric),
    score(task.majorityFloor),
    score(task.untuned),
    ...(baseline === undefined ? [] : [score(task.baseline)]),
  ]);
  if (baseline !== undefined) head.push(`${baseline.method} accuracy`);
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
  const [costHead, ...costRows] = costs;
  return `${formatTable(head, rows, style)}\n\n${formatTable(costHead!, costRows, style)}\n`;
}

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
