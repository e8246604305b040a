/** A round of a finished run, ready to be used: its model, data and engine, and who holds which adapter. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { loadConfig } from '../config/load.js';
import type { RunConfig } from '../config/schema.js';
import { FltacError, messageOf } from '../errors.js';
import type { AdapterLayout } from '../engine/types.js';
import type { Bank } from '../federation/engine.js';
import type { Holding } from '../federation/evaluation.js';
import { loadInitialAdapter } from '../federation/initial.js';
import { METHODS } from '../federation/methods.js';
import { planAdapters, trueTask, type Plan } from '../federation/plan.js';
import { holdingsOf } from '../federation/held.js';
import { startRow } from '../federation/initial.js';
import { readRoundAdapters, roundFile, savedRoundsOf, type RoundAdapters } from './artifacts.js';
import { RUN_FILES } from './folder.js';
import { openRun, type OpenRun, type RunContext } from './open.js';

/** Dispose it at the end. */
export interface SavedRound {
  /** absolute path of the run's folder */
  folder: string;
  round: number;
  run: OpenRun;
  /** the round's adapters, one bank row each */
  bank: Bank;
  /** who holds which of them: clients hold what their submissions' clusters hold, and count by their samples */
  holdings: readonly Holding[];
  dispose(): void;
}

/** A round that is known to be saved in a run's folder. */
export interface FoundRound {
  folder: string;
  round: number;
  /** false for round 0 of a method that trains: the untuned backbone with the common initial adapter */
  hasFile: boolean;
}

/**
 * Finds a saved round; 0 is the untuned backbone in every run.
 *
 * @param wanted default: the last saved round
 * @throws FltacError USAGE for a folder that is no run's, or a round that is not saved
 */
export async function findRound(folder: string, wanted: number | undefined): Promise<FoundRound> {
  const absolute = path.resolve(folder);
  const names = await assertRunFolder(absolute);
  const saved = savedRoundsOf(names);
  const round = wanted ?? saved.at(-1);
  const hasFile = round !== undefined && saved.includes(round);
  if (hasFile || round === 0) return { folder: absolute, round, hasFile };
  if (saved.length === 0) throw new FltacError('USAGE', `${absolute} has no saved round (adapters_round_<t>.pt)`);
  throw new FltacError(
    'USAGE',
    `round ${round} is not saved in ${absolute}; saved are ${saved.join(', ')}; 0 is the untuned backbone`,
  );
}

/**
 * @param folder absolute path
 * @returns the names in it
 * @throws FltacError USAGE for a folder that is no run's
 */
export async function assertRunFolder(folder: string): Promise<string[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (cause) {
    throw new FltacError('USAGE', `${folder} is not a run's folder: ${messageOf(cause)}`, { cause });
  }
  if (names.includes(RUN_FILES.config)) return names;
  throw new FltacError('USAGE', `${folder} is not a run's folder: it has no ${RUN_FILES.config}`);
}

/** The configuration that a run was made with. @throws USAGE */
export function readRunConfig(folder: string): RunConfig {
  return loadConfig({ file: path.join(folder, RUN_FILES.config) }).config;
}

/**
 * Opens a found round.
 *
 * @throws FltacError FORMAT or SHAPE for a round file that does not belong to the run; ABORTED; any error of the model or
 *   the data
 */
export async function openSavedRound(found: FoundRound, config: RunConfig, context: RunContext): Promise<SavedRound> {
  const run = await openRun(config, context);
  try {
    const saved = await openRoundOf(run, found);
    const dispose = () => {
      saved.dispose();
      run.engine.dispose();
    };
    return { ...saved, dispose };
  } catch (error) {
    run.engine.dispose();
    throw error;
  }
}

/**
 * Opens a round of a run that is open; disposing of the round leaves the run open.
 *
 * @throws FltacError FORMAT or SHAPE for a round file that does not belong to the run
 */
export async function openRoundOf(run: OpenRun, { folder, round, hasFile }: FoundRound): Promise<SavedRound> {
  const plan = planOf(run);
  const saved = hasFile ? await readSaved(run, plan, roundFile(folder, round)) : undefined;
  const clusters = saved === undefined ? [0] : [...saved.states.keys()];
  const bank = run.engine.createBank(run.spec, clusters.length);
  try {
    await fill(bank, run, saved);
  } catch (error) {
    bank.dispose();
    throw error;
  }
  const held = saved?.held ?? saved?.labels ?? plan.adapters.map(() => 0);
  const holdings = holdingsOf(plan, held, (_, number) => clusters.indexOf(number));
  return { folder, round, run, bank, holdings, dispose: () => bank.dispose() };
}

/** The common initial adapter of a run, drawn or read as training does. */
export async function initialAdapterOf(run: OpenRun): Promise<{ layout: AdapterLayout; flat: Float32Array }> {
  const bank = run.engine.createBank(run.spec, 1);
  try {
    await fill(bank, run, undefined);
    return { layout: bank.layout, flat: bank.get(0) };
  } finally {
    bank.dispose();
  }
}

/** Row by row the saved clusters' adapters, or the initial one where none are given. */
async function fill(bank: Bank, run: OpenRun, saved: RoundAdapters | undefined): Promise<void> {
  const { config, face, spec } = run;
  // Draws the frozen head, where there is one, besides row 0.
  startRow(bank, config.seed);
  if (saved !== undefined) [...saved.states.values()].forEach((state, row) => bank.set(row, state));
  else if (config.initialAdapter !== null) {
    bank.set(0, await loadInitialAdapter(face, config.initialAdapter, bank.layout, spec));
  }
}

function planOf({ config, scenario, rows }: OpenRun): Plan {
  return planAdapters({
    adapters: METHODS[config.method].adapters,
    data: METHODS[config.method].data,
    tasks: scenario.tasks.map((task) => task.name),
    counts: rows.map((client) => client.map((part) => part.length)),
    seed: config.seed,
  });
}

async function readSaved(run: OpenRun, plan: Plan, file: string): Promise<RoundAdapters> {
  const saved = await readRoundAdapters(run.face, file, run.engine.layout(run.spec));
  const expected = plan.adapters.map((adapter) => trueTask(plan, adapter));
  const { held } = saved;
  const fits =
    held === undefined
      ? expected.join('\n') === saved.trueTasks.join('\n')
      : held.length === expected.length && isSubsequence(saved.trueTasks, expected);
  if (fits) return saved;
  throw new FltacError(
    'FORMAT',
    `${file} has ${saved.trueTasks.length} submissions (${saved.trueTasks.join(', ')}), ` +
      `but the run's config.yaml makes ${expected.length} (${expected.join(', ')}): they are of different runs`,
  );
}

/** Whether the parts occur in the whole in this order: clients that were absent leave their tasks out. */
function isSubsequence(parts: readonly string[], whole: readonly string[]): boolean {
  let found = 0;
  for (const item of whole) if (found < parts.length && item === parts[found]) found += 1;
  return found === parts.length;
}

/**
 * Indices of the named tasks, or of all.
 *
 * @throws FltacError USAGE for a name that the run does not have
 */
export function chooseTasks(run: OpenRun, names: readonly string[] | undefined): number[] {
  const all = run.scenario.tasks.map((task) => task.name);
  const unknown = (names ?? []).filter((name) => !all.includes(name));
  if (unknown.length > 0) {
    throw new FltacError('USAGE', `the run has no task ${unknown.join(', ')}; its tasks are ${all.join(', ')}`);
  }
  return all.flatMap((name, index) => ((names ?? all).includes(name) ? [index] : []));
}
