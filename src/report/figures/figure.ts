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

/** Width of pictures in pixels; the page scales them down where there is less room. */
export const WIDTH = 640;
