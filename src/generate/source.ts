/** Whose answers are generated: a saved round of a run, or a model as it is. */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { loadConfig } from '../config/load.js';
import type { RunConfig } from '../config/schema.js';
import { scenarioRow } from '../config/scenarios.js';
import type { ScenarioTask } from '../data/scenario.js';
import { FltacError } from '../errors.js';
import type { Bank } from '../federation/engine.js';
import { leadingCluster } from '../federation/evaluation.js';
import { startRow } from '../federation/initial.js';
import { RUN_FILES } from '../run/folder.js';
import { openRun, type OpenRun, type RunContext } from '../run/open.js';
import type { Settings } from '../run/resumable.js';
import { findRound, openSavedRound, readRunConfig } from '../run/saved.js';

export interface SourceOptions {
  /** a run's folder; or a model: a Hub id or a folder in transformers' layout */
  source: string;
  /** of a run: which saved round; 0 is the untuned backbone. Default: the last */
  round?: number | undefined;
  /** of a model: a YAML file with config keys */
  config?: string | undefined;
  /** of a model: `key=value` texts */
  overrides?: readonly string[] | undefined;
}

/** One task and the adapter that answers its prompts. */
export interface AnsweringTask {
  task: ScenarioTask;
  /** bank row */
  row: number;
  /** null for a model as it is */
  cluster: number | null;
}

/** Dispose it at the end. */
export interface Source {
  run: OpenRun;
  bank: Bank;
  round: number;
  /** in listed order; tasks that no client holds are left out */
  tasks: readonly AnsweringTask[];
  /** what the answers depend on besides the way they are generated */
  settings: Settings;
  /** absolute path of the answers where none is given */
  defaultPath: string;
  dispose(): void;
}

/** How to open a source, once its arguments have been found right. */
export interface FoundSource {
  config: RunConfig;
  open(context: RunContext): Promise<Source>;
}

/**
 * Finds a run or a model and reads its configuration, which must be of a language model; nothing is downloaded.
 *
 * @throws FltacError USAGE
 */
export async function findSource(options: SourceOptions): Promise<FoundSource> {
  const folder = path.resolve(options.source);
  const found = (await isFile(path.join(folder, RUN_FILES.config)))
    ? await findRun(folder, options)
    : await findModel(folder, options);
  if (scenarioRow(found.config).output === 'next_token') return found;
  throw new FltacError(
    'USAGE',
    `answers are generated with language models; ${options.source} is of scenario ${found.config.scenario}, which classifies: ` +
      'use fltac evaluate --predictions',
  );
}

async function findRun(folder: string, options: SourceOptions): Promise<FoundSource> {
  if (options.config !== undefined || (options.overrides ?? []).length > 0) {
    throw new FltacError(
      'USAGE',
      `${folder} is a run, which has its own configuration: leave --config and --override out`,
    );
  }
  const round = await findRound(folder, options.round);
  const config = readRunConfig(folder);
  const defaultPath = path.join(folder, `answers_round_${round.round}.jsonl`);
  return {
    config,
    async open(context) {
      const saved = await openSavedRound(round, config, context);
      const { run, bank, holdings } = saved;
      const tasks = run.scenario.tasks.flatMap((task, index) => {
        const leading = leadingCluster(holdings, index);
        return leading === undefined ? [] : [{ task, row: leading.row, cluster: leading.cluster }];
      });
      const settings = { ...runSettings(run), round: round.round, adapters: hashAdapters(bank, tasks) };
      return { run, bank, round: round.round, tasks, settings, defaultPath, dispose: () => saved.dispose() };
    },
  };
}

async function findModel(folder: string, options: SourceOptions): Promise<FoundSource> {
  const { source, config: file, overrides = [], round } = options;
  const isFolder = await stat(folder).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
  if (isFolder && !(await isFile(path.join(folder, 'config.json')))) {
    const lacks = `it has neither ${RUN_FILES.config} nor config.json`;
    throw new FltacError('USAGE', `${folder} is neither a run's folder nor a model's: ${lacks}`);
  }
  if (round !== undefined && round !== 0) throw new FltacError('USAGE', `${source} is a model, which has no rounds`);
  const scenario = file === undefined ? ['scenario=dolly'] : [];
  const { config } = loadConfig({
    file,
    overrides: [...scenario, ...overrides],
    flags: { model_name: source, method: 'none' },
  });
  return {
    config,
    async open(context) {
      const run = await openRun(config, context);
      const bank = run.engine.createBank(run.spec, 1);
      startRow(bank, config.seed);
      const dispose = () => {
        bank.dispose();
        run.engine.dispose();
      };
      const tasks = run.scenario.tasks.map((task) => ({ task, row: 0, cluster: null }));
      const settings = { ...runSettings(run), round: 0, adapters: null };
      return {
        run,
        bank,
        round: 0,
        tasks,
        settings,
        defaultPath: path.resolve(`answers_${path.basename(source)}.jsonl`),
        dispose,
      };
    },
  };
}

/** What decides the prompts and the model that answers them. */
function runSettings({ config, model, scenario, engine }: OpenRun): Settings {
  return {
    model: model.id,
    model_revision: model.revision,
    dtype: engine.info.dtype,
    scenario: config.scenario,
    data: scenario.provenance.map(({ repo, revision }) => `${repo}@${revision}`).join(' '),
    // Of the held-out rows the seed decides which, max_len which have room for an answer.
    data_seed: config.seed,
    max_len: config.maxLen,
  };
}

/** SHA-256 over every task's name and adapter, so that answers of a run that was made anew are not mixed with older ones. */
function hashAdapters(bank: Bank, tasks: readonly AnsweringTask[]): string {
  const hash = createHash('sha256');
  for (const { task, row } of tasks) hash.update(`${task.name}\0`).update(bank.get(row));
  return hash.digest('hex');
}

async function isFile(file: string): Promise<boolean> {
  return stat(file).then(
    (entry) => entry.isFile(),
    () => false,
  );
}
