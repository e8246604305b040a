/** How training went: local losses, how well clusters met the tasks, and accuracy for what was sent. */
import { METRICS } from '../../federation/metrics.js';
import { score } from '../../run/table.js';
import { MEGABYTE, allTasks, groupBy, meanOf, meanScores, scoredAssignments, trafficUpTo } from '../facts.js';
import { colourOf, dashOf, symbolOf } from '../palette.js';
import { Plot, draw } from '../plot.js';
import type { Run } from '../runs.js';
import { WIDTH, roundAxis, type Drawn } from './figure.js';

/** Mean local loss by round, one panel a task. */
export function lossCurves(runs: readonly Run[]): Drawn {
  const id = 'losses';
  const title = 'Local training loss by round and task';
  const tasks = allTasks(runs);
  const points = runs.flatMap((run, i) =>
    [...groupBy(run.local, ({ round, task }) => `${round} ${task}`).values()].flatMap((records) => {
      const { round, task } = records[0]!;
      const losses = records.map(({ loss }) => loss);
      if (!tasks.includes(task)) return [];
      const fx = tasks.indexOf(task) % 2;
      const fy = Math.floor(tasks.indexOf(task) / 2);
      return [
        {
          i,
          run: run.name,
          round,
          task,
          fx,
          fy,
          mean: meanOf(losses),
          low: Math.min(...losses),
          high: Math.max(...losses),
        },
      ];
    }),
  );
  if (points.length === 0) return { id, title, reason: 'no client has trained in a complete round' };
  const single = runs.length === 1;
  const at = { x: 'round', fx: 'fx', fy: 'fy' } as const;
  const svg = draw({
    alt: `${title}, one panel a task`,
    width: WIDTH,
    height: 50 + 150 * Math.ceil(tasks.length / 2),
    marginTop: 32,
    marginBottom: 40,
    marginLeft: 44,
    legend: runs.map((run, i) => ({ label: run.name, colour: colourOf(i), symbol: symbolOf(i) })),
    fx: { axis: null, padding: 0.12 },
    fy: { axis: null, padding: 0.2 },
    x: roundAxis(points),
    y: { label: null, grid: true, ticks: 4, zero: true },
    marks: [
      ...runs.flatMap((_, i) => {
        const own = points.filter((point) => point.i === i);
        return [
          ...(single
            ? [Plot.areaY(own, { ...at, y1: 'low', y2: 'high', z: 'task', fill: colourOf(i), fillOpacity: 0.18 })]
            : []),
          Plot.line(own, {
            ...at,
            y: 'mean',
            z: 'task',
            stroke: colourOf(i),
            strokeWidth: 2,
            strokeDasharray: dashOf(i),
          }),
          Plot.dot(own, {
            ...at,
            y: 'mean',
            r: own.length > 40 * tasks.length ? 1.5 : 3,
            symbol: symbolOf(i),
            fill: colourOf(i),
            title: ({ run, round, task, mean, low, high }: (typeof points)[number]) =>
              `${run}, ${task}, round ${round}: mean ${score(mean)}, clients ${score(low)} to ${score(high)}`,
          }),
        ];
      }),
      Plot.text(
        tasks.map((task, i) => ({ task, fx: i % 2, fy: Math.floor(i / 2) })),
        { text: 'task', fx: 'fx', fy: 'fy', frameAnchor: 'top-left', dy: -14, fontWeight: 600 },
      ),
    ],
  });
  const band = single ? ' The band is from the least to the largest client.' : '';
  return { id, title, svg, caption: `Mean over clients of the mean over their local steps.${band}` };
}

