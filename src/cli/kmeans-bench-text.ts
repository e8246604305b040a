/** The report of `fltac bench kmeans` for people. */
import type { KmeansBenchReport, KmeansBenchResult, KmeansBenchShapeResult } from '../bench/kmeans-report.js';
import { shapeText } from '../bench/kmeans-shapes.js';
import { plural } from '../run/log.js';
import { formatTable } from '../run/table.js';
import type { TableStyle } from '../run/table.js';

/** Below these, calls and caches are measured, and neither memory nor products: bounds by their rates say nothing. */
const LEAST_BYTES = 1e6;
const LEAST_MILLISECONDS = 1;

export function formatKmeansBench(report: KmeansBenchReport, style: TableStyle): string {
  const { machine, settings, sides, shapes, partial } = report;
  const { rates } = machine;
  return [
    `${machine.cpu}, ${plural(machine.threads, 'thread')} on ${plural(machine.cores, 'core')}${machine.gpu === null ? '' : `, ${machine.gpu}`}; ` +
      `copies ${giga(rates.copyBytesPerSecond)} GB/s, reads ${giga(rates.readBytesPerSecond)} GB/s, ` +
      `products ${giga(rates.gemm32)} GFLOP/s in float32, ${giga(rates.gemm64)} in float64`,
    ...sides.map((side) =>
      side.state === 'absent'
        ? `${side.name}: absent, ${side.reason}`
        : `${side.name}: ${side.version}; ${side.procedure}`,
    ),
    `Medians of ${settings.repeat}, seed ${settings.seed}, tol ${settings.tol}. times: how often as long as fltac takes. ` +
      'passes: time, in readings of the data. memory: beyond what the process held before the data, the data included.',
    ...shapes.flatMap((shape) => ['', ...shapeLines(shape, report, style)]),
    ...(partial === undefined ? [] : ['', `Stopped; not measured: ${partial.unmeasured.map(shapeText).join('; ')}.`]),
    '',
  ].join('\n');
}

const HEAD = [
  'side',
  'ms',
  'least',
  'most',
  'times',
  'inertia',
  'to fltac',
  'iterations',
  'passes',
  'GB/s',
  'memory MB',
];

function shapeLines(result: KmeansBenchShapeResult, { machine }: KmeansBenchReport, style: TableStyle): string[] {
  const { shape, dataBytes, gramBoundSeconds, results } = result;
  const { path = '', gram = null } = results[0] ?? {};
  const lines = [
    `${shapeText(shape)}: ${megabytes(dataBytes)} MB, path ${path}${gram === null ? '' : ` in ${gram}`}`,
    formatTable(HEAD, results.map(cells), style),
  ];
  const own = results[0];
  if (own === undefined || dataBytes < LEAST_BYTES || own.milliseconds.least < LEAST_MILLISECONDS) return lines;
  if (own.bytesPerSecond !== null) {
    const share = (100 * own.bytesPerSecond) / machine.rates.copyBytesPerSecond;
    lines.push(`fltac reads at ${giga(own.bytesPerSecond)} GB/s, ${share.toFixed(0)} % of the rate of a copy.`);
  }
  if (gramBoundSeconds !== null) {
    const times = own.milliseconds.median / 1000 / gramBoundSeconds;
    lines.push(
      `One reading and the Gram product in float64 at the rates above: ${(1000 * gramBoundSeconds).toFixed(1)} ms; ` +
        `fltac takes ${times.toFixed(2)} times that.`,
    );
  }
  return lines;
}

function cells(result: KmeansBenchResult): string[] {
  const { side, milliseconds, ratio, inertia, inertiaRatio, iterations, passes, bytesPerSecond } = result;
  return [
    side,
    milliseconds.median.toFixed(1),
    milliseconds.least.toFixed(1),
    milliseconds.most.toFixed(1),
    ratio.toFixed(2),
    inertia.toPrecision(8),
    inertiaRatio.toFixed(6),
    iterations === null ? '-' : String(iterations),
    passes.toFixed(1),
    bytesPerSecond === null ? '-' : giga(bytesPerSecond),
    ((result.peakBytes - result.baseBytes) / 1e6).toFixed(0),
  ];
}

/** With three digits below 10 MB. */
function megabytes(bytes: number): string {
  return bytes < 1e7 ? String(Number((bytes / 1e6).toPrecision(3))) : (bytes / 1e6).toFixed(0);
}

function giga(value: number): string {
  return (value / 1e9).toFixed(1);
}
