/** Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once. */
import { ExitCode } from '../errors.js';
import type { Log } from '../run/log.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/**
 * Runs `work` with a signal that aborts on SIGINT or SIGTERM.
 * @param doing what the first signal has the work do, in words
 */
export async function interruptible<T>(
  log: Log,
  work: (signal: AbortSignal) => Promise<T>,
  doing = 'finishing the step',
): Promise<T> {
  const controller = new AbortController();
  const stop = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(ExitCode.interrupted);
    log.warn(`${name}: ${doing}; once more ends at once`);
    controller.abort();
  };
  for (const name of SIGNALS) process.on(name, stop);
  try {
    return await work(controller.signal);
  } finally {
    for (const name of SIGNALS) process.off(name, stop);
  }
}
