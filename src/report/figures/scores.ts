/** Scores: at the end, round by round, and as a radar (published Fig. 2b). */
import { METRICS } from '../../federation/metrics.js';
import { score } from '../../run/table.js';
import { allTasks, finalScore, majorityFloor, references, scoresOf, untunedScore, type Reference } from '../facts.js';
import { colourOf, dashOf, symbolOf } from '../palette.js';
import { Plot, draw, type LegendEntry } from '../plot.js';
import type { Run } from '../runs.js';
import { WIDTH, roundAxis, type Drawn } from './figure.js';

function metricTitle(runs: readonly Run[]): string {
  return METRICS[runs[0]!.metric].title;
}

function runLegend(runs: readonly Run[]): LegendEntry[] {
  return runs.map((run, i) => ({ label: run.name, colour: colourOf(i), symbol: symbolOf(i) }));
}

interface ReferenceMark {
  readonly name: string;
  readonly task: string;
  readonly value: number;
}

function marksOf(of: readonly Reference[], tasks: readonly string[]): ReferenceMark[] {
  return of.flatMap((reference) =>
    tasks.flatMap((task) => {
      const value = reference.of(task);
      return value === undefined ? [] : [{ name: reference.name, task, value }];
    }),
  );
}

/** A number on a picture's scale of accuracies, which is all of 0 to 1 only where it has to be. */
function domainOf(values: readonly number[], isAccuracy: boolean): [number, number] {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = 0.08 * (high - low || 0.1);
  return isAccuracy ? [Math.max(0, low - room), Math.min(1, high + room)] : [low - room, high + room];
}

/** The last score of each task and run beside the majority floor and the untuned backbone. */
export function finalScores(runs: readonly Run[]): Drawn {
  const id = 'scores';
  const tasks = allTasks(runs);
  const title = `Final ${metricTitle(runs)} by task`;
  const points = runs.flatMap((run, i) =>
    tasks.flatMap((task) => {
      const value = finalScore(run, task);
      return value === undefined ? [] : [{ task, value, run: run.name, i }];
    }),
  );
  if (points.length === 0) return { id, title, reason: 'no round with an evaluation is complete yet' };
  const floors = marksOf(references('majority floor', runs, majorityFloor), tasks);
  const untuned = marksOf(references('untuned backbone', runs, untunedScore), tasks);
  const all = [...points, ...floors, ...untuned].map(({ value }) => value);
  const marginLeft = 24 + 7 * Math.max(...tasks.map((task) => task.length));
  const svg = draw({
    alt: `${title}: ${points.map(({ task, run, value }) => `${task} ${run} ${score(value)}`).join(', ')}`,
    width: WIDTH,
    height: 60 + 46 * tasks.length,
    marginLeft,
    marginTop: 12,
    marginBottom: 40,
    legend: [
      ...runLegend(runs),
      { label: 'untuned backbone', colour: 'var(--muted)', symbol: 'circle', hollow: true },
      ...(floors.length > 0 ? [{ label: 'majority floor', colour: 'var(--muted)', dash: 'none' }] : []),
    ],
    x: { label: metricTitle(runs), domain: domainOf(all, runs[0]!.metric === 'accuracy'), grid: true, ticks: 6 },
    y: { label: null, domain: tasks, type: 'band', padding: 0.3 },
    marks: [
      Plot.tickX(floors, {
        x: 'value',
        y: 'task',
        stroke: 'var(--muted)',
        strokeWidth: 3,
        title: ({ name, task, value }: ReferenceMark) => `${name}, ${task}: ${score(value)}`,
      }),
      Plot.dot(untuned, {
        x: 'value',
        y: 'task',
        r: 6,
        stroke: 'var(--muted)',
        strokeWidth: 1.8,
        title: ({ name, task, value }: ReferenceMark) => `${name}, ${task}: ${score(value)}`,
      }),
      ...runs.map((_, i) =>
        Plot.dot(
          points.filter((point) => point.i === i),
          {
            x: 'value',
            y: 'task',
            r: 6,
            symbol: symbolOf(i),
            fill: colourOf(i),
            dy: (i - (runs.length - 1) / 2) * Math.min(9, 30 / runs.length),
            title: ({ task, run, value }: (typeof points)[number]) => `${run}, ${task}: ${score(value)}`,
          },
        ),
      ),
    ],
  });
  const better = METRICS[runs[0]!.metric].lowerIsBetter ? ' Lower is better.' : '';
  return {
    id,
    title,
    svg,
    caption:
      'The adapters that clients hold after the last evaluated round. A score means something only beside the share of the ' +
      `most frequent label (the floor) and the untuned backbone.${better}`,
  };
}