/** Clustering accuracy and adjusted Rand index by round. */
export function clusteringCurves(runs: readonly Run[]): Drawn {
  const id = 'clustering';
  const title = 'How well clusters meet the tasks, by round';
  const series = runs.flatMap((run, i) =>
    scoredAssignments(run).flatMap(({ round, clustering_accuracy: accuracy, ari }) => [
      { i, run: run.name, round, measure: 'clustering accuracy', value: accuracy! },
      ...(typeof ari === 'number' ? [{ i, run: run.name, round, measure: 'adjusted Rand index', value: ari }] : []),
    ]),
  );
  if (series.length === 0) {
    return { id, title, reason: `no complete round of ${runs.map((run) => run.name).join(', ')} clusters adapters` };
  }
  const measures = [...new Set(series.map(({ measure }) => measure))];
  const svg = draw({
    alt: `${title}, one panel a measure`,
    width: WIDTH,
    height: 240,
    marginTop: 32,
    marginBottom: 40,
    marginLeft: 44,
    legend: runs.flatMap((run, i) =>
      series.some((point) => point.i === i) ? [{ label: run.name, colour: colourOf(i), symbol: symbolOf(i) }] : [],
    ),
    fx: { axis: null, padding: 0.12, domain: measures },
    x: roundAxis(series),
    y: { label: null, grid: true, ticks: 5, domain: [Math.min(0, ...series.map(({ value }) => value)), 1.02] },
    marks: [
      ...runs.flatMap((_, i) => {
        const own = series.filter((point) => point.i === i);
        const at = { x: 'round', y: 'value', fx: 'measure' } as const;
        return [
          Plot.line(own, { ...at, z: 'measure', stroke: colourOf(i), strokeWidth: 2, strokeDasharray: dashOf(i) }),
          Plot.dot(own, {
            ...at,
            r: own.length > 80 ? 1.5 : 3.5,
            symbol: symbolOf(i),
            fill: colourOf(i),
            title: ({ run, measure, round, value }: (typeof series)[number]) =>
              `${run}, round ${round}, ${measure}: ${score(value)}`,
          }),
        ];
      }),
      Plot.text(measures, {
        text: (d: string) => d,
        fx: (d: string) => d,
        frameAnchor: 'top-left',
        dy: -14,
        fontWeight: 600,
      }),
    ],
  });
  return {
    id,
    title,
    svg,
    caption:
      'Clustering accuracy: the share of submissions in the cluster of their task, under the best one-to-one match. ' +
      'The adjusted Rand index is 0 for a random grouping. The server never sees tasks; they are used for this score only.',
  };
}

/** The mean score for the bytes that clients sent. */
export function costCurves(runs: readonly Run[]): Drawn {
  const id = 'cost';
  const { title: metric, lowerIsBetter } = METRICS[runs[0]!.metric];
  const title = `Mean ${metric} by bytes sent`;
  const points = runs.flatMap((run, i) =>
    meanScores(run).flatMap(({ round, mean }) => {
      const traffic = trafficUpTo(run, round);
      return traffic === undefined ? [] : [{ i, run: run.name, round, mean, up: traffic.up / MEGABYTE }];
    }),
  );
  if (!points.some(({ round }) => round > 0)) {
    return {
      id,
      title,
      reason: 'no evaluated round is complete yet, or the runs did not record the size of their adapters',
    };
  }
  const svg = draw({
    alt: `${title}: ${runs.map((run, i) => lastPoint(points, i, run.name)).join('; ')}`,
    width: WIDTH,
    height: 300,
    marginTop: 20,
    marginBottom: 42,
    marginLeft: 48,
    legend: runs.map((run, i) => ({ label: run.name, colour: colourOf(i), symbol: symbolOf(i) })),
    x: { label: 'MB that all clients sent up to then', grid: true, zero: true },
    y: { label: null, grid: true },
    marks: runs.flatMap((_, i) => {
      const own = points.filter((point) => point.i === i);
      return [
        Plot.line(own, { x: 'up', y: 'mean', stroke: colourOf(i), strokeWidth: 2, strokeDasharray: dashOf(i) }),
        Plot.dot(own, {
          x: 'up',
          y: 'mean',
          r: own.length > 60 ? 2 : 4,
          symbol: symbolOf(i),
          fill: colourOf(i),
          title: ({ run, round, mean, up }: (typeof points)[number]) =>
            `${run}, round ${round}: ${score(mean)} after ${up.toFixed(2)} MB`,
        }),
      ];
    }),
  });
  return {
    id,
    title,
    svg,
    caption: `The mean ${metric} over tasks; one point an evaluated round.`,
    table: {
      head: [
        'run',
        `mean ${metric}`,
        `${lowerIsBetter ? 'loss taken off' : 'gained on'} the untuned backbone`,
        'MB up',
        'MB down',
        'change a MB up',
      ],
      rows: runs.flatMap((run) => costRow(run)),
    },
  };
}

function lastPoint(points: readonly { i: number; mean: number; up: number }[], i: number, name: string): string {
  const last = points.findLast((point) => point.i === i);
  return last === undefined ? `${name} nothing yet` : `${name} ${score(last.mean)} after ${last.up.toFixed(2)} MB`;
}

function costRow(run: Run): string[][] {
  const means = meanScores(run);
  const first = means.find(({ round }) => round === 0);
  const last = means.at(-1);
  if (first === undefined || last === undefined) return [];
  // Of a run in progress, rounds after the last evaluation have bought nothing that is known yet.
  const traffic = trafficUpTo(run, last.round);
  if (traffic === undefined) return [];
  const gain = METRICS[run.metric].lowerIsBetter ? first.mean - last.mean : last.mean - first.mean;
  const [up, down] = [traffic.up / MEGABYTE, traffic.down / MEGABYTE];
  return [
    [
      run.name,
      score(last.mean),
      score(gain),
      up.toFixed(2),
      down.toFixed(2),
      up > 0 ? (gain / up).toPrecision(2) : '-',
    ],
  ];
}
