/** `fltac compare`: the same data by several methods and seeds, each run in a folder of its own, and what comes out. */
import { FltacError } from '../errors.js';
import { formatSeconds, silentLog, type Log } from '../run/log.js';
import { productionParts, type RunContext } from '../run/open.js';
import { trainRun } from '../run/train.js';
import type { PlannedRun } from './entries.js';
import { readRun, statusOf, type ReadRun, type RunStatus } from '../run/read-run.js';
import { shareParts } from './share.js';
import { summarise, type Comparison } from './summary.js';

/** Without `log` the comparison is silent, without `signal` nothing stops it. */
export type CompareContext = Partial<RunContext>;

/**
 * Makes the runs that are not finished yet, one after another, and summarises all of them. Model and data are loaded
 * once where the settings allow.
 *
 * @param runs as `planRuns` gives them; all of one scenario
 * @throws FltacError USAGE for a folder that holds a run of other settings, before any training; ABORTED saying how many
 *   runs are finished; any error of a run, naming it
 */
export async function compareRuns(runs: readonly PlannedRun[], context: CompareContext = {}): Promise<Comparison> {
  const { log = silentLog(), signal = new AbortController().signal } = context;
  const states = await Promise.all(runs.map(({ config }) => statusOf(config)));
  const parts = shareParts(context.parts ?? (await productionParts()));
  const clock = new Clock(states.filter((state) => state !== 'finished').length);
  const results: (ReadRun & { run: PlannedRun })[] = [];
  try {
    for (const [i, run] of runs.entries()) {
      const state = states[i]!;
      log.info(`compare ${i + 1}/${runs.length}: ${run.label}, seed ${run.seed}: ${WHAT[state]}${clock.left(state)}`);
      if (state !== 'finished') {
        await clock.time(() => makeRun(run, { log, signal, parts }, { done: i, all: runs.length }));
      }
      const result = await readRun(run.config);
      if (result === undefined)
        throw new FltacError('INTERNAL', `${run.config.outputDir} is not finished after its run`);
      results.push({ ...result, run });
    }
  } finally {
    parts.dispose();
  }
  return summarise(results);
}

const WHAT: Readonly<Record<RunStatus, string>> = {
  absent: 'training',
  unfinished: 'goes on with its complete rounds',
  finished: 'finished already',
};

async function makeRun(
  { label, seed, config }: PlannedRun,
  context: RunContext & { log: Log },
  count: { done: number; all: number },
): Promise<void> {
  try {
    await trainRun(config, { ...context, resume: 'auto' });
  } catch (error) {
    if (!(error instanceof FltacError)) throw error;
    const where = `${label}, seed ${seed} (run ${count.done + 1} of ${count.all})`;
    const hint =
      error.code === 'ABORTED' ? '\nThe runs before it are finished; the same command goes on from there.' : '';
    throw new FltacError(error.code, `${where}: ${error.message}${hint}`, { cause: error });
  }
}

/** The time left, from the runs made so far. */
class Clock {
  #made = 0;
  #seconds = 0;
  readonly #todo: number;

  constructor(todo: number) {
    this.#todo = todo;
  }

  async time(work: () => Promise<void>): Promise<void> {
    const started = performance.now();
    await work();
    this.#seconds += (performance.now() - started) / 1000;
    this.#made += 1;
  }

  left(state: RunStatus): string {
    if (this.#made === 0 || state === 'finished') return '';
    return `, about ${formatSeconds((this.#seconds / this.#made) * (this.#todo - this.#made))} left`;
  }
}
