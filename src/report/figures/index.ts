/** The figures of a report, as tables: a new one is a row. */
import type { Run } from '../runs.js';
import { adapterMaps, distanceMaps } from './adapters.js';
import { allocation } from './allocation.js';
import { confusion, flow } from './clusters.js';
import type { Comparison, Drawn, Portrait } from './figure.js';
import { finalScores, radar, scoreCurves } from './scores.js';
import { clusteringCurves, costCurves, lossCurves } from './training.js';

export * from './figure.js';

/** Of all runs together, in page order. */
const COMPARISONS: readonly Comparison[] = [finalScores, radar, scoreCurves, costCurves, clusteringCurves, lossCurves];

/** Of each run, in page order; `name` ends the figure's id. */
const PORTRAITS: readonly { name: string; draw: Portrait }[] = [
  { name: 'allocation', draw: allocation },
  { name: 'adapters', draw: adapterMaps },
  { name: 'distances', draw: distanceMaps },
  { name: 'flow', draw: flow },
  { name: 'confusion', draw: confusion },
];

export function drawComparisons(runs: readonly Run[]): Drawn[] {
  return COMPARISONS.map((draw) => draw(runs));
}

/** @param number of the run in the report, from 1 */
export async function drawPortraits(run: Run, number: number): Promise<Drawn[]> {
  const drawn: Drawn[] = [];
  for (const { name, draw } of PORTRAITS) drawn.push(await draw(run, `run-${number}-${name}`));
  return drawn;
}
