/** Times of fltac and its peers on the same work. */
import type { Bench } from '../benches.js';
import { formatSeconds } from '../../run/log.js';
import { colourOf } from '../palette.js';
import { Plot, draw } from '../plot.js';
import { WIDTH, type Figure } from './figure.js';

/** Heights in pixels: of a side's row, and of what is between two pieces of work. */
const ROW = 26;
const BETWEEN = 30;
/** Least room beside the last mark for its label, as a factor of the largest time. */
const LABEL_ROOM = 6;
/** Width in pixels of a label's letter, and of what is between it and the mark and the edge. */
const LETTER = 6.2;
const LABEL_GAP = 16;
/** Right margin, and what is left of the axis beside the sides' names. */
const MARGIN = 16;
const AXIS = 24;

/** Least and largest value of the scale. */
type Domain = [number, number];

/** In seconds: a logarithmic scale has no place for a time that was measured as none. */
const SHORTEST = 1e-9;

/** Steps within a decade that ticks stand at. */
const STEPS = [1, 2, 5];
/** Most ticks that have room for their labels; more leave those of whole decades. */
const MOST_TICKS = 9;

/** The largest of 1, 2 and 5 times a power of ten that is not above a value. */
function roundBelow(value: number): number {
  const decade = Math.floor(Math.log10(value));
  return STEPS.map((step) => Number(`${step}e${decade}`)).findLast((tick) => tick <= value)!;
}

function ticksOver([low, high]: Domain): number[] {
  // A label at the very end would be cut off.
  const last = low * (high / low) ** 0.96;
  const first = Math.floor(Math.log10(low));
  const decades = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, i) => first + i);
  const at = (steps: readonly number[]) =>
    decades.flatMap((decade) => steps.map((step) => Number(`${step}e${decade}`))).filter((t) => t >= low && t <= last);
  const all = at(STEPS);
  return all.length <= MOST_TICKS ? all : at([1]);
}

/** From below the least time to where the label of a mark at the largest one ends. */
function domainOf(least: number, most: number, labelShare: number): Domain {
  const low = roundBelow(Math.max(SHORTEST, least / 1.1));
  const share = Math.min(0.7, labelShare);
  return [low, most * Math.max(LABEL_ROOM, (most / low) ** (share / (1 - share)))];
}

/** One measurement: a row for each side, the work's above one another; the scale is logarithmic. */
export function benchFigure(bench: Bench, id: string): Figure {
  const points = bench.works.flatMap(({ name, times }) =>
    times.map(({ side, seconds, ratio, inertiaRatio = null }) => ({
      work: name,
      side,
      ratio,
      inertiaRatio,
      ...seconds,
    })),
  );
  const sides = [...new Set(points.map(({ side }) => side))];
  const works = bench.works.map(({ name }) => name);
  const peers = points.some(({ ratio }) => ratio !== null);
  const judged = points.some(({ inertiaRatio }) => inertiaRatio !== null);
  const title = `${bench.title}: ${peers ? 'time beside peers' : 'time'}`;
  type Point = (typeof points)[number];
  const label = (point: Point) =>
    `${timeText(point.median)}${ratioText(point.ratio)}${inertiaText(point.inertiaRatio)}`;
  const colour = ({ side }: { side: string }) => colourOf(sides.indexOf(side));
  const at = { y: 'side', fy: 'work' } as const;
  const marginLeft = AXIS + 7 * Math.max(...sides.map((side) => side.length));
  const labelWidth = LABEL_GAP + LETTER * Math.max(...points.map((point) => label(point).length));
  const domain = domainOf(
    Math.min(...points.map(({ least }) => least)),
    Math.max(...points.map(({ most }) => most)),
    labelWidth / (WIDTH - marginLeft - MARGIN),
  );
  const svg = draw({
    alt: `${title}: ${points.map((point) => `${point.work}, ${point.side} ${label(point)}`).join('; ')}`,
    width: WIDTH,
    height: 50 + works.length * (sides.length * ROW + BETWEEN),
    marginLeft,
    marginRight: MARGIN,
    marginTop: 26,
    marginBottom: 40,
    x: {
      type: 'log',
      label: 'seconds',
      grid: true,
      ticks: ticksOver(domain),
      tickFormat: (value: number) => value.toLocaleString('en', { maximumSignificantDigits: 3 }),
      domain,
    },
    y: { label: null, domain: sides, type: 'band', padding: 0.2 },
    fy: { label: null, domain: works, axis: null, padding: BETWEEN / (sides.length * ROW + BETWEEN) },
    marks: [
      Plot.text(works, {
        fy: (work: string) => work,
        text: (work: string) => work,
        frameAnchor: 'top-left',
        dy: -16,
        fontWeight: 'bold',
      }),
      Plot.ruleY(points, { ...at, x1: 'least', x2: 'most', stroke: colour, strokeWidth: 3 }),
      Plot.dot(points, {
        ...at,
        x: 'median',
        r: 5,
        fill: colour,
        title: (p: Point) => `${p.side}, ${p.work}: ${label(p)}`,
      }),
      Plot.text(points, { ...at, x: 'most', text: label, textAnchor: 'start', dx: 10 }),
    ],
  });
  return {
    id,
    title,
    svg,
    caption:
      `${bench.about}. The mark is the median, the line goes from the least to the most.` +
      (peers ? ' "x" is how many times fltac\'s time a peer takes, measured in turn.' : '') +
      (judged ? " Inertia is that of a peer's clustering / that of fltac's: above 1, fltac's is the closer one." : '') +
      ' The scale is logarithmic.',
    table: {
      head: ['work', 'by', 'median', 'least', 'most', 'times fltac', ...(judged ? ['inertia / fltac'] : [])],
      rows: points.map((p) => [
        p.work,
        p.side,
        timeText(p.median),
        timeText(p.least),
        timeText(p.most),
        p.ratio === null ? '' : p.ratio.toFixed(2),
        ...(judged ? [p.inertiaRatio === null ? '' : p.inertiaRatio.toFixed(6)] : []),
      ]),
    },
  };
}

function ratioText(ratio: number | null): string {
  return ratio === null ? '' : `, ${ratio < 10 ? ratio.toFixed(1) : ratio.toFixed(0)} x`;
}

function inertiaText(ratio: number | null): string {
  return ratio === null ? '' : `, inertia ${ratio.toFixed(4)}`;
}

/** `13.6 ms`, `2.40 s` */
function timeText(seconds: number): string {
  if (seconds < 1) return `${(1000 * seconds).toPrecision(3)} ms`;
  return seconds < 10 ? `${seconds.toFixed(2)} s` : formatSeconds(seconds);
}
