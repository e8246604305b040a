/** `fltac bench kmeans|train` */
import type { Command } from 'commander';
import type { CommandContext } from '../program.js';
import { addKmeansBench } from './bench-kmeans.js';
import { addTrainBench } from './bench-train.js';

export function addBench(program: Command, context: CommandContext): void {
  const bench = program.command('bench').summary('measure K-means or local training').description('Measures speed.');
  addKmeansBench(bench, context);
  addTrainBench(bench, context);
}
