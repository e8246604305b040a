/** The report of `fltac bench train` for people. */
import type { TrainReport, TrainSide } from '../bench/train-report.js';
import { plural } from '../run/log.js';
import { formatTable } from '../run/table.js';
import type { TableStyle } from '../run/table.js';

const HEAD = [
  '',
  'time',
  'least',
  'most',
  'examples/s',
  'tokens/s',
  'utilisation',
  'peak memory',
  'x fltac',
  "x fltac's CPU",
];

export function formatTrainBench(report: TrainReport, style: TableStyle): string {
  const { model, work, machine, sides, absent, agreement } = report;
  const made = model.randomWeights ? ', random weights' : '';
  const size = `${plural(model.numLayers, 'layer')} of ${model.hiddenSize}`;
  const adapters = work.adapters === 1 ? '' : `${work.adapters} adapters of `;
  const peak = machine.gemmFlops === null ? '' : `, ${(machine.gemmFlops / 1e9).toFixed(0)} GFLOP/s`;
  const times = work.repeat === 1 ? 'one run' : `medians of ${work.repeat}`;
  return [
    `${model.id} (${size}${made}), ${work.dtype}, rank ${work.rank}; ` +
      `${plural(work.threads, 'thread')} on ${plural(machine.cores, 'core')}${peak}`,
    `${work.tasks.join(', ')}: ${adapters}${plural(work.steps, 'step')} of ${work.batchSize}, ` +
      `${(work.tokens / (work.steps * work.adapters)).toFixed(0)} real tokens a step; ${times}`,
    '',
    formatTable(
      HEAD,
      sides.map((side) => sideCells(side, work.maxLen)),
      style,
    ),
    ...rateNote(report),
    ...doubtLine(report),
    ...agreement.map(
      ({ steps, largestDifference, tolerance, agrees }) =>
        `losses of ${plural(steps, 'step')} without dropout ${agrees ? 'agree' : 'DO NOT AGREE'}: ` +
        `at most ${largestDifference.toExponential(1)} apart (tolerance ${tolerance})`,
    ),
    ...absent.map(({ name, reason, remedy }) => `${name} is absent: ${reason}\n  ${remedy}`),
  ].join('\n');
}

function titleOf({ name, padding }: Pick<TrainSide, 'name' | 'padding'>, maxLen: number): string {
  return { none: name, longest: `${name}, padded to the longest`, max_len: `${name}, padded to ${maxLen}` }[padding];
}

function sideCells(side: TrainSide, maxLen: number): string[] {
  const { seconds, ratio, cpuRatio } = side;
  return [
    titleOf(side, maxLen),
    ...[seconds.median, seconds.least, seconds.most].map((value) => `${value.toFixed(2)} s`),
    side.examplesPerSecond.toFixed(1),
    side.tokensPerSecond.toFixed(0),
    side.flopUtilisation === null ? '-' : `${(100 * side.flopUtilisation).toFixed(1)} %`,
    side.peakBytes === null ? '-' : `${(side.peakBytes / 2 ** 20).toFixed(0)} MiB`,
    ratio === null ? '1' : ratio.toFixed(2),
    cpuRatio === null ? '1' : cpuRatio.toFixed(2),
  ];
}

/** In bfloat16 more than all of a float32 rate is as it should be. */
function rateNote({ work, sides }: TrainReport): string[] {
  const beyond = work.dtype === 'float32' && sides.some(({ flopUtilisation }) => (flopUtilisation ?? 0) > 1);
  return beyond
    ? ['utilisation above 100 %: the rate of the float32 product was measured lower than the training reached']
    : [];
}

/** Most by least of a side's times, and wall time by CPU time of each thread, that an idle machine stays below. */
const MOST_SPREAD = 1.5;
const MOST_WAITING = 1.5;

/** One line with every reason why the figures cannot be trusted, where there is one. */
function doubtLine(report: TrainReport): string[] {
  const { machine, sides, work } = report;
  const { average, cores } = machine.load;
  const reasons = [
    ...(average > cores ? [`the load was ${average.toFixed(1)} on ${plural(cores, 'core')} as it began`] : []),
    ...sides.flatMap((side) => sideDoubts(side, report).map((doubt) => `${titleOf(side, work.maxLen)}: ${doubt}`)),
  ];
  if (reasons.length === 0) return [];
  return [`WARNING: these figures cannot be trusted, measure on an idle machine: ${reasons.join('; ')}`];
}

function sideDoubts({ seconds, cpuSeconds }: TrainSide, { machine, work }: TrainReport): string[] {
  const spread = seconds.most / seconds.least;
  const threads = Math.min(work.threads, machine.cores);
  // Work on another device needs little CPU time; it has no rate of a CPU's product.
  const waited = machine.gemmFlops !== null && seconds.median > (MOST_WAITING * cpuSeconds) / threads;
  return [
    ...(spread > MOST_SPREAD ? [`its longest run took ${spread.toFixed(1)} times its shortest`] : []),
    ...(waited
      ? [`${seconds.median.toFixed(2)} s with ${cpuSeconds.toFixed(2)} s of CPU time on ${plural(threads, 'thread')}`]
      : []),
  ];
}
