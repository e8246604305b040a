/** The report of `fltac params` for people. */
import type { ParamsReport } from '../models/params.js';
import { grouped } from '../models/counting.js';
import { formatTable } from '../run/table.js';
import type { TableStyle } from '../run/table.js';

export function formatParams(report: ParamsReport, style: TableStyle): string {
  return [...configured(report, style), ...published(report)].join('\n');
}

function configured(report: ParamsReport, style: TableStyle): string[] {
  const { scenario, model, family, backbone, tasks, adapter, methods, aggregation, uploads } = report;
  const size = (bytes: number | null) => (bytes === null ? '-' : grouped(bytes));
  const rows = methods.map((row) => [row.method, grouped(row.trainable), size(row.uploadMost), size(row.uploadMean)]);
  return [
    `This configuration: ${scenario} on ${model} (${family}, ${grouped(backbone)} values)`,
    `Tasks: ${tasks.join(', ')}`,
    `One adapter: ${adapter.parts} = ${grouped(adapter.values)} values`,
    '',
    formatTable(['method', 'trained', 'bytes up, most', 'bytes up, mean'], rows, style),
    '',
    ...derivations(methods.map(({ method, trainable, derivation }) => [method, trainable, derivation])),
    'Bytes up are of a client in a round. Most: it holds all tasks; mean: of this partition.',
    '',
    `By upload_format, with aggregation ${aggregation}:`,
    formatTable(
      ['upload_format', 'one adapter', 'fltac, most', 'fltac, mean'],
      uploads.map(({ format, adapter: one, most, mean }) => [format, size(one), size(most), size(mean)]),
      style,
    ),
    '',
  ];
}

function published({ published: table }: ParamsReport): string[] {
  if (table === null) return [];
  const { backbone, counts } = table;
  return [
    `Published (arXiv 2404.15384), computed from the shapes of ${backbone}:`,
    ...derivations(counts.map(({ method, values, derivation }) => [method, values, derivation])),
    ...counts.flatMap(({ method, note }) => (note === undefined ? [] : [`  ${method}: ${note}.`])),
  ];
}

/** One line a method, e.g. `  FL-TAC   192,010 = 5 tasks x (…)`, aligned. */
function derivations(rows: readonly (readonly [method: string, values: number, derivation: string])[]): string[] {
  const methods = Math.max(...rows.map(([method]) => method.length));
  const numbers = Math.max(...rows.map(([, values]) => grouped(values).length));
  return rows.map(
    ([method, values, derivation]) =>
      `  ${method.padEnd(methods)}  ${grouped(values).padStart(numbers)} = ${derivation}`,
  );
}
