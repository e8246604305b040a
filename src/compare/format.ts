/** A comparison as text, Markdown or CSV. Every accuracy stands under its majority floor and the untuned backbone. */
import { METRICS } from '../federation/metrics.js';
import { bytes, formatTable, score, type TableStyle } from '../run/table.js';
import type { CompareRow, Comparison, Spread } from './summary.js';

/** Head and cells of one table. */
interface Cells {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The tables for people: scores by task, what they cost, and the published ones where there are any. */
export function formatComparison(comparison: Comparison, style: TableStyle): string {
  return tablesOf(comparison)
    .map(({ title, head, rows }) => `${title}\n\n${formatTable(head, rows, style)}\n`)
    .join('\n');
}

export function markdownComparison(comparison: Comparison): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return tablesOf(comparison)
    .map(({ title, head, rows }) => {
      const rule = head.map((_, i) => (i === 0 ? '---' : '---:'));
      return `${title}\n\n${[head, rule, ...rows].map(line).join('\n')}\n`;
    })
    .join('\n');
}

const CSV_HEAD = [
  ...['method', 'task', 'seeds', 'metric', 'mean', 'sd', 'majority_floor', 'untuned', 'optimizer_steps'],
  ...['bytes_up', 'bytes_down', 'clustering_accuracy', 'factor_error', 'seconds'],
];

/** One line a method and task; costs are of the whole method. */
export function csvComparison({ rows, seeds, metric, majorityFloor, untuned }: Comparison): string {
  const lines = rows.flatMap((row) =>
    row.tasks.map(({ task, mean, sd }, i) => [
      ...[row.label, task, seeds.length, metric, mean, sd, majorityFloor[i], untuned[i]!.mean],
      ...[row.optimizerSteps, row.bytesUp, row.bytesDown],
      ...[row.clusteringAccuracy?.mean, row.factorError?.mean, row.seconds],
    ]),
  );
  return [CSV_HEAD, ...lines].map((line) => `${line.map(csvCell).join(',')}\n`).join('');
}

function csvCell(value: string | number | null | undefined): string {
  const text = String(value ?? '');
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function tablesOf(comparison: Comparison): Cells[] {
  return [scores(comparison), costs(comparison), ...published(comparison)];
}

function scores({ metric, model, rounds, seeds, tasks, majorityFloor, untuned, rows }: Comparison): Cells {
  const { title, lowerIsBetter } = METRICS[metric];
  const over = seeds.length === 1 ? `seed ${seeds[0]!}` : `mean ± standard deviation over seeds ${seeds.join(', ')}`;
  const floors = majorityFloor.some((floor) => floor !== null)
    ? [['majority floor', ...majorityFloor.map(score), averageOf(majorityFloor), '-']]
    : [];
  return {
    title: `${title}${lowerIsBetter ? ' (lower is better)' : ''} of ${model} after ${rounds} rounds, ${over}`,
    head: ['method', ...tasks, 'mean', 'clustering accuracy'],
    rows: [
      ...floors,
      ['untuned backbone', ...untuned.map(spreadText), averageOf(untuned.map(({ mean }) => mean)), '-'],
      ...rows.map((row) => [
        row.label,
        ...row.tasks.map(spreadText),
        spreadText(row.average),
        row.clusteringAccuracy === null ? '-' : spreadText(row.clusteringAccuracy),
      ]),
    ],
  };
}

function averageOf(values: readonly (number | null)[]): string {
  const known = values.filter((value) => value !== null);
  return known.length < values.length ? '-' : score(known.reduce((sum, value) => sum + value, 0) / known.length);
}

function costs({ rows }: Comparison): Cells {
  return {
    title: 'cost of a whole run: all clients and rounds, mean over seeds',
    head: ['method', 'optimizer steps', 'bytes up', 'bytes down', 'factor error', 'seconds'],
    rows: rows.map((row: CompareRow) => [
      row.label,
      bytes(row.optimizerSteps),
      bytes(row.bytesUp),
      bytes(row.bytesDown),
      score(row.factorError?.mean),
      row.seconds.toFixed(0),
    ]),
  };
}

function published({ published: table, tasks }: Comparison): Cells[] {
  if (table === null) return [];
  return [
    {
      title: `published accuracy (arXiv 2404.15384) with ${table.model} on the whole data sets`,
      head: ['method', ...tasks],
      rows: table.rows.map(({ method, scores: values }) => [method, ...values.map(score)]),
    },
  ];
}

function spreadText({ mean, sd }: Spread): string {
  return sd === null ? score(mean) : `${score(mean)} ± ${score(sd)}`;
}
