/** What a figure is, drawn or not. */
import type { Run } from '../runs.js';

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** One picture of several that a slider goes through. */
export interface Frame {
  readonly label: string;
  readonly svg: string;
}

export interface Figure {
  /** names the element of the page and the file */
  readonly id: string;
  readonly title: string;
  /** what is drawn and how to read it */
  readonly caption: string;
  /** the picture; of several frames the last, or some of them side by side for paper and files */
  readonly svg: string;
  /** in round order; absent for a still picture */
  readonly frames?: readonly Frame[];
  readonly table?: Table;
}

/** A figure that cannot be drawn of these runs, and why. */
export interface Absent {
  readonly id: string;
  readonly title: string;
  readonly reason: string;
}

export type Drawn = Figure | Absent;

export function isAbsent(drawn: Drawn): drawn is Absent {
  return 'reason' in drawn;
}

/** A figure of all runs together. */
export type Comparison = (runs: readonly Run[]) => Drawn;

/** A figure of one run; `id` is to be unique among the runs. */
export type Portrait = (run: Run, id: string) => Drawn | Promise<Drawn>;

/** Most ticks of an axis of rounds. */
const MOST_TICKS = 6;

/** An axis of rounds: ticks at whole ones only, evenly apart, of the least step that leaves few enough. */
export function roundAxis(points: readonly { readonly round: number }[]): {
  label: string;
  ticks: number[];
  tickFormat: string;
} {
  const rounds = points.map(({ round }) => round);
  const [first, last] = [Math.min(...rounds), Math.max(...rounds)];
  let step = 1;
  for (let i = 0; (last - first) / step >= MOST_TICKS; i += 1) step = [1, 2, 5][i % 3]! * 10 ** Math.floor(i / 3);
  const start = Math.ceil(first / step);
  const ticks = Array.from({ length: Math.floor(last / step) - start + 1 }, (_, i) => (start + i) * step);
  return { label: 'round', ticks, tickFormat: 'd' };
}

/** Width of pictures in pixels; the page scales them down where there is less room. */
export const WIDTH = 640;
