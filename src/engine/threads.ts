/** How many CPU threads the engine computes with. */
import { availableParallelism } from 'node:os';

/**
 * The configured number of threads, or where that is 0: OMP_NUM_THREADS, if it is a positive integer, and else as many
 * as there are cores for this process.
 */
export function resolveThreads(threads: number, env: NodeJS.ProcessEnv = process.env): number {
  if (threads > 0) return threads;
  const text = env['OMP_NUM_THREADS']?.trim() ?? '';
  const wished = /^\d+$/.test(text) ? Number(text) : 0;
  return Number.isSafeInteger(wished) && wished > 0 ? wished : availableParallelism();
}