/** The score of each task over the rounds. */
export function scoreCurves(runs: readonly Run[]): Drawn {
  const id = 'curves';
  const title = `${metricTitle(runs)} by round and task`.replace(/^./, (letter) => letter.toUpperCase());
  const tasks = allTasks(runs);
  const points = runs.flatMap((run, i) =>
    tasks.flatMap((task) =>
      scoresOf(run, task).map(({ round, metric }) => ({ task, round, value: metric, run: run.name, i })),
    ),
  );
  if (!points.some(({ round }) => round > 0))
    return { id, title, reason: 'no round with an evaluation is complete yet' };
  const floors = marksOf(references('majority floor', runs, majorityFloor), tasks);
  const columns = 2;
  const place = (task: string) => ({
    fx: tasks.indexOf(task) % columns,
    fy: Math.floor(tasks.indexOf(task) / columns),
  });
  const placed = points.map((point) => ({ ...point, ...place(point.task) }));
  const lines = Math.ceil(tasks.length / columns);
  const svg = draw({
    alt: `${title}, one panel a task`,
    width: WIDTH,
    height: 50 + 170 * lines,
    marginTop: 32,
    marginBottom: 40,
    marginLeft: 44,
    legend: [
      ...runLegend(runs),
      ...(floors.length > 0 ? [{ label: 'majority floor', colour: 'var(--muted)', dash: '4 4' }] : []),
    ],
    fx: { axis: null, padding: 0.12 },
    fy: { axis: null, padding: 0.2 },
    x: roundAxis(points),
    y: {
      label: null,
      grid: true,
      ticks: 4,
      domain: domainOf(
        [...points, ...floors].map(({ value }) => value),
        runs[0]!.metric === 'accuracy',
      ),
    },
    marks: [
      Plot.ruleY(
        floors.map((floor) => ({ ...floor, ...place(floor.task) })),
        { y: 'value', fx: 'fx', fy: 'fy', stroke: 'var(--muted)', strokeDasharray: '4 4' },
      ),
      ...runs.flatMap((_, i) => {
        const own = placed.filter((point) => point.i === i);
        const at = { x: 'round', y: 'value', fx: 'fx', fy: 'fy' } as const;
        return [
          Plot.line(own, { ...at, z: 'task', stroke: colourOf(i), strokeWidth: 2, strokeDasharray: dashOf(i) }),
          Plot.dot(own, {
            ...at,
            r: own.length > 40 * tasks.length ? 1.5 : 3.5,
            symbol: symbolOf(i),
            fill: colourOf(i),
            title: ({ run, task, round, value }: (typeof placed)[number]) =>
              `${run}, ${task}, round ${round}: ${score(value)}`,
          }),
        ];
      }),
      Plot.text(
        tasks.map((task) => ({ task, ...place(task) })),
        { text: 'task', fx: 'fx', fy: 'fy', frameAnchor: 'top-left', dy: -14, fontWeight: 600 },
      ),
    ],
  });
  return {
    id,
    title,
    svg,
    caption:
      'Round 0 is the untuned backbone with the common initial adapter. Rounds without an evaluation have no point.',
  };
}

const RINGS = [0.2, 0.4, 0.6, 0.8, 1];

/** Tasks as spokes, a run as a polygon (published Fig. 2b). */
export function radar(runs: readonly Run[]): Drawn {
  const id = 'radar';
  const title = 'Tasks by run, as a radar';
  const tasks = allTasks(runs);
  if (runs.length < 2) return { id, title, reason: 'it compares runs, and this report is of one' };
  if (runs[0]!.metric !== 'accuracy')
    return { id, title, reason: 'its spokes are accuracies, and these runs are measured by a loss' };
  if (tasks.length < 3) return { id, title, reason: `it needs three tasks or more, and there are ${tasks.length}` };
  const whole = runs.filter((run) => tasks.every((task) => finalScore(run, task) !== undefined));
  if (whole.length === 0) return { id, title, reason: 'no run has a score of every task yet' };
  const spoke = (task: number, radius: number) => {
    const angle = (2 * Math.PI * task) / tasks.length - Math.PI / 2;
    return { x: radius * Math.cos(angle), y: -radius * Math.sin(angle) };
  };
  const ring = (radius: (task: number) => number) =>
    [...tasks.keys(), 0].map((task) => ({ task, ...spoke(task, radius(task)) }));
  const grid = { x: 'x', y: 'y', stroke: 'var(--line)' } as const;
  const svg = draw({
    alt: `Radar of accuracies: ${whole.map((run) => `${run.name} ${tasks.map((task) => `${task} ${score(finalScore(run, task))}`).join(', ')}`).join('; ')}`,
    width: WIDTH,
    height: 440,
    margin: 30,
    legend: runLegend(runs).filter((_, i) => whole.includes(runs[i]!)),
    x: { axis: null, domain: [-1.65, 1.65] },
    y: { axis: null, domain: [-1.1, 1.1] },
    marks: [
      ...RINGS.map((radius) =>
        Plot.line(
          ring(() => radius),
          grid,
        ),
      ),
      Plot.link(tasks, {
        x1: 0,
        y1: 0,
        x2: (_, i) => spoke(i, 1).x,
        y2: (_, i) => spoke(i, 1).y,
        stroke: 'var(--line)',
      }),
      Plot.text(RINGS, {
        x: 0,
        y: (d: number) => d,
        text: (d: number) => d.toFixed(1),
        dx: 12,
        fill: 'var(--muted)',
        fontSize: 10,
      }),
      ...[...tasks.entries()].map(([i, task]) => {
        const { x, y } = spoke(i, 1.08);
        const textAnchor = Math.abs(x) < 0.2 ? 'middle' : x > 0 ? 'start' : 'end';
        return Plot.text([task], { x: [x], y: [y], text: (d: string) => d, textAnchor, fontWeight: 600 });
      }),
      ...runs.flatMap((run, i) => {
        if (!whole.includes(run)) return [];
        const own = ring((task) => finalScore(run, tasks[task]!)!);
        return [
          Plot.line(own, {
            x: 'x',
            y: 'y',
            stroke: colourOf(i),
            strokeWidth: 2,
            strokeDasharray: dashOf(i),
            fill: colourOf(i),
            fillOpacity: 0.07,
          }),
          Plot.dot(own.slice(0, -1), {
            x: 'x',
            y: 'y',
            r: 4,
            symbol: symbolOf(i),
            fill: colourOf(i),
            title: ({ task }: (typeof own)[number]) =>
              `${run.name}, ${tasks[task]!}: ${score(finalScore(run, tasks[task]!))}`,
          }),
        ];
      }),
    ],
  });
  return { id, title, svg, caption: 'Accuracy from 0 in the centre to 1 at the rim.' };
}
